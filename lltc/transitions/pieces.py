"""The posterior of the curve itself: at each point a mixture of normals, one for each segment over it."""

from math import erf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lltc.transitions.evidence import Array, flat_level, flat_variance, ramp_line, ramp_variance
from lltc.transitions.recursion import CurveModel

_RARE = 1e-6
_CERTAIN = 5.0
_erf = np.frompyfunc(erf, 1, 1)


class Pieces(NamedTuple):
    """The segments that matter, each of shape (pieces,), and their abscissae, shape (kinds, points).

    From point `start` to `stop` the curve is `intercept + gradient x`, x being `abscissae[kind]`; its
    variance is `height + 2 both t + slope t²` with t running from -1/2 to 1/2.
    """

    abscissae: Array
    kind: NDArray[np.intp]
    start: NDArray[np.intp]
    stop: NDArray[np.intp]
    probability: Array
    intercept: Array
    gradient: Array
    height: Array
    slope: Array
    both: Array


def keep_pieces(model: CurveModel, kinds: list[Array], inflation: float) -> Pieces:
    """Return the segments whose posterior probability counts; `kinds` as plateau, then as each ramp, (T,)."""
    segments = model.segments
    none = np.zeros(len(segments.start))
    level = flat_level(segments, inflation, model.scale)
    lines = [(level, none, flat_variance(segments, inflation, model.scale), none, none)]
    for ramp in model.ramps:
        line = ramp_line(segments, ramp, inflation, model.scale)
        lines.append((*line, *ramp_variance(segments, ramp, inflation, model.scale)))
    tables = []
    for index, (probability, line) in enumerate(zip(kinds, lines, strict=True)):
        likely = np.flatnonzero(probability > _RARE)
        columns = (column[likely] for column in (segments.first, segments.last, probability, *line))
        tables.append((np.full(len(likely), index), *columns))
    abscissae = np.array([model.ramps[0].abscissa, *(ramp.abscissa for ramp in model.ramps)])
    pieces = Pieces(abscissae, *(np.concatenate(column) for column in zip(*tables, strict=True)))
    return pieces._replace(intercept=pieces.intercept + model.centre)


def probability_above(pieces: Pieces, level: float, points: NDArray[np.intp]) -> Array:
    """Posterior probability that the curve lies above `level` at each of the `points`.

    `Σ P(segment) Φ((mean - level)/sd)` over the segments that hold the point.
    """
    return np.array([_above(pieces, level, point) for point in points])


def _above(pieces: Pieces, level: float, point: int) -> float:
    at = np.flatnonzero((pieces.start <= point) & (pieces.stop >= point))
    kind, start, stop = pieces.kind[at], pieces.start[at], pieces.stop[at]
    first, last, x = (pieces.abscissae[kind, place] for place in (start, stop, point))
    t = (x - first) / np.where(last > first, last - first, 1.0) - 0.5
    mean = pieces.intercept[at] + pieces.gradient[at] * x
    variance = pieces.height[at] + 2 * pieces.both[at] * t + pieces.slope[at] * t**2
    share = pieces.probability[at]
    score = (mean - level) / np.sqrt(2 * variance)
    above = (score > 0).astype(float)
    uncertain = np.abs(score) < _CERTAIN
    above[uncertain] = (1 + np.asarray(_erf(score[uncertain]), dtype=float)) / 2
    return float(share @ above / share.sum())
