"""Where a curve changes: the shortest stretches that hold a change, joined where they are one."""

from itertools import pairwise

import numpy as np

from lltc.transitions.climbs import Fit, Stretch, fit_climb, halfway_range
from lltc.transitions.plateaus import Bracket, plateaus_between
from lltc.transitions.segmentation import Segmentation

# Fewer checkpoints than this between two changes of the same direction are a halt inside one transition.
_MIN_PLATEAU = 3
# A stretch this many times slower (per checkpoint) than the changes on both its sides is a rest that drifts.
_SLOW = 0.25
# Log likelihood, in units of log n, that a second change must gain.
_PENALTY = 2.5
# Errors by which a point lies on one side of the middle.
_CLEAR = 2.0

Points = tuple[int, int]


def find_brackets(
    segmentation: Segmentation, threshold: float, min_change: float, floor: float
) -> tuple[list[Bracket], list[Points]]:
    """The changes of a curve, and the points between which each is halfway.

    Shortest brackets, merged; then the smallest change goes until all that remain are large enough.

    Neighbours in one direction merge once more where one smooth change explains their points as well as two:
    where a second one gains less than 5/2 log n, the penalty of Schwarz's criterion for a level, a place and
    a width, and a prior of 1/n for the change. A bracket grows to hold the range in which it is halfway.
    """
    brackets = _merge(_shortest(segmentation, threshold), segmentation)
    typical = segmentation.inflation * float(np.median(segmentation.curve.llc_se))
    while brackets:
        levels = np.array([plateau.level for plateau in plateaus_between(segmentation, brackets, floor)])
        middle = (np.abs(levels[1:]) + np.abs(levels[:-1])) / 2
        change = np.abs(np.diff(levels)) / np.hypot(typical, floor * middle)
        smallest = int(np.argmin(change))
        if change[smallest] >= min_change:
            break
        del brackets[smallest]
    brackets = _merge_climbs(brackets, segmentation)
    levels = [plateau.level for plateau in plateaus_between(segmentation, brackets, floor)]
    ranges = [
        _apart(_halfway(segmentation, brackets, at, threshold), _passed(segmentation, bracket, *ends))
        for at, (bracket, ends) in enumerate(zip(brackets, pairwise(levels), strict=True))
    ]
    wider = [
        Bracket(min(bracket.low, low), max(bracket.high, high), bracket.sign)
        for bracket, (low, high) in zip(brackets, ranges, strict=True)
    ]
    return wider, ranges


def _halfway(segmentation: Segmentation, brackets: list[Bracket], at: int, threshold: float) -> Points:
    """Points between which one smooth change is halfway with probability `threshold`."""
    fit = _fit(segmentation, brackets, at, at)
    return (brackets[at].low, brackets[at].high) if fit is None else halfway_range(fit, threshold)


def _passed(segmentation: Segmentation, bracket: Bracket, before: float, after: float) -> Points | None:
    """The last point clearly on the side of the level `before` and the first on the other, where in order."""
    curve, inside = segmentation.curve, slice(bracket.low, bracket.high + 1)
    error = segmentation.inflation * curve.weights_se[inside]
    gain = bracket.sign * (curve.llc[inside] - (before + after) / 2) / error
    short, beyond = np.flatnonzero(gain < -_CLEAR), np.flatnonzero(gain > _CLEAR)
    if not (len(short) and len(beyond) and short[-1] < beyond[0]):
        return None
    return bracket.low + int(short[-1]), bracket.low + int(beyond[0])


def _apart(smooth: Points, passed: Points | None) -> Points:
    """What a smooth change says, but for a curve that is none and is plainly halfway elsewhere."""
    if passed is None or min(smooth[1], passed[1]) > max(smooth[0], passed[0]):
        return smooth
    return passed


def _merge_climbs(brackets: list[Bracket], segmentation: Segmentation) -> list[Bracket]:
    """Join neighbours in one direction where one smooth change says as much as two."""
    at = 0
    while at + 1 < len(brackets):
        before, after = brackets[at : at + 2]
        if before.sign == after.sign and _is_one(segmentation, brackets, at):
            brackets = [*brackets[:at], Bracket(before.low, after.high, before.sign), *brackets[at + 2 :]]
            at = max(at - 1, 0)
        else:
            at += 1
    return brackets


def _is_one(segmentation: Segmentation, brackets: list[Bracket], at: int) -> bool:
    whole, *parts = (
        _fit(segmentation, brackets, *pair) for pair in ((at, at + 1), (at, at), (at + 1, at + 1))
    )
    if whole is None or None in parts:
        return False
    gain = whole.misfit - sum(part.misfit for part in parts if part)
    return gain < _PENALTY * np.log(len(segmentation.curve.steps))


def _fit(segmentation: Segmentation, brackets: list[Bracket], start: int, stop: int) -> Fit | None:
    """Fit one change to the brackets `start` to `stop` and the halves of the plateaus on both sides."""
    curve = segmentation.curve
    first = (brackets[start - 1].high + brackets[start].low) // 2 if start else 0
    beyond = brackets[stop + 1 :]
    last = (brackets[stop].high + beyond[0].low) // 2 if beyond else len(curve.steps) - 1
    bracket = Bracket(brackets[start].low, brackets[stop].high, brackets[start].sign)
    return fit_climb(Stretch(curve, segmentation.inflation, first, last, bracket))


def _shortest(segmentation: Segmentation, threshold: float) -> list[Bracket]:
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
            chosen.append(Bracket(low, high, 1 if rise else -1))
    return sorted(chosen, key=lambda bracket: bracket.low)


def _merge(brackets: list[Bracket], segmentation: Segmentation) -> list[Bracket]:
    """Join the brackets of one transition, leaving out slow stretches between two fast ones."""
    moving = [
        bracket for chain in _chains(brackets, segmentation) for bracket in _drop_rests(chain, segmentation)
    ]
    chains = _chains(moving, segmentation)
    return [Bracket(chain[0].low, chain[-1].high, chain[0].sign) for chain in chains]


def _chains(brackets: list[Bracket], segmentation: Segmentation) -> list[list[Bracket]]:
    """Runs of neighbouring brackets in one direction with no rest between them."""
    chains: list[list[Bracket]] = []
    for bracket in brackets:
        last = chains[-1][-1] if chains else None
        if last is not None and last.sign == bracket.sign and not _rests(last, bracket, segmentation):
            chains[-1].append(bracket)
        else:
            chains.append([bracket])
    return chains


def _drop_rests(chain: list[Bracket], segmentation: Segmentation) -> list[Bracket]:
    pace = np.array([_pace(segmentation, bracket.low, bracket.high) for bracket in chain])
    sides = np.minimum(np.maximum.accumulate(pace), np.maximum.accumulate(pace[::-1])[::-1])
    return [bracket for bracket, own, side in zip(chain, pace, sides, strict=True) if own >= _SLOW * side]


def _rests(before: Bracket, after: Bracket, segmentation: Segmentation) -> bool:
    """Whether three or more checkpoints between two brackets are flat, or far slower than both."""
    if after.low - before.high + 1 < _MIN_PLATEAU:
        return False
    start = np.arange(before.high, after.low - _MIN_PLATEAU + 2)
    flat = segmentation.on_plateau(start, start + _MIN_PLATEAU - 1)
    sides = min(_pace(segmentation, before.low, before.high), _pace(segmentation, after.low, after.high))
    return bool(np.any(flat >= 0.5)) or _pace(segmentation, before.high, after.low) < _SLOW * sides


def _pace(segmentation: Segmentation, low: int, high: int) -> float:
    return abs(segmentation.fitted[high] - segmentation.fitted[low]) / (high - low)
