"""Long curves: where changes may lie, so that the sum over segmentations stays short."""

import numpy as np
from numpy.typing import NDArray

from lltc.transitions.curve import Curve
from lltc.transitions.evidence import Array
from lltc.transitions.recursion import build_model, level_range, segment_probability, sum_segmentations

MOST_CELLS = 1200
COARSE = 500
LIKELY = 1e-3


def choose_cells(curve: Curve, rate: float, grid: Array, prior: Array) -> NDArray[np.intp]:
    """Return the first points of the cells that changes may divide the curve into.

    Up to 1,200 points every point is a cell, and the sum over segmentations is exact. A longer curve is cut
    into 500 equal cells; those beside a boundary that is a change with probability above 10⁻³ are then
    divided into points, the likeliest first, up to 1,200 cells. What is left out is where in a cell of up to
    n/500 points a change lies that hardly exists.

    Example:
        >>> from lltc.transitions.curve import read_curve
        >>> curve = read_curve(range(4000), [0.0] * 2001 + [9.0] * 1999, [1.0] * 4000)
        >>> cells = choose_cells(curve, 1 / 4000, np.ones(1), np.ones(1))
        >>> len(cells) < 600, 2001 in cells
        (True, True)
    """
    size = len(curve.steps)
    if size <= MOST_CELLS:
        return np.arange(size)
    coarse = np.unique(np.linspace(0, size, COARSE, endpoint=False).astype(np.intp))
    likely = _boundary_probability(curve, rate, grid, prior, coarse)
    chosen, ends = set(coarse.tolist()), np.append(coarse, size)
    for boundary in np.argsort(-likely):
        inside = range(ends[boundary], ends[boundary + 2])
        if likely[boundary] < LIKELY or len(chosen) + len(inside) > MOST_CELLS:
            break
        chosen.update(inside)
    return np.array(sorted(chosen), dtype=np.intp)


def _boundary_probability(
    curve: Curve, rate: float, grid: Array, prior: Array, cells: NDArray[np.intp]
) -> Array:
    """Return the probability of a change between each cell and the next, `(cells - 1,)`."""
    model = build_model(curve, *level_range(curve), cells)
    joint, odds, forward = sum_segmentations(curve, model, rate, grid, prior)
    share = np.exp(joint - np.logaddexp.reduce(joint))
    best = np.flatnonzero(share > 1e-3 * share.max())
    probability = share[best] @ segment_probability(odds[best], forward[best], model.segments, rate)
    return np.bincount(model.segments.start, probability, len(cells))[1:]
