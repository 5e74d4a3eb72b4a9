"""Drawing until it is enough: plainly, or by replica exchange where few rungs lead there from the prior."""

import time
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.looks import Visit
from lltc.chains.loop import Run, Trace
from lltc.chains.rounds import finite
from lltc.chains.rungs import Ladder
from lltc.chains.steps import Draws
from lltc.chains.warmup import WarmUp
from lltc.diagnostics.assessment import Assessment
from lltc.diagnostics.status import Status
from lltc.estimates.drawn import Drawn, assess_rung, drawer
from lltc.estimates.effort import Effort
from lltc.estimates.exchange import (
    MOST_CHEAP_DRAWS,
    exchange,
    has_left,
    is_small,
    may_exchange,
    most_exchanged,
)
from lltc.estimates.outlook import Course, tell
from lltc.estimates.progress import Progress

MOST_DRAWS = 16_000
MARGIN, LEAST_GROWTH, MOST_GROWTH = 1.2, 1.25, 2.0
EXPLORED = 0.9


def draw_until_enough(
    run: Run,
    ladder: Ladder,
    warm: WarmUp,
    effort: Effort,
    first_draws: int,
    bar: Progress,
    observe: Callable[[jax.Array], None] | None,
    until: float | None,
) -> Drawn:
    """Draw `num_draws`, or grow from `first_draws` until error and status are good or the budget ends.

    The budget is a number of draws, and the moment `until` where there is one. Where the first draws tell
    that few rungs lead from the prior to the posterior, replicas exchange places for the rest of it, or for
    `num_draws` anew. Where these fall into a deeper region that the first draws have not come to, the first
    go on: a learning coefficient is of the region around w*. `observe` sees those that are kept.
    """
    count = (effort.num_draws or first_draws) if warm.complete and warm.finite else 0
    undecided = count > 0 and may_exchange(run, ladder, effort)
    first, exchanged = (Withheld(observe) if observe and undecided else None for _ in range(2))
    draw = drawer(run, warm.settings, bar, until, observe=first or observe)
    visits: list[Visit] = []
    trace = draw(warm.state, 1 + warm.steps, count, visits)
    plain = Drawn(run, ladder, warm, trace, tuple(visits), warm.steps * ladder.hot.size)
    if undecided and not _is_late(until):
        drawn = exchange(plain, effort.num_draws, bar, until, exchanged)
        if not drawn.tempered:
            plain = drawn
        else:
            drawn = _draw_on(drawn, effort, first_draws, bar, exchanged, until)
            if not has_left(drawn, plain):
                if exchanged:
                    exchanged.tell()
                return drawn
            spent = plain.spent + drawn.evaluations - plain.evaluations
            plain = replace(plain, spent=spent, overlooked=True)
    if first:
        first.tell()
    return _draw_on(plain, effort, first_draws, bar, observe, until) if count else plain


class Withheld:
    """Positions that an observer is told of later, or never: what it has read it cannot take back."""

    def __init__(self, observe: Callable[[jax.Array], None]):
        self.observe = observe
        self.positions: list[np.ndarray] = []

    def __call__(self, positions: jax.Array) -> None:
        """Hold a copy: the chains' next steps may be written over `positions`."""
        self.positions.append(np.array(positions))

    def tell(self) -> None:
        """Let the observer read all."""
        for positions in self.positions:
            self.observe(jnp.asarray(positions))


def _draw_on(
    drawn: Drawn,
    effort: Effort,
    first_draws: int,
    bar: Progress,
    observe: Callable[[jax.Array], None] | None,
    until: float | None,
) -> Drawn:
    """Return `drawn` with as many draws as it needs, which are its own where a number was asked for."""
    if effort.num_draws is not None:
        return drawn
    run, ladder, cheap = drawn.run, drawn.ladder, is_small(drawn.run.posterior)
    draw = drawer(run, drawn.warm.settings, bar, until, observe=observe, tempered=drawn.tempered)
    # Chains that have missed a far arm look precise; where steps are cheap, two looks in a row must agree.
    wanted, most = (2, MOST_CHEAP_DRAWS) if cheap else (1, MOST_DRAWS)
    if drawn.tempered:
        most = most_exchanged(drawn.tempered, first_draws)
    # Of replicas that come from the prior the virial tells nothing more.
    met, explored = 0, 0.0 if drawn.tempered else EXPLORED
    while drawn.trace.complete and finite(drawn.trace) and drawn.count < most and not _is_late(until):
        assessments = [assess_rung(drawn, rung) for rung in range(len(ladder.rungs))]
        growth = max(_growth(rung, effort.target_rel_se, explored) for rung in assessments)
        met = met + 1 if growth == 1 else 0
        if met == wanted:
            break
        count = drawn.count
        more = min(count if cheap else round(count * (growth - 1)), most - count)
        bar.extend(more)
        tell(bar, effort, assessments, count, Course(0, count, count + more, most), until)
        visits = list(drawn.visits)
        further = draw(drawn.trace.state, 1 + drawn.warm.steps + count, more, visits)
        drawn = replace(drawn, trace=_extend(drawn.trace, further), visits=tuple(visits))
    return drawn


def _is_late(until: float | None) -> bool:
    return until is not None and time.perf_counter() > until


def _growth(assessment: Assessment, target_rel_se: float, explored: float) -> float:
    """Return by what to multiply the draws: 1 where they are enough, 2 where more than the error is amiss."""
    if assessment.status is Status.negative:
        return 1.0
    if assessment.status is not Status.ok or assessment.virial_share < explored:
        return MOST_GROWTH
    allowed = target_rel_se * abs(assessment.llc)
    if assessment.llc_se <= allowed:
        return 1.0
    shrinking = assessment.budget.shrinking
    room = allowed**2 - (assessment.llc_se**2 - shrinking)
    return float(np.clip(MARGIN * shrinking / room, LEAST_GROWTH, MOST_GROWTH)) if room > 0 else MOST_GROWTH


def _extend(trace: Trace, more: Trace) -> Trace:
    draws = Draws(*(np.concatenate(pair, axis=1) for pair in zip(trace.draws, more.draws, strict=True)))
    observables = {
        name: np.concatenate([values, more.observables[name]], axis=1) if name in more.observables else values
        for name, values in trace.observables.items()
    }
    return Trace(draws, observables, more.state, more.complete)
