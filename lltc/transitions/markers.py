"""From the posterior over segmentations to markers and the plateaus between them."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lltc.errors import InputError
from lltc.transitions.curve import read_curve
from lltc.transitions.pieces import probability_above
from lltc.transitions.segmentation import Segmentation, segment_curve

# Fewer checkpoints than this between two changes of the same direction are a halt inside one transition.
_MIN_PLATEAU = 3
# A stretch this many times slower (per checkpoint) than the changes on both its sides is a rest that drifts.
_SLOW = 0.25
# At how many points of a long bracket it is asked whether the curve has passed its middle.
_LOOKS = 400


@dataclass(frozen=True)
class Transition:
    """A change between two plateaus (or one ramp).

    The change lies between the checkpoints `step_low` and `step_high` with posterior `probability`;
    `delta_llc ± delta_llc_se` is the level after it minus the level before it. The curve passes the middle
    of the two levels between the checkpoints `halfway`, with at least the probability that was asked for
    (`threshold`).
    """

    step_low: float
    step_high: float
    delta_llc: float
    delta_llc_se: float
    kind: Literal["rise", "fall"]
    probability: float
    halfway: tuple[float, float]


@dataclass(frozen=True)
class Plateau:
    """The checkpoints from `step_low` to `step_high`, between two markers, and their mean `level ± se`."""

    step_low: float
    step_high: float
    level: float
    se: float


@dataclass(frozen=True)
class _Bracket:
    """Points `low` and `high` between which the curve changes in direction `sign`."""

    low: int
    high: int
    sign: int


def find_transitions(
    steps: ArrayLike,
    llc: ArrayLike,
    llc_se: ArrayLike,
    *,
    threshold: float = 0.9,
    min_change: float = 3.0,
    floor: float = 0.0,
    change_rate: float | None = None,
) -> tuple[Transition, ...]:
    """Mark the transitions of a curve with error bars.

    The exact posterior over segmentations (`segment_curve`) gives, for every pair of checkpoints, the
    probability that one plateau holds all points between them. A marker is the shortest bracket for which
    that probability is at most `1 - threshold`, at most a tenth of the curve wide. Brackets in the same
    direction with no plateau of three or more checkpoints between them merge: a transition that takes
    several checkpoints, or a ramp, is one marker; a hump is a rise and a fall.

    Args:
        steps: training steps, shape (n,), strictly increasing.
        llc: values, shape (n,), any unit; NaN marks a failed checkpoint and is dropped. With fewer than
            three finite values there is nothing to mark and the answer is empty.
        llc_se: standard errors in the unit of `llc`, shape (n,). Errors that are too small are recognised
            from the scatter of the curve and inflated, never deflated.
        threshold: posterior probability a marker needs, and that of its range `halfway`, in (0, 1).
        min_change: smallest change marked, in (inflated) standard errors of one checkpoint. Neighbouring
            checkpoints may share part of their error, so averaging many of them proves less than it seems.
        floor: relative error of a level that no averaging removes, added in quadrature to the error of every
            level and to the one `min_change` counts in; 0.01 says that plateaus drift by about 1 %, and with
            the default `min_change` a change needs 3 % of the level. Default 0.
        change_rate: prior probability of a change in one interval; default 1/n.

    Returns:
        Transitions in the order of steps.

    Raises:
        InputError: lengths differ, steps do not increase, an error is not positive, or a setting is out of
            range.

    A lone interior checkpoint that stands out from a curve of more than ten is taken for an outlier (one in a
    hundred is expected); on shorter curves, beside another change, or at either end, it makes markers. Errors
    that are three times too small go unnoticed on fewer than ten checkpoints.

    Source: P. Fearnhead, Exact and efficient Bayesian inference for multiple changepoint problems,
        Statistics and Computing 16 (2006); operating points in benchmarks/results/transitions.md.

    Example:
        >>> llc = [1.0, 1.1, 0.9, 1.0, 3.0, 3.1, 2.9, 3.0]
        >>> [(t.kind, t.step_low, t.step_high) for t in find_transitions(range(8), llc, [0.1] * 8)]
        [('rise', 3.0, 4.0)]
    """
    _check(threshold, min_change, floor)
    if len(read_curve(steps, llc, llc_se).kept) < 3:
        return ()
    segmentation = segment_curve(steps, llc, llc_se, change_rate=change_rate)
    brackets = _find_brackets(segmentation, threshold, min_change, floor)
    return _describe(segmentation, brackets, floor, threshold)


def find_plateaus(
    steps: ArrayLike,
    llc: ArrayLike,
    llc_se: ArrayLike,
    *,
    threshold: float = 0.9,
    min_change: float = 3.0,
    floor: float = 0.0,
    change_rate: float | None = None,
) -> tuple[Plateau, ...]:
    """Levels of the curve before, between and after the markers of `find_transitions`.

    One plateau more than there are markers, each from one marker's `step_high` to the next one's `step_low`;
    where a ramp meets the end of the curve or another marker it is a single checkpoint. `level` is the mean
    weighted by `1/llc_se²`, `se` its error times the inflation, with `floor · level` added in quadrature.
    Arguments and errors as `find_transitions`.

    Example:
        >>> llc = [1.0, 1.1, 0.9, 1.0, 3.0, 3.1, 2.9, 3.0]
        >>> [round(p.level, 3) for p in find_plateaus(range(8), llc, [0.1] * 8)]
        [1.0, 3.0]
    """
    _check(threshold, min_change, floor)
    if len(read_curve(steps, llc, llc_se).kept) < 3:
        return ()
    segmentation = segment_curve(steps, llc, llc_se, change_rate=change_rate)
    return _plateaus(segmentation, _find_brackets(segmentation, threshold, min_change, floor), floor)


def _check(threshold: float, min_change: float, floor: float) -> None:
    if not 0 < threshold < 1:
        raise InputError(
            f"threshold is {threshold}; pass a probability strictly between 0 and 1, such as 0.9."
        )
    if not (np.isfinite(min_change) and min_change >= 0):
        raise InputError(f"min_change is {min_change}; pass a number of standard errors, 0 or larger.")
    if not (np.isfinite(floor) and 0 <= floor < 1):
        raise InputError(f"floor is {floor}; pass a relative error in [0, 1), such as 0.01.")


def _find_brackets(
    segmentation: Segmentation, threshold: float, min_change: float, floor: float
) -> list[_Bracket]:
    """Shortest brackets, merged; the smallest change goes first until all that remain are large enough."""
    brackets = _merge(_shortest(segmentation, threshold), segmentation)
    typical = segmentation.inflation * float(np.median(segmentation.curve.llc_se))
    while brackets:
        levels = np.array([plateau.level for plateau in _plateaus(segmentation, brackets, floor)])
        middle = (np.abs(levels[1:]) + np.abs(levels[:-1])) / 2
        change = np.abs(np.diff(levels)) / np.hypot(typical, floor * middle)
        smallest = int(np.argmin(change))
        if change[smallest] >= min_change:
            break
        del brackets[smallest]
    return brackets


def _shortest(segmentation: Segmentation, threshold: float) -> list[_Bracket]:
    """Disjoint brackets holding a change with at least `threshold`, the shortest chosen first."""
    n = len(segmentation.curve.steps)
    first = segmentation.cells
    last = np.append(first[1:], n) - 1
    width = first[None, :] - last[:, None]
    change = 1 - segmentation.plateau
    wanted = (width >= 1) & (width <= min(n - 1, max(4, n // 10))) & (change >= threshold)
    rows, columns = np.nonzero(np.triu(wanted, 1))
    order = np.lexsort((rows, -change[rows, columns], width[rows, columns]))
    free = np.ones(n - 1, dtype=bool)
    chosen = []
    for low, high in zip(last[rows[order]].tolist(), first[columns[order]].tolist(), strict=True):
        if free[low:high].all():
            free[low:high] = False
            rise = segmentation.fitted[high] >= segmentation.fitted[low]
            chosen.append(_Bracket(low, high, 1 if rise else -1))
    return sorted(chosen, key=lambda bracket: bracket.low)


def _merge(brackets: list[_Bracket], segmentation: Segmentation) -> list[_Bracket]:
    """Join the brackets of one transition, leaving out slow stretches between two fast ones."""
    moving = [
        bracket for chain in _chains(brackets, segmentation) for bracket in _drop_rests(chain, segmentation)
    ]
    chains = _chains(moving, segmentation)
    return [_Bracket(chain[0].low, chain[-1].high, chain[0].sign) for chain in chains]


def _chains(brackets: list[_Bracket], segmentation: Segmentation) -> list[list[_Bracket]]:
    """Runs of neighbouring brackets in one direction with no rest between them."""
    chains: list[list[_Bracket]] = []
    for bracket in brackets:
        last = chains[-1][-1] if chains else None
        if last is not None and last.sign == bracket.sign and not _rests(last, bracket, segmentation):
            chains[-1].append(bracket)
        else:
            chains.append([bracket])
    return chains


def _drop_rests(chain: list[_Bracket], segmentation: Segmentation) -> list[_Bracket]:
    pace = np.array([_pace(segmentation, bracket.low, bracket.high) for bracket in chain])
    sides = np.minimum(np.maximum.accumulate(pace), np.maximum.accumulate(pace[::-1])[::-1])
    return [bracket for bracket, own, side in zip(chain, pace, sides, strict=True) if own >= _SLOW * side]


def _rests(before: _Bracket, after: _Bracket, segmentation: Segmentation) -> bool:
    """Whether three or more checkpoints between two brackets are flat, or far slower than both."""
    if after.low - before.high + 1 < _MIN_PLATEAU:
        return False
    start = np.arange(before.high, after.low - _MIN_PLATEAU + 2)
    flat = segmentation.on_plateau(start, start + _MIN_PLATEAU - 1)
    sides = min(_pace(segmentation, before.low, before.high), _pace(segmentation, after.low, after.high))
    return bool(np.any(flat >= 0.5)) or _pace(segmentation, before.high, after.low) < _SLOW * sides


def _pace(segmentation: Segmentation, low: int, high: int) -> float:
    return abs(segmentation.fitted[high] - segmentation.fitted[low]) / (high - low)


def _plateaus(segmentation: Segmentation, brackets: list[_Bracket], floor: float) -> tuple[Plateau, ...]:
    last = len(segmentation.curve.steps) - 1
    starts = [0] + [bracket.high for bracket in brackets]
    stops = [bracket.low for bracket in brackets] + [last]
    return tuple(
        _plateau(segmentation, start, stop, floor) for start, stop in zip(starts, stops, strict=True)
    )


def _plateau(segmentation: Segmentation, start: int, stop: int, floor: float) -> Plateau:
    curve, span = segmentation.curve, slice(start, stop + 1)
    precision = curve.weights_se[span] ** -2.0
    level = float(np.average(curve.llc[span], weights=precision))
    se = float(np.hypot(segmentation.inflation / np.sqrt(precision.sum()), floor * level))
    return Plateau(float(curve.steps[start]), float(curve.steps[stop]), level, se)


def _describe(
    segmentation: Segmentation, brackets: list[_Bracket], floor: float, threshold: float
) -> tuple[Transition, ...]:
    plateaus = _plateaus(segmentation, brackets, floor)
    transitions = []
    for bracket, (before, after) in zip(brackets, pairwise(plateaus), strict=True):
        delta = after.level - before.level
        transitions.append(
            Transition(
                before.step_high,
                after.step_low,
                delta,
                float(np.hypot(before.se, after.se)),
                "rise" if delta > 0 else "fall",
                float(1 - segmentation.on_plateau(bracket.low, bracket.high)),
                _halfway(segmentation, bracket, (before.level + after.level) / 2, delta > 0, threshold),
            )
        )
    return tuple(transitions)


def _halfway(
    segmentation: Segmentation, bracket: _Bracket, middle: float, rises: bool, threshold: float
) -> tuple[float, float]:
    """Checkpoints of the bracket before and after which the curve has passed `middle`, equal tails."""
    span = bracket.high - bracket.low
    points = bracket.low + np.unique(np.linspace(0, span, min(span + 1, _LOOKS)).astype(np.intp))
    above = probability_above(segmentation.pieces, middle, points)
    passed = above if rises else 1 - above
    before = np.flatnonzero(passed[:-1] <= (1 - threshold) / 2)
    after = np.flatnonzero(passed[1:] >= (1 + threshold) / 2)
    low = int(points[before[-1]]) if len(before) else bracket.low
    high = int(points[1 + after[0]]) if len(after) else bracket.high
    low, high = (low, high) if low < high else (bracket.low, bracket.high)
    return float(segmentation.curve.steps[low]), float(segmentation.curve.steps[high])
