"""Replica exchange in place of plain chains, where few rungs lead from the prior to a narrow valley."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np

from lltc.chains.looks import Visit
from lltc.chains.loop import Run, positions_of
from lltc.chains.rounds import finite
from lltc.chains.rungs import Ladder
from lltc.chains.steps import OBSERVE_EVERY
from lltc.chains.tempering import (
    MOST_BARRIER,
    TUNING_STEPS,
    Tempered,
    barrier,
    expected_arrivals,
    is_temperable,
    measure_prior_rise,
    temper,
)
from lltc.diagnostics.assessment import REGULAR
from lltc.diagnostics.status import LEAST_ESS
from lltc.estimates.drawn import Drawn, assess_rung, drawer, of_rung
from lltc.estimates.effort import Effort
from lltc.estimates.progress import Progress
from lltc.posterior.target import LocalPosterior

MOST_CHEAP_DRAWS = 64_000
LOOKS = 8
MOST_EXACT = 512
CURVED = 0.02
DEEPER = 10.0


def is_small(posterior: LocalPosterior) -> bool:
    """True where steps are cheap: each sees all the data, and few parameters move."""
    return posterior.full_batch and posterior.num_params <= MOST_EXACT


def is_sampler_chosen(effort: Effort) -> bool:
    """True where something was chosen that exchange would not heed."""
    return bool(effort.kernel or effort.step_size or effort.preconditioner)


def may_exchange(run: Run, ladder: Ladder, effort: Effort) -> bool:
    """True where nothing was chosen that exchange would not heed, and the rungs' steps cost little."""
    if is_sampler_chosen(effort) or not is_small(run.posterior):
        return False
    return is_temperable(run, effort.num_chains, targets=len(ladder.rungs))


class Way(NamedTuple):
    """How far it is from the prior: its own ΔL, and about how many trades are refused on the way up."""

    prior_rise: float
    refused: float


def find_way(drawn: Drawn) -> Way | None:
    """Return the way on which replicas come from the prior; None where none is needed, or it is too long."""
    if not (drawn.count and drawn.trace.complete and finite(drawn.trace)):
        return None
    llc = np.array([assess_rung(drawn, rung).llc for rung in range(len(drawn.ladder.rungs))])
    # Where every direction is stiff λ is d/2, and there are no arms; nor has a parabola any.
    if np.all(llc >= REGULAR * drawn.run.posterior.num_params / 2) or is_quadratic(drawn):
        return None
    prior_rise = measure_prior_rise(drawn.run, drawn.ladder.num_chains)
    refused = barrier(llc[-1], drawn.ladder.rungs[-1], prior_rise)
    return Way(prior_rise, refused) if refused <= MOST_BARRIER else None


def exchange(
    drawn: Drawn,
    num_draws: int | None,
    bar: Progress,
    until: float | None,
    observe: Callable[[jax.Array], None] | None = None,
) -> Drawn:
    """Return new first draws by replica exchange, or `drawn` where no rungs are needed, or too many.

    Where `num_draws` are asked for, all are made at once; too few for 50 arrivals from the prior are not made
    at all, and `drawn` is cramped.
    """
    way, run, chains = find_way(drawn), drawn.run, drawn.ladder.num_chains
    if way is None:
        return drawn
    if num_draws is not None and expected_arrivals(num_draws, chains, way.refused) < LEAST_ESS:
        return replace(drawn, cramped=True)
    bar.extend(TUNING_STEPS)
    steps = drawn.warm.steps + drawn.count
    tuning = drawn.warm.settings.tuning
    # Replicas move in the coordinates of the weights: there the smallest scale is that of the stiffest.
    step_size = float(of_rung(drawn, tuning.step_size, -1)[0, 0]) * float(np.min(tuning.scale)) ** 2
    try:
        tempered = temper(
            run,
            positions_of(drawn.trace.state, drawn.warm.settings)[-chains:],
            step_size,
            way.prior_rise,
            targets=drawn.ladder.rungs,
            first=1 + steps,
            on_chunk=bar.advance,
        )
    except KeyboardInterrupt:
        return replace(drawn, trace=replace(drawn.trace, complete=False))
    if tempered is None:
        return drawn
    spent = drawn.evaluations + round(TUNING_STEPS * tempered.cost * chains)
    steps += TUNING_STEPS
    warm = replace(drawn.warm, state=tempered.state, settings=tempered.target, steps=steps)
    visits: list[Visit] = []
    count = num_draws or most_exchanged(tempered, drawn.count) // LOOKS
    bar.extend(count)
    draw = drawer(run, warm.settings, bar, until, observe=observe, tempered=tempered)
    trace = draw(tempered.state, 1 + steps, count, visits)
    return Drawn(run, drawn.ladder, warm, trace, tuple(visits), spent, tempered)


def is_quadratic(drawn: Drawn) -> bool:
    """True where L is a parabola at all draws: but for its slope at w*, (w - w*)·∇L is 2 (L - L(w*))."""
    draws = drawn.trace.draws
    slope = draws.tilt if drawn.run.posterior.target.linear else 0.0
    virial, rise = draws.virial - slope, draws.energy.mean(-1) - slope
    return bool(np.mean((virial - 2 * rise) ** 2) <= CURVED**2 * np.mean(virial**2))


def has_left(exchanged: Drawn, plain: Drawn) -> bool:
    """True where replicas fell into a deeper region than that around w*, in which the plain chains stay.

    Draws of one region are seldom e^10 times likelier than all others of it.
    """
    deepest, around = (_lowest(drawn) for drawn in (exchanged, plain))
    return bool(np.any(deepest < around - DEEPER))


def _lowest(drawn: Drawn) -> np.ndarray:
    """Return the least nβ (L - L(w*)) of each rung's draws."""
    energy = drawn.ladder.split(drawn.trace.draws.energy)
    return drawn.ladder.rungs * energy.mean(-1).min(axis=(1, 2), initial=np.inf)


def most_exchanged(tempered: Tempered, plain: int) -> int:
    """Return how many draws a replica may make within as many evaluations as chains without exchange.

    These would go on after the `plain` draws that came first; warm-up is as long for both. Every look at them
    comes where observables are read.
    """
    allowed = (MOST_CHEAP_DRAWS - plain) * len(tempered.targets)
    whole = LOOKS * OBSERVE_EVERY
    return int(allowed / tempered.cost - TUNING_STEPS) // whole * whole
