"""From the posterior over segmentations to markers and the plateaus between them."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lltc.errors import InputError
from lltc.transitions.brackets import find_brackets
from lltc.transitions.curve import is_setting, read_curve
from lltc.transitions.plateaus import Bracket, Plateau, plateaus_between
from lltc.transitions.segmentation import Segmentation, segment_curve


@dataclass(frozen=True)
class Transition:
    """A change between two plateaus (or one ramp).

    The change lies between the checkpoints `step_low` and `step_high` with posterior `probability`;
    `delta_llc ± delta_llc_se` is the level after it minus the level before it. The curve is halfway from the
    one level to the other between the checkpoints `halfway`, with at least the probability that was asked
    for (`threshold`); where it turns, as on top of a hump, the level is the one it turns at.
    """

    step_low: float
    step_high: float
    delta_llc: float
    delta_llc_se: float
    kind: Literal["rise", "fall"]
    probability: float
    halfway: tuple[float, float]


class Criteria(NamedTuple):
    """What is asked of a marker; see `find_transitions`."""

    threshold: float = 0.9
    min_change: float = 3.0
    floor: float = 0.0
    change_rate: float | None = None


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
    several checkpoints, or a ramp, is one marker; a hump is a rise and a fall. So do neighbours in one
    direction where one smooth change explains the points as well as two: the slow ends of a sigmoid are no
    markers of their own.

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
    return find_markers(steps, llc, llc_se, Criteria(threshold, min_change, floor, change_rate))[0]


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
    return find_markers(steps, llc, llc_se, Criteria(threshold, min_change, floor, change_rate))[1]


def find_markers(
    steps: ArrayLike, llc: ArrayLike, llc_se: ArrayLike, criteria: Criteria
) -> tuple[tuple[Transition, ...], tuple[Plateau, ...]]:
    """Transitions and plateaus of one segmentation; see `find_transitions` and `find_plateaus`."""
    threshold, min_change, floor, change_rate = criteria
    _check(threshold, min_change, floor)
    if len(read_curve(steps, llc, llc_se).kept) < 3:
        return (), ()
    segmentation = segment_curve(steps, llc, llc_se, change_rate=change_rate)
    brackets, ranges = find_brackets(segmentation, threshold, min_change, floor)
    plateaus = plateaus_between(segmentation, brackets, floor)
    return _describe(segmentation, brackets, ranges, plateaus), plateaus


def _check(threshold: float, min_change: float, floor: float) -> None:
    if not is_setting(threshold, lambda value: 0 < value < 1):
        raise InputError(
            f"threshold is {threshold!r}; pass a probability strictly between 0 and 1, such as 0.9."
        )
    if not is_setting(min_change, lambda value: 0 <= value < np.inf):
        raise InputError(f"min_change is {min_change!r}; pass a number of standard errors, 0 or larger.")
    if not is_setting(floor, lambda value: 0 <= value < 1):
        raise InputError(f"floor is {floor!r}; pass a relative error in [0, 1), such as 0.01.")


def _describe(
    segmentation: Segmentation,
    brackets: list[Bracket],
    ranges: list[tuple[int, int]],
    plateaus: tuple[Plateau, ...],
) -> tuple[Transition, ...]:
    steps = segmentation.curve.steps
    transitions = []
    for bracket, (low, high), (before, after) in zip(brackets, ranges, pairwise(plateaus), strict=True):
        delta = after.level - before.level
        transitions.append(
            Transition(
                before.step_high,
                after.step_low,
                delta,
                float(np.hypot(before.se, after.se)),
                "rise" if delta > 0 else "fall",
                float(1 - segmentation.on_plateau(bracket.low, bracket.high)),
                (float(steps[low]), float(steps[high])),
            )
        )
    return tuple(transitions)
