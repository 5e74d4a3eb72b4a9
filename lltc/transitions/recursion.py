"""The recursion over all segmentations of a curve, forward and backward, in logarithms.

Arrays over segments have the last axis T = n(n+1)/2 (`lltc.transitions.evidence`), with the inflations first.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lltc.transitions.curve import Curve
from lltc.transitions.evidence import (
    Array,
    Ramps,
    Segments,
    flat_evidence,
    log_noise,
    ramp_evidence,
    sum_ramps,
    sum_segments,
)

_RAMP_SHARE = 0.1


class CurveModel(NamedTuple):
    """The sums of every segment and of every ramp, about a `centre` and in the `scale` of the levels."""

    segments: Segments
    ramps: list[Ramps]
    centre: float
    scale: float


def level_range(curve: Curve) -> tuple[float, float]:
    """Centre and scale of the levels: the range of the points that are no outliers."""
    solid = curve.weights_se == curve.llc_se
    low, high = float(curve.llc[solid].min()), float(curve.llc[solid].max())
    return (low + high) / 2, max(high - low, 2 * float(np.median(curve.llc_se)))


def build_model(curve: Curve, centre: float, scale: float, cells: NDArray[np.intp]) -> CurveModel:
    """The sums of every segment in each abscissa, about a centre and in a scale; `cells` by first point."""
    centred = curve.llc - centre
    segments = sum_segments(centred, curve.weights_se, scale, cells)
    ramps = [sum_ramps(centred, curve.weights_se, scale, x, segments) for x in scaled_steps(curve.steps)]
    return CurveModel(segments, ramps, centre, scale)


def scaled_steps(steps: Array) -> list[Array]:
    """The steps, and log(1 + step) when no step is negative, each scaled to [0, 1]."""
    candidates = [steps] if steps[0] < 0 else [steps, np.log1p(steps)]
    return [(x - x[0]) / max(x[-1] - x[0], np.finfo(float).tiny) for x in candidates]


def sum_segmentations(
    curve: Curve, model: CurveModel, rate: float, grid: Array, prior: Array
) -> tuple[Array, Array, Array]:
    """Log joint density of the curve and each inflation, the log odds of the segments, the forward sums."""
    odds = _segment_log_odds(model, rate, grid)
    forward = _forward(_scatter(odds, model.segments, by_stop=True), rate)
    noise = log_noise(curve.llc - model.centre, curve.weights_se, grid)
    return np.log(prior) + noise + forward[:, -1], odds, forward


def _weighted_kinds(model: CurveModel, grid: Array) -> list[Array]:
    """Log (prior share × evidence) of a plateau and of each ramp, each of shape (inflations, T)."""
    long_enough = model.segments.last - model.segments.first >= 2
    flat = flat_evidence(model.segments, grid) + np.where(long_enough, np.log(1 - _RAMP_SHARE), 0.0)
    share = np.log(_RAMP_SHARE / len(model.ramps))
    return [flat] + [ramp_evidence(model.segments, ramp, grid) + share for ramp in model.ramps]


def _segment_log_odds(model: CurveModel, rate: float, grid: Array) -> Array:
    inside = (model.segments.last - model.segments.first) * np.log1p(-rate)
    return np.logaddexp.reduce(_weighted_kinds(model, grid)) + inside


def kind_shares(model: CurveModel, grid: Array) -> list[Array]:
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


def segment_probability(odds: Array, forward: Array, segments: Segments, rate: float) -> Array:
    """Posterior probability that a segment is part of the segmentation, shape (inflations, T)."""
    n = forward.shape[1] - 1
    # The curve read backwards is a curve again: its forward sums are this one's backward sums.
    mirrored = _scatter(odds, segments, by_stop=False)[:, ::-1, ::-1]
    backward = _forward(mirrored, rate)[:, ::-1]
    ends = (segments.start > 0).astype(float) + (segments.stop < n - 1)
    log = forward[:, segments.start] + odds + backward[:, segments.stop + 1] + ends * np.log(rate)
    return np.exp(log - forward[:, -1:])
