"""What has been drawn so far: how it is drawn on, and what each rung of it says."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.looks import MOST_VISITS, Visit, look
from lltc.chains.loop import Run, Trace, sample
from lltc.chains.rounds import finite
from lltc.chains.rungs import Ladder
from lltc.chains.steps import Draws, Settings
from lltc.chains.tempering import Tempered
from lltc.chains.warmup import WarmUp
from lltc.diagnostics.assessment import Assessment, assess
from lltc.diagnostics.status import Status
from lltc.estimates.progress import Progress
from lltc.kernels import Kernel


@dataclass(frozen=True)
class Drawn:
    """A run, its warm-up, what was drawn and what was seen meanwhile; `tempered` where replicas exchange.

    `spent` evaluations of the loss went before these draws, of all chains together. Draws are `cramped` where
    replicas should exchange, but the number of draws asked for is too small to see them arrive. A deeper
    region is `overlooked` where replicas found it and these chains, from w*, do not come there.
    """

    run: Run
    ladder: Ladder
    warm: WarmUp
    trace: Trace
    visits: tuple[Visit, ...]
    spent: int = 0
    tempered: Tempered | None = None
    cramped: bool = False
    overlooked: bool = False

    @property
    def count(self) -> int:
        """The number of draws of each chain."""
        return self.trace.draws.distance.shape[1]

    @property
    def arrivals(self) -> int | None:
        """How often a replica came from the prior to the posterior, None without exchange."""
        return int(np.sum(self.trace.state.arrivals)) if self.tempered else None

    @property
    def evaluations(self) -> int:
        """How often the loss was evaluated, by all chains together."""
        cost = self.tempered.cost if self.tempered else len(self.ladder.rungs)
        return round(self.spent + self.count * self.ladder.num_chains * cost)


def drawer(
    run: Run,
    settings: Settings,
    bar: Progress,
    until: float | None,
    *,
    observe: Callable[[jax.Array], None] | None = None,
    tempered: Tempered | None = None,
) -> Callable[[Any, int, int, list[Visit]], Trace]:
    """Return what makes draws, (state, first step, count, visits) -> trace, and appends to visits."""

    def draw(state: Any, first: int, count: int, visits: list[Visit]) -> Trace:
        def visit(positions: jax.Array) -> None:
            if len(visits) < MOST_VISITS:
                visits.append(look(run, _scheduled(run, settings, first, count), positions, len(visits)))

        options: dict[str, Any] = {"first": first, "count": count, "on_chunk": bar.advance}
        options |= {"visit": visit, "until": until, "observe": observe}
        if tempered:
            return tempered.sample(state, **options)
        return sample(run, state, settings, **options)

    return draw


def _scheduled(run: Run, settings: Settings, first: int, count: int) -> Settings:
    """Return settings with the step size that the steps from `first` on have in the mean."""
    factor = _mean_factor(run.kernel, first, count)
    return settings._replace(tuning=settings.tuning._replace(step_size=factor * settings.tuning.step_size))


def _mean_factor(kernel: Kernel, first: int, count: int) -> float:
    """Return what a schedule multiplies ε with, in the mean of `count` steps from the `first`-th on."""
    if kernel.schedule is None or not count:
        return 1.0
    return float(np.mean(jax.vmap(kernel.schedule)(jnp.arange(first - 1, first - 1 + count))))


def of_rung(drawn: Drawn, values: Any, rung: int) -> np.ndarray:
    """Return the chains `(chain, …)` of one rung."""
    return drawn.ladder.split(values)[rung]


def assess_rung(drawn: Drawn, rung: int) -> Assessment:
    """Return the assessment of one rung's draws; those that are cramped are not ok."""
    posterior = drawn.run.posterior
    factor = _mean_factor(drawn.run.kernel, 1 + drawn.warm.steps, drawn.count)
    assessment = assess(
        posterior,
        float(drawn.ladder.rungs[rung]),
        Draws(*(of_rung(drawn, values, rung) for values in drawn.trace.draws)),
        [Visit(*(of_rung(drawn, values, rung) for values in visit)) for visit in drawn.visits],
        reach=factor * float(drawn.warm.reach[rung]),
        loss=0.0 if posterior.target.relative else float(drawn.run.anchor.loss),
        eps=drawn.run.eps,
        heated=drawn.run.kernel.heated,
        corrected=drawn.run.kernel.exact,
        partial_anchor=posterior.target.linear and drawn.run.anchor.doubt is not None,
        arrivals=drawn.arrivals,
        complete=drawn.trace.complete,
        finite=drawn.warm.finite and finite(drawn.trace),
    )
    if drawn.cramped and assessment.status is Status.ok:
        return replace(assessment, status=Status.few_draws)
    return assessment
