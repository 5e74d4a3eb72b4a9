"""How long an estimate will take, told from what a step costs and what the draws so far have reached."""

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

from lltc.chains.loop import LEAST_STEPS
from lltc.diagnostics.assessment import Assessment
from lltc.estimates.effort import Effort
from lltc.estimates.progress import Progress

LONG = 30.0
LOOSER, WORTHWHILE = 0.05, 0.5


class Reached(NamedTuple):
    """The relative error of so many `draws` of each chain: `shrinking` as 1/√draws, down to `floor`."""

    draws: int
    shrinking: float
    floor: float

    def error(self, draws: float) -> float:
        """Return the relative error that so many draws would have."""
        return math.hypot(self.shrinking * math.sqrt(self.draws / draws), self.floor)


class Course(NamedTuple):
    """What lies ahead: `warmup` steps, then draws of each chain, of which `made` are there.

    There will be at least `least` and at most `most`, as many as the error wants.
    """

    warmup: int
    made: int
    least: int
    most: int


class Outlook(NamedTuple):
    """The draws of each chain when an estimate ends, its relative error then, and the seconds until then."""

    draws: int
    error: float
    seconds: float


def measure(assessment: Assessment, draws: int) -> Reached:
    """Return what draws have reached."""
    scale, shrinking = abs(assessment.llc or 1), assessment.budget.shrinking
    floor = max(assessment.llc_se**2 - shrinking, 0.0)
    return Reached(draws, math.sqrt(shrinking) / scale, math.sqrt(floor) / scale)


def predict(
    reached: Reached, course: Course, target: float, step_seconds: float, allowed: float = math.inf
) -> Outlook:
    """Return how an estimate that draws until its relative error is `target` will end.

    error² = shrinking² · reached.draws/draws + floor². A target that the floor does not allow takes all
    draws; none begins once the seconds `allowed` are over.

    Example:
        >>> predict(Reached(100, 0.06, 0.0), Course(500, 0, 100, 16_000), target=0.02, step_seconds=0.5)
        Outlook(draws=900, error=0.02, seconds=700.0)
    """
    room = target**2 - reached.floor**2
    # A part of a draw that is left over is rounding.
    needed = math.ceil(reached.draws * reached.shrinking**2 / room - 1e-6) if room > 0 else course.most
    in_time = course.made + allowed / step_seconds - course.warmup
    ends = min(max(needed, course.least), course.most)
    draws = int(min(ends, max(in_time, course.made + LEAST_STEPS)))
    ahead = course.warmup + max(draws - course.made, 0)
    return Outlook(draws, reached.error(draws), ahead * step_seconds)


def tell(
    bar: Progress,
    effort: Effort,
    assessments: Sequence[Assessment],
    draws: int,
    course: Course,
    until: float | None,
) -> None:
    """Say what is ahead by what so many draws of each rung have reached: beside the bar, and once where long.

    An estimate ends with the rung that takes longest, and begins no draw after the moment `until`. Fewer than
    32 draws say nothing of the error.
    """
    target, step_seconds = effort.target_rel_se, bar.step_seconds
    if not bar.shown or draws < (1 if effort.num_draws else LEAST_STEPS) or not step_seconds > 0:
        return
    allowed = math.inf if until is None else until - time.perf_counter()
    parts = [measure(assessment, draws) for assessment in assessments]
    error = max(part.error(draws) for part in parts)
    if effort.num_draws is None and not math.isfinite(error):
        return
    outlook, looser = (
        max(
            (predict(part, course, wanted, step_seconds, allowed) for part in parts),
            key=lambda one: one.seconds,
        )
        for wanted in (target, LOOSER)
    )
    left = f"about {duration(outlook.seconds)} left"
    bar.tell(left if effort.num_draws else f"error {percent(error)}, wanted {percent(target)}; {left}")
    if outlook.seconds > LONG:
        bar.announce(explain(outlook, target, looser, effort.num_draws))


def explain(outlook: Outlook, target: float, looser: Outlook, num_draws: int | None) -> str:
    """Return what is ahead in a sentence, and how much sooner the error of `looser` would be reached.

    Example:
        >>> explain(Outlook(6000, 0.02, 720.0), 0.02, Outlook(1000, 0.05, 120.0), None)
        'about 12 min more for 2 % on this machine (5 % takes 2 min: target_rel_se=0.05)'
    """
    about = f"about {duration(outlook.seconds)} more for"
    if num_draws is not None:
        return f"{about} {outlook.draws:,} draws on this machine"
    beyond = outlook.error > 1.05 * target
    what = f"{percent(outlook.error)}, where {percent(target)} is wanted," if beyond else percent(target)
    text = f"{about} {what} on this machine"
    if target >= LOOSER or looser.seconds > WORTHWHILE * outlook.seconds:
        return text
    return f"{text} ({percent(LOOSER)} takes {duration(looser.seconds)}: target_rel_se={LOOSER})"


def duration(seconds: float) -> str:
    """Return a rough duration.

    Example:
        >>> duration(45.2), duration(468), duration(9000)
        ('45 s', '8 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def percent(share: float) -> str:
    """Return a share in per cent.

    Example:
        >>> percent(0.02), percent(0.00314), percent(1.2)
        ('2 %', '0.31 %', '120 %')
    """
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:.0f} %"
