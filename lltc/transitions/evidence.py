"""Marginal likelihood of every segment of a curve, in closed form.

A segment of points i..j is flat, `y = a`, or a ramp, `y = a + b t` with t running from -1/2 to 1/2 over the
segment, in the step or in its logarithm. With priors a, b ~ N(0, τ²) (y measured from the curve's centre),
errors φ s_k and the sums `A = τ² Σ g gᵀ / s²`, `v = τ Σ g y / s²` over g = (1) or (1, t),

    log p(y_i..y_j) = -½ log det(I + A/φ²) + ½ vᵀ (φ² I + A)⁻¹ v / φ² + (a term that is a sum over points).

The last term is the same for every segmentation and is added once (`log_noise`).
Source: Bayesian linear regression, e.g. Bishop, Pattern Recognition and Machine Learning (2006), section 3.5.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Segments(NamedTuple):
    """Every segment of m cells, flattened to T = m(m+1)/2: its ends and the sums over its points.

    A cell is a run of points that no change divides, as a rule one point. `start` and `stop` are the first
    and the last cell of a segment, `first` and `last` its first and last point.
    """

    start: NDArray[np.intp]
    stop: NDArray[np.intp]
    first: NDArray[np.intp]
    last: NDArray[np.intp]
    weight: Array
    moment: Array


class Ramps(NamedTuple):
    """The segments' sums in one abscissa: `A = [[weight, cross], [cross, square]]`, `v = (moment, slope)`."""

    abscissa: Array
    length: Array
    cross: Array
    square: Array
    slope: Array


def sum_segments(y: Array, se: Array, scale: float, cells: NDArray[np.intp]) -> Segments:
    """`τ² Σ 1/s²` and `τ Σ y/s²` over every segment; `cells` holds the first point of every cell."""
    start, stop = np.triu_indices(len(cells))
    first, last = cells[start], np.append(cells[1:], len(y))[stop] - 1
    weight = _sums(scale**2 / se**2, first, last)
    return Segments(start, stop, first, last, weight, _sums(scale * y / se**2, first, last))


def sum_ramps(y: Array, se: Array, scale: float, x: Array, segments: Segments) -> Ramps:
    """The extra sums a ramp needs, in the abscissa `x`; offsets are taken from each segment's own start."""
    start, stop = segments.start, segments.stop
    cells = segments.first[start == stop]
    inside = x - np.repeat(x[cells], np.diff(np.append(cells, len(x))))
    ahead = x[cells][None, :] - x[cells][:, None]
    precision, moment = scale**2 / se**2, scale * y / se**2
    over = lambda values: np.add.reduceat(values, cells)
    mass, lever = over(precision), over(precision * inside)
    # An offset from a segment's start is one inside its cell and that of the cell from the start.
    added = lambda by_cell: np.cumsum(np.triu(by_cell), axis=1)[start, stop]
    once = added(lever + mass * ahead)
    twice = added(over(precision * inside**2) + 2 * lever * ahead + mass * ahead**2)
    value = added(over(moment * inside) + over(moment) * ahead)
    length = np.where(segments.last > segments.first, x[segments.last] - x[segments.first], 1.0)
    cross = once / length - segments.weight / 2
    square = twice / length**2 - once / length + segments.weight / 4
    return Ramps(x, length, cross, square, value / length - segments.moment / 2)


def flat_evidence(segments: Segments, inflation: Array) -> Array:
    """Log marginal likelihood of flat segments, shape (inflations, T)."""
    return _evidence(segments.weight, segments.moment, inflation[:, None] ** 2)


def ramp_evidence(segments: Segments, ramps: Ramps, inflation: Array) -> Array:
    """Log marginal likelihood of ramps, shape (inflations, T); -inf below three points."""
    variance = inflation[:, None] ** 2
    evidence = flat_evidence(segments, inflation) + _evidence(*_tilt(segments, ramps, variance), variance)
    return np.where(segments.last - segments.first >= 2, evidence, -np.inf)


def log_noise(y: Array, se: Array, inflation: Array) -> Array:
    """The term shared by all segmentations: `-Σ log(√(2π) φ s) - ½ Σ y²/(φ s)²`, shape (inflations,)."""
    fixed = len(y) * np.log(2 * np.pi) / 2 + np.sum(np.log(se))
    return -fixed - len(y) * np.log(inflation) - np.sum((y / se) ** 2) / (2 * inflation**2)


def flat_level(segments: Segments, inflation: float, scale: float) -> Array:
    """Posterior mean of a flat segment's level, shape (T,)."""
    return scale * segments.moment / (inflation**2 + segments.weight)


def ramp_line(segments: Segments, ramps: Ramps, inflation: float, scale: float) -> tuple[Array, Array]:
    """Posterior mean of a ramp as `(intercept, gradient)` in the abscissa, each of shape (T,)."""
    variance = inflation**2
    square, slope = _tilt(segments, ramps, variance)
    change = slope / (variance + square)
    middle = (segments.moment - ramps.cross * change) / (variance + segments.weight)
    gradient = scale * change / ramps.length
    centre = ramps.abscissa[segments.first] + ramps.length / 2
    return scale * middle - gradient * centre, gradient


def _evidence(weight: Array, moment: Array, variance: float | Array) -> Array:
    """Log marginal likelihood of one coefficient with the sums `weight` and `moment`."""
    total = variance + weight
    return (moment**2 / (total * variance) - np.log(total / variance)) / 2


def _tilt(segments: Segments, ramps: Ramps, variance: float | Array) -> tuple[Array, Array]:
    """The sums of a ramp's height once its level is integrated out.

    Determinants and inverses of A itself would cancel to nothing where errors are very unequal.
    """
    share = ramps.cross / (variance + segments.weight)
    return np.maximum(ramps.square - share * ramps.cross, 0), ramps.slope - share * segments.moment


def _sums(values: Array, first: NDArray[np.intp], last: NDArray[np.intp]) -> Array:
    running = np.concatenate([[0.0], np.cumsum(values)])
    return running[last + 1] - running[first]
