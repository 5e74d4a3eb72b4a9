"""The exact posterior over all segmentations of a curve, by a forward and a backward recursion."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lltc.errors import InputError
from lltc.transitions.curve import Curve, noise_factor, read_curve
from lltc.transitions.evidence import (
    Array,
    Ramps,
    Segments,
    flat_evidence,
    flat_level,
    log_noise,
    ramp_evidence,
    ramp_line,
    sum_ramps,
    sum_segments,
)

# Half the prior says the errors are right; the rest is spread evenly over log φ up to 30 times too small.
INFLATIONS = np.geomspace(1.0, 30.0, 20)
_INFLATION_PRIOR = np.array([0.5] + [0.5 / 19] * 19)
_RAMP_SHARE = 0.1
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Segmentation:
    """What the posterior over segmentations says about a curve.

    `plateau[a, b]` (a ≤ b, shape (kept, kept)) is the probability that the points a..b all lie on one
    plateau; `fitted` the posterior mean curve, shape (kept,); `inflation` the factor by which the errors
    are too small (root of its posterior mean square, at least 1); `log_evidence` the log marginal
    likelihood of the curve.
    """

    curve: Curve
    plateau: Array
    fitted: Array
    inflation: float
    log_evidence: float


class _Model(NamedTuple):
    segments: Segments
    ramps: list[Ramps]
    centre: float
    scale: float


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
    over a grid. The sum over all 2^(n-1) segmentations is exact: with m(i, j) the marginal likelihood of the
    segment i..j,

        Z(j) = Σ_i Z(i) · change_rate · (1 - change_rate)^(j-i-1) · m(i, j-1).

    Args:
        steps: training steps, shape (n,), strictly increasing.
        llc: values, shape (n,); non-finite values are dropped, at least one must remain.
        llc_se: their standard errors, shape (n,).
        change_rate: prior probability of a change in one interval; default 1/n.
        inflations: the grid of φ, all ≥ 1, equally weighted; by default those of 20 values from 1 to 30 that
            are near the robust scatter of second differences, half the prior on 1.

    Raises:
        InputError: bad shapes, order, errors or settings, or no finite value.

    Source: P. Fearnhead, Exact and efficient Bayesian inference for multiple changepoint problems,
        Statistics and Computing 16 (2006), section 2.

    Example:
        >>> found = segment_curve(range(6), [1.0, 1.1, 0.9, 3.0, 3.1, 2.9], [0.1] * 6)
        >>> bool(found.plateau[0, 2] > 0.9), bool(found.plateau[2, 3] < 0.01)
        (True, True)
    """
    curve = read_curve(steps, llc, llc_se)
    if not len(curve.kept):
        raise InputError("llc has no finite value; pass a curve with at least one checkpoint that succeeded.")
    rate = 1 / max(2, len(curve.kept)) if change_rate is None else change_rate
    if not 0 < rate < 1:
        raise InputError(f"change_rate is {rate}; pass a probability strictly between 0 and 1.")
    guess = min(noise_factor(curve.llc, curve.weights_se), INFLATIONS[-1])
    grid, prior = _read_inflations(inflations, guess, len(curve.kept))
    return _segment(curve, rate, grid, prior)


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
    found = segment_curve(steps, llc, llc_se, change_rate=change_rate)
    first, last = curve.kept[0], curve.kept[-1]
    probabilities[first:last] = np.repeat(1 - np.diag(found.plateau, 1), np.diff(curve.kept))
    return probabilities


def _read_inflations(inflations: ArrayLike | None, guess: float, size: int) -> tuple[Array, Array]:
    if inflations is None:
        near = np.abs(np.log(INFLATIONS / guess)) < 0.35 + 6 / np.sqrt(size)
        return INFLATIONS[near], _INFLATION_PRIOR[near]
    grid = np.atleast_1d(np.asarray(inflations, dtype=np.float64))
    if not grid.size or not np.all(np.isfinite(grid) & (grid >= 1)):
        raise InputError(
            f"inflations is {inflations}; pass finite factors of at least 1, such as [1.0, 2.0]."
        )
    return grid, np.full(len(grid), 1 / len(grid))


def _segment(curve: Curve, rate: float, grid: Array, prior: Array) -> Segmentation:
    model = _build_model(curve)
    centred = curve.llc - model.centre
    odds = _segment_log_odds(model, rate, grid)
    forward = _forward(_scatter(odds, model.segments, by_stop=True), rate)
    joint = np.log(prior) + log_noise(centred, curve.weights_se, grid) + forward[:, -1]
    log_evidence = float(np.logaddexp.reduce(joint))
    share = np.exp(joint - log_evidence)
    used = np.flatnonzero(share > _NEGLIGIBLE * share.max())
    share = share[used] / share[used].sum()
    inflation = float(np.sqrt(share @ grid[used] ** 2))
    probability = _segment_probability(odds[used], forward[used], model.segments, rate)
    kinds = [share @ (probability * kind) for kind in _kind_shares(model, grid[used])]
    fitted = model.centre + _fit(model, kinds, inflation, len(curve.kept))
    plateau = _contains(kinds[0], model.segments, len(curve.kept))
    return Segmentation(curve, plateau, fitted, inflation, log_evidence)


def _build_model(curve: Curve) -> _Model:
    """Centre and scale of the levels, and the sums of every segment in each abscissa."""
    solid = curve.weights_se == curve.llc_se
    low, high = curve.llc[solid].min(), curve.llc[solid].max()
    centre, scale = (low + high) / 2, max(high - low, 2 * float(np.median(curve.llc_se)))
    centred = curve.llc - centre
    segments = sum_segments(centred, curve.weights_se, scale)
    ramps = [sum_ramps(centred, curve.weights_se, scale, x, segments) for x in _abscissae(curve.steps)]
    return _Model(segments, ramps, centre, scale)


def _abscissae(steps: Array) -> list[Array]:
    """The steps, and log(1 + step) when no step is negative, each scaled to [0, 1]."""
    candidates = [steps] if steps[0] < 0 else [steps, np.log1p(steps)]
    return [(x - x[0]) / max(x[-1] - x[0], np.finfo(float).tiny) for x in candidates]


def _weighted_kinds(model: _Model, grid: Array) -> list[Array]:
    """Log (prior share × evidence) of a plateau and of each ramp, each of shape (inflations, T)."""
    long_enough = model.segments.stop - model.segments.start >= 2
    flat = flat_evidence(model.segments, grid) + np.where(long_enough, np.log(1 - _RAMP_SHARE), 0.0)
    share = np.log(_RAMP_SHARE / len(model.ramps))
    return [flat] + [ramp_evidence(model.segments, ramp, grid) + share for ramp in model.ramps]


def _segment_log_odds(model: _Model, rate: float, grid: Array) -> Array:
    inside = (model.segments.stop - model.segments.start) * np.log1p(-rate)
    return np.logaddexp.reduce(_weighted_kinds(model, grid)) + inside


def _kind_shares(model: _Model, grid: Array) -> list[Array]:
    """Posterior share of each kind given that the segment exists."""
    kinds = _weighted_kinds(model, grid)
    total = np.logaddexp.reduce(kinds)
    return [np.exp(kind - total) for kind in kinds]


def _scatter(values: Array, segments: Segments, *, by_stop: bool) -> Array:
    """(inflations, T) → (inflations, n, n), -inf where there is no segment; rows are stops or starts."""
    n = segments.stop[-1] + 1
    square = np.full((len(values), n, n), -np.inf)
    rows, columns = (segments.stop, segments.start) if by_stop else (segments.start, segments.stop)
    square[:, rows, columns] = values
    return square


def _forward(odds: Array, rate: float) -> Array:
    """Log sum over segmentations of the first j points, shape (inflations, n+1); `odds` rows are stops."""
    n = odds.shape[1]
    total = np.zeros((len(odds), n + 1))
    boundary = np.full(n, np.log(rate))
    boundary[0] = 0.0
    for j in range(n):
        total[:, j + 1] = _logsumexp(total[:, : j + 1] + odds[:, j, : j + 1] + boundary[: j + 1])
    return total


def _logsumexp(values: Array) -> Array:
    top = values.max(axis=1)
    return top + np.log(np.exp(values - top[:, None]).sum(axis=1))


def _segment_probability(odds: Array, forward: Array, segments: Segments, rate: float) -> Array:
    """Posterior probability that a segment is part of the segmentation, shape (inflations, T)."""
    n = forward.shape[1] - 1
    # The curve read backwards is a curve again: its forward sums are this one's backward sums.
    mirrored = _scatter(odds, segments, by_stop=False)[:, ::-1, ::-1]
    backward = _forward(mirrored, rate)[:, ::-1]
    ends = (segments.start > 0).astype(float) + (segments.stop < n - 1)
    log = forward[:, segments.start] + odds + backward[:, segments.stop + 1] + ends * np.log(rate)
    return np.exp(log - forward[:, -1:])


def _contains(probability: Array, segments: Segments, n: int) -> Array:
    """Probability that a segment contains the range a..b, for every a ≤ b; 0 below the diagonal."""
    square = np.zeros((n, n))
    square[segments.start, segments.stop] = probability
    total = np.cumsum(np.cumsum(square, axis=0)[:, ::-1], axis=1)[:, ::-1]
    return np.clip(np.triu(total), 0.0, 1.0)


def _fit(model: _Model, kinds: list[Array], inflation: float, n: int) -> Array:
    fitted = _cover(kinds[0] * flat_level(model.segments, inflation, model.scale), model.segments, n)
    for kind, ramp in zip(kinds[1:], model.ramps, strict=True):
        intercept, gradient = ramp_line(model.segments, ramp, inflation, model.scale)
        fitted += _cover(kind * intercept, model.segments, n)
        fitted += _cover(kind * gradient, model.segments, n) * ramp.abscissa
    return fitted


def _cover(values: Array, segments: Segments, n: int) -> Array:
    """Sum, for every point, of the values of the segments that contain it."""
    opened = np.bincount(segments.start, values, n)
    closed = np.bincount(segments.stop, values, n)
    return np.cumsum(opened) - np.concatenate([[0.0], np.cumsum(closed)[:-1]])
