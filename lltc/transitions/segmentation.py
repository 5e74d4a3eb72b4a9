"""The exact posterior over all segmentations of a curve, by a forward and a backward recursion."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lltc.errors import InputError
from lltc.transitions.cells import choose_cells
from lltc.transitions.curve import Curve, is_setting, noise_factor, read_curve
from lltc.transitions.evidence import Array, Segments, flat_level, ramp_line
from lltc.transitions.outliers import widen_outliers
from lltc.transitions.recursion import (
    CurveModel,
    build_model,
    kind_shares,
    level_range,
    segment_probability,
    sum_segmentations,
)

# Half the prior says the errors are right. That they are φ times too small falls as φ⁻⁴: a short curve that
# rises and falls by many of its errors is then believed, where an even prior over log φ calls it noise.
INFLATIONS = np.geomspace(1.0, 30.0, 20)
_INFLATION_PRIOR = np.array([0.5, *(0.5 * INFLATIONS[1:] ** -4 / np.sum(INFLATIONS[1:] ** -4))])
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Segmentation:
    """What the posterior over segmentations says about a curve.

    `plateau[a, b]` (a ≤ b, shape (cell, cell)) is the probability that the cells a..b all lie on one plateau,
    `cells` the first point of each: of up to 1,200 points every point is a cell; `fitted` the posterior mean
    curve, shape (kept,); `inflation` the factor by which the errors are too small (root of its posterior mean
    square, at least 1); `log_evidence` the log marginal likelihood of the curve.
    """

    curve: Curve
    cells: NDArray[np.intp]
    plateau: Array
    fitted: Array
    inflation: float
    log_evidence: float

    @property
    def outliers(self) -> NDArray[np.intp]:
        """The points taken for outliers, as positions in the arrays that came in."""
        return self.curve.kept[self.curve.weights_se > self.curve.llc_se]

    def on_plateau(self, first: ArrayLike, last: ArrayLike) -> Array:
        """Return the probability that the points `first` to `last` all lie on one plateau."""
        cell = np.searchsorted(self.cells, np.stack([first, last]), side="right") - 1
        return self.plateau[cell[0], cell[1]]


def segment_curve(
    steps: ArrayLike,
    llc: ArrayLike,
    llc_se: ArrayLike,
    *,
    change_rate: float | None = None,
    inflations: ArrayLike | None = None,
) -> Segmentation:
    """Sum over every segmentation of the curve into plateaus and ramps.

    Prior: each interval holds a change with probability `change_rate`; a segment of three or more points is
    a plateau with probability 0.9, else a ramp (linear in the step or in its logarithm). Levels and ramp
    heights are normal with the curve's range as scale. All errors share an unknown factor φ ≥ 1, averaged
    over a grid. The sum over all 2^(n-1) segmentations is exact up to 1,200
    points, beyond them changes lie between the cells of `lltc.transitions.cells.choose_cells`: with m(i, j)
    the marginal likelihood of the segment i..j,

        Z(j) = Σ_i Z(i) · change_rate · (1 - change_rate)^(j-i-1) · m(i, j-1).

    Args:
        steps: training steps, shape (n,), strictly increasing.
        llc: values, shape (n,); non-finite values are dropped, at least one must remain.
        llc_se: their standard errors, shape (n,).
        change_rate: prior probability of a change in one interval; default 1/n.
        inflations: the grid of φ, all ≥ 1, equally weighted; by default those of 20 values from 1 to 30 that
            are not far above the robust scatter of second differences, half the prior on 1, the rest ∝ φ⁻⁴.

    Raises:
        InputError: bad shapes, order, errors or settings, or no finite value.

    Source: P. Fearnhead, Exact and efficient Bayesian inference for multiple changepoint problems,
        Statistics and Computing 16 (2006), section 2.

    Example:
        >>> segmentation = segment_curve(range(6), [1.0, 1.1, 0.9, 3.0, 3.1, 2.9], [0.1] * 6)
        >>> bool(segmentation.plateau[0, 2] > 0.9), bool(segmentation.plateau[2, 3] < 0.01)
        (True, True)
    """
    curve = read_curve(steps, llc, llc_se)
    if not len(curve.kept):
        raise InputError("llc has no finite value; pass a curve with at least one checkpoint that succeeded.")
    rate = 1 / max(2, len(curve.kept)) if change_rate is None else change_rate
    if not is_setting(rate, lambda value: 0 < value < 1):
        raise InputError(f"change_rate is {rate!r}; pass a probability strictly between 0 and 1.")
    guess = min(noise_factor(curve.llc, curve.llc_se), INFLATIONS[-1])
    grid, prior = _read_inflations(inflations, guess, len(curve.kept))
    return _segment(widen_outliers(curve, rate, grid, prior), rate, grid, prior)


def change_probabilities(
    steps: ArrayLike,
    llc: ArrayLike,
    llc_se: ArrayLike,
    *,
    change_rate: float | None = None,
) -> Array:
    """Probability, for every interval, that its two ends do not lie on one plateau; shape (n-1,).

    Jumps and the inside of ramps both count. Around a dropped checkpoint the intervals share the probability
    of the gap they lie in; intervals before the first or after the last usable point are NaN, and so are all
    when fewer than three points are usable. Arguments and errors as `segment_curve`.

    Example:
        >>> p = change_probabilities(range(8), [1.0, 1.1, 0.9, 1.0, 3.0, 3.1, 2.9, 3.0], [0.1] * 8)
        >>> (p > 0.9).tolist()
        [False, False, False, True, False, False, False]
    """
    curve = read_curve(steps, llc, llc_se)
    probabilities = np.full(max(0, curve.size - 1), np.nan)
    if len(curve.kept) < 3:
        return probabilities
    segmentation = segment_curve(steps, llc, llc_se, change_rate=change_rate)
    first, last = curve.kept[0], curve.kept[-1]
    points = np.arange(len(curve.kept))
    changes = 1 - segmentation.on_plateau(points[:-1], points[1:])
    probabilities[first:last] = np.repeat(changes, np.diff(curve.kept))
    return probabilities


def _read_inflations(inflations: ArrayLike | None, guess: float, size: int) -> tuple[Array, Array]:
    if inflations is None:
        near = np.log(INFLATIONS / guess) < 0.35 + 6 / np.sqrt(size)
        return INFLATIONS[near], _INFLATION_PRIOR[near]
    grid = np.atleast_1d(np.asarray(inflations, dtype=np.float64))
    if not grid.size or not np.all(np.isfinite(grid) & (grid >= 1)):
        raise InputError(
            f"inflations is {inflations}; pass finite factors of at least 1, such as [1.0, 2.0]."
        )
    return grid, np.full(len(grid), 1 / len(grid))


def _segment(curve: Curve, rate: float, grid: Array, prior: Array) -> Segmentation:
    cells = choose_cells(curve, rate, grid, prior)
    model = build_model(curve, *level_range(curve), cells)
    joint, odds, forward = sum_segmentations(curve, model, rate, grid, prior)
    log_evidence = float(np.logaddexp.reduce(joint))
    share = np.exp(joint - log_evidence)
    used = np.flatnonzero(share > _NEGLIGIBLE * share.max())
    share = share[used] / share[used].sum()
    inflation = float(np.sqrt(share @ grid[used] ** 2))
    probability = segment_probability(odds[used], forward[used], model.segments, rate)
    kinds = [share @ (probability * kind) for kind in kind_shares(model, grid[used])]
    fitted = model.centre + _fit(model, kinds, inflation, len(curve.kept))
    plateau = _contains(kinds[0], model.segments, len(cells))
    return Segmentation(curve, cells, plateau, fitted, inflation, log_evidence)


def _contains(probability: Array, segments: Segments, n: int) -> Array:
    """Probability that a segment contains the cells a..b, for every a ≤ b; 0 below the diagonal."""
    square = np.zeros((n, n))
    square[segments.start, segments.stop] = probability
    total = np.cumsum(np.cumsum(square, axis=0)[:, ::-1], axis=1)[:, ::-1]
    return np.clip(np.triu(total), 0.0, 1.0)


def _fit(model: CurveModel, kinds: list[Array], inflation: float, n: int) -> Array:
    fitted = _cover(kinds[0] * flat_level(model.segments, inflation, model.scale), model.segments, n)
    for kind, ramp in zip(kinds[1:], model.ramps, strict=True):
        intercept, gradient = ramp_line(model.segments, ramp, inflation, model.scale)
        fitted += _cover(kind * intercept, model.segments, n)
        fitted += _cover(kind * gradient, model.segments, n) * ramp.abscissa
    return fitted


def _cover(values: Array, segments: Segments, n: int) -> Array:
    """Sum, for every point, of the values of the segments that contain it."""
    opened = np.bincount(segments.first, values, n)
    closed = np.bincount(segments.last, values, n)
    return np.cumsum(opened) - np.concatenate([[0.0], np.cumsum(closed)[:-1]])
