"""One smooth change between two levels, fitted to a stretch of a curve: where it is halfway.

The change is `y = a + b F((x - m)/w)` with a shape F that grows from 0 to 1 and is ½ at 0: a ramp, a logistic
curve, the flank of a normal hump and an exponential approach, the last two either way round. With errors s_k,
`a` fitted and b ~ N(0, τ²), every place m and width w has the evidence (sums weighted by 1/s², F and y about
their means)

    log p = ½ (Σ F y)² / (Σ F² + 1/τ²) - ½ log(1 + τ² Σ F²) + (a term without m, w and F),

summed over widths and shapes on a grid, all alike, and normalised over m.
Source: Bayesian linear regression, e.g. Bishop, Pattern Recognition and Machine Learning (2006), section 3.5.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lltc.transitions.curve import Curve
from lltc.transitions.evidence import Array
from lltc.transitions.plateaus import Bracket
from lltc.transitions.recursion import level_range, scaled_steps

_WIDTHS = 16
# A change has reached its levels at the ends of its stretch but for this part.
_REACHED = 0.05
_PLACES = 64
_PLACES_AN_INTERVAL = 4
# Places this far below the best in log evidence are not looked at more closely.
_UNLIKELY = 10.0
# A stretch is taken in at most this many runs of points, half of them near the change.
_RUNS = 200
_MOST_CORRELATED = 0.8


class Stretch(NamedTuple):
    """The points `first` to `last` of a curve, with one change about `bracket`; all errors are inflated."""

    curve: Curve
    inflation: float
    first: int
    last: int
    bracket: Bracket


class Fit(NamedTuple):
    """The evidence at every place, `(shapes, places, widths)`; `place` is counted in points.

    `misfit` is half the weighted sum of squares that the best change leaves, `spread` the factor by which its
    residuals tell less than independent errors of the claimed size would.
    """

    evidence: Array
    place: Array
    misfit: float
    spread: float


def halfway_range(fit: Fit, threshold: float) -> tuple[int, int]:
    """Points between which the change is halfway with probability `threshold`, equal tails."""
    weight = _weigh(fit).sum(axis=(0, 2))
    passed = np.cumsum(weight) / weight.sum()
    tails = np.searchsorted(passed, [(1 - threshold) / 2, (1 + threshold) / 2])
    low, high = fit.place[np.minimum(tails, len(passed) - 1)]
    return int(np.floor(low)), int(np.floor(high)) + 1


def fit_climb(stretch: Stretch) -> Fit | None:
    """Fit one change to a stretch; None where none in its direction reaches its levels.

    Places lie around the bracket, a quarter of an interval apart; where they would be more than 64 they are
    found in two rounds, and only in a long stretch lie farther apart.
    """
    bracket = stretch.bracket
    beyond = bracket.high - bracket.low + 3
    low, high = max(stretch.first, bracket.low - beyond), min(stretch.last, bracket.high + beyond)
    fit = _fit_places(stretch, _spread_places(low, high))
    if fit is None or _PLACES_AN_INTERVAL * (high - low) <= _PLACES:
        return fit
    gap = fit.place[1] - fit.place[0]
    likely = fit.place[_weigh(fit).max(axis=(0, 2)) > np.exp(-_UNLIKELY)]
    return _fit_places(stretch, _spread_places(max(low, likely[0] - gap), min(high, likely[-1] + gap)))


def _spread_places(low: float, high: float) -> Array:
    count = min(_PLACES, int(np.ceil(_PLACES_AN_INTERVAL * (high - low))))
    return low + (high - low) * (np.arange(count) + 0.5) / count


def _weigh(fit: Fit) -> Array:
    return np.exp((fit.evidence - fit.evidence.max()) / fit.spread)


def _fit_places(stretch: Stretch, place: Array) -> Fit | None:
    inside = slice(stretch.first, stretch.last + 1)
    weight = (stretch.inflation * stretch.curve.weights_se[inside]) ** -2
    runs = _runs(stretch)
    mass = np.add.reduceat(weight, runs)
    value = np.add.reduceat(weight * stretch.curve.llc[inside], runs) / mass
    pull = stretch.bracket.sign * mass * (value - np.average(value, weights=mass))
    scale = level_range(stretch.curve)[1]
    tables, changes = [], []
    for steps in scaled_steps(stretch.curve.steps):
        x = steps[inside]
        middle = np.interp(place, np.arange(len(steps)), steps)[:, None, None]
        width = _widths(stretch, steps)
        z, ends = (np.add.reduceat(weight * x, runs) / mass - middle) / width, (x[[0, -1]] - middle) / width
        for shape in _SHAPES:
            change, reach = shape(z), shape(ends)
            square = change**2 @ mass - (change @ mass) ** 2 / mass.sum()
            moment = change @ pull
            evidence = (moment**2 / (square + scale**-2) - np.log1p(scale**2 * square)) / 2
            fits = (reach[..., 0] < _REACHED) & (reach[..., 1] > 1 - _REACHED) & (moment > 0)
            tables.append(np.where(fits, evidence, -np.inf))
            changes.append((shape, x, middle[:, 0, 0], width[:, 0]))
    evidence = np.array(tables)
    if not np.isfinite(evidence.max()):
        return None
    best, at, wide = np.unravel_index(evidence.argmax(), evidence.shape)
    shape, x, middle, width = changes[best]
    residual = _residual(shape((x - middle[at]) / width[wide]), stretch.curve.llc[inside], np.sqrt(weight))
    return Fit(evidence, place, float(residual @ residual) / 2, _spread(residual))


def _widths(stretch: Stretch, steps: Array) -> Array:
    """From a part of the shortest interval in the bracket to the whole stretch, `(widths, 1)`."""
    shortest = np.diff(steps[stretch.bracket.low : stretch.bracket.high + 1]).min()
    whole = max(steps[stretch.last] - steps[stretch.first], np.finfo(float).tiny)
    # Steps that differ may have equal logarithms.
    return np.geomspace(max(0.3 * shortest, 1e-6 * whole), whole, _WIDTHS)[:, None]


def _runs(stretch: Stretch) -> NDArray[np.intp]:
    """First points of the runs that are taken together, counted from the stretch's first."""
    low, high = stretch.bracket.low, stretch.bracket.high
    beyond = 2 * (high - low) + 6
    near = np.linspace(max(stretch.first, low - beyond), min(stretch.last, high + beyond), _RUNS // 2)
    whole = np.linspace(stretch.first, stretch.last, _RUNS // 2)
    return np.unique(np.append(whole, near).astype(np.intp)) - stretch.first


def _residual(change: Array, value: Array, root: Array) -> Array:
    """What a level and the change leave of the values, in their errors."""
    design = np.stack([root, root * change], axis=1)
    return root * value - design @ np.linalg.lstsq(design, root * value)[0]


def _spread(residual: Array) -> float:
    """Excess variance of the residuals, times `(1 + r)/(1 - r)` with r the correlation of neighbours."""
    n, total = len(residual), residual @ residual
    if n < 6 or total == 0:
        return 1.0
    correlation = np.clip(residual[1:] @ residual[:-1] / total - n**-0.5, 0, _MOST_CORRELATED)
    return float(max(1.0, total / (n - 4)) * (1 + correlation) / (1 - correlation))


def _ramp(z: Array) -> Array:
    return np.clip(z + 0.5, 0, 1)


def _logistic(z: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(2 * z)


def _normal_flank(z: Array) -> Array:
    return np.exp(-0.5 * np.minimum(1.5 * z - np.sqrt(2 * np.log(2)), 0) ** 2)


def _approach(z: Array) -> Array:
    return 1 - np.exp(-np.maximum(2 * z + np.log(2), 0))


_SHAPES = (
    _ramp,
    _logistic,
    _normal_flank,
    lambda z: 1 - _normal_flank(-z),
    _approach,
    lambda z: 1 - _approach(-z),
)
