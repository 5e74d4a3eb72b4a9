"""From a posterior to estimates: warm up, draw until the error is small enough, assess each rung."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.cost import is_costly
from lltc.chains.gradients import measure_anchor
from lltc.chains.looks import MOST_VISITS, Visit, look
from lltc.chains.loop import OBSERVE_EVERY, Draws, Run, Trace, sample
from lltc.chains.plan import within_memory
from lltc.chains.rungs import Ladder
from lltc.chains.streams import RandomStream, as_key, as_seed
from lltc.chains.warmup import WarmUp, finite, warm_up
from lltc.diagnostics.assessment import Assessment, assess
from lltc.diagnostics.status import Status
from lltc.errors import InputError
from lltc.estimates.inspection import inspect
from lltc.estimates.options import Effort, Observable, read_effort
from lltc.estimates.progress import Progress
from lltc.estimates.record import LLCEstimate
from lltc.kernels import Kernel, baoab, ghmc, measuring
from lltc.posterior.sharding import check_divides
from lltc.posterior.target import LocalPosterior

FIRST_DRAWS, MOST_DRAWS, MOST_CHEAP_DRAWS = 1000, 16_000, 64_000
TYPICAL_WARMUP, FEW_DRAWS = 1000, 128
MARGIN, LEAST_GROWTH, MOST_GROWTH = 1.2, 1.25, 2.0
MOST_EXACT = 512
EXPLORED = 0.9
LEAST_READINGS = 8


@dataclass(frozen=True)
class Drawn:
    """A run, its warm-up, what was drawn and what was seen meanwhile."""

    run: Run
    ladder: Ladder
    warm: WarmUp
    trace: Trace
    visits: tuple[Visit, ...]


def draw_estimates(
    posterior: LocalPosterior,
    rungs: np.ndarray,
    options: Mapping[str, Any],
    *,
    observe: Callable[[jax.Array], None] | None = None,
) -> tuple[LLCEstimate, ...]:
    """Return one estimate at each nβ of `rungs`, all from one run; `options` are complete.

    `observe(positions)` sees the chains `(rung·chain, d)` at every 16th draw.
    """
    began = time.perf_counter()
    effort = read_effort(options)
    check_divides(posterior.target.placement, "chain", "num_chains", effort.num_chains)
    draw = lambda plan: _draw_estimates(plan, rungs, effort, options, began, observe)
    # What an observer has read of a run that broke off cannot be taken back.
    retries = 1 if observe is None else 0
    return within_memory(posterior, effort.num_chains * len(rungs), effort.memory, draw, retries=retries)


def _draw_estimates(
    posterior: LocalPosterior,
    rungs: np.ndarray,
    effort: Effort,
    options: Mapping[str, Any],
    began: float,
    observe: Callable[[jax.Array], None] | None,
) -> tuple[LLCEstimate, ...]:
    kernel = choose_kernel(posterior, effort.kernel, effort.step_size)
    if effort.preconditioner is not None:
        kernel = measuring(kernel, effort.preconditioner)
    run = prepare_run(
        posterior,
        options["key"],
        options["observables"],
        kernel=kernel,
        anchor_examples=effort.anchor_examples,
    )
    costly = is_costly(posterior, effort.num_chains * len(rungs))
    wrong = inspect(run, thorough=not costly)
    first_draws = FEW_DRAWS if costly else FIRST_DRAWS
    if wrong and effort.num_draws is None:
        effort = effort._replace(num_draws=first_draws)
    num_warmup = effort.num_warmup or (None if costly else TYPICAL_WARMUP)
    ladder = Ladder(rungs, effort.num_chains)
    expected = (num_warmup or FEW_DRAWS) + (effort.num_draws or first_draws)
    with Progress(expected, show=options["progress"]) as bar:
        warm = warm_up(
            run,
            ladder,
            num_warmup=num_warmup,
            step_size=effort.step_size,
            on_chunk=bar.advance,
        )
        until = np.inf if costly else None
        until = began + effort.time if effort.time is not None else until
        drawn = _draw(run, ladder, warm, effort, first_draws, bar, observe, until)
    seconds = time.perf_counter() - began
    estimates = [_conclude(drawn, rung, seconds) for rung in range(len(rungs))]
    return tuple(_flagged(estimate, wrong) for estimate in estimates)


def _flagged(estimate: LLCEstimate, wrong: Status | None) -> LLCEstimate:
    """Return the estimate with what is wrong with its loss for a status, where it has a number at all."""
    if wrong is None or estimate.status in (Status.diverged, Status.interrupted):
        return estimate
    return replace(estimate, status=wrong)


def check_readings(num_draws: int | None) -> None:
    """Refuse too few draws for an observer, which reads every 16th."""
    least = LEAST_READINGS * OBSERVE_EVERY
    if isinstance(num_draws, int) and num_draws < least:
        raise InputError(
            f"num_draws must be at least {least}, as only every {OBSERVE_EVERY}th draw is read, but "
            f"{num_draws} was given; raise it."
        )


def choose_kernel(posterior: LocalPosterior, kernel: Kernel | None, step_size: float | None) -> Kernel:
    """Return the kernel asked for, or the best that the posterior allows; refuse what cannot be right."""
    if kernel is None:
        return ghmc() if is_small(posterior) and step_size is None else baoab()
    if not isinstance(kernel, Kernel):
        raise InputError(
            f"kernel must be one of lltc.kernels, such as lltc.kernels.baoab(), but {kernel!r} was given; "
            "call the factory, or pass None."
        )
    if kernel.exact and not posterior.full_batch:
        raise InputError(
            f"kernel {kernel.name} accepts or refuses moves by the energy over all data, but batch_size is "
            f"{posterior.batch_size} of {posterior.data.size}; pass batch_size={posterior.data.size} or a "
            "kernel without corrections."
        )
    if not kernel.tunable and step_size is None:
        raise InputError(
            f"kernel {kernel.name} scales its steps itself, so that no step size can be measured for it; "
            "pass step_size."
        )
    return kernel


def is_small(posterior: LocalPosterior) -> bool:
    """True where steps are cheap: each sees all the data, and few parameters move."""
    return posterior.full_batch and posterior.num_params <= MOST_EXACT


def prepare_run(
    posterior: LocalPosterior,
    key: jax.Array | int,
    observables: Mapping[str, Observable] | None,
    *,
    kernel: Kernel,
    anchor_examples: int | None = None,
) -> Run:
    """Measure the anchor and refuse a loss that is not finite there."""
    key = as_key(key)
    seed = 0 if anchor_examples is None else as_seed(key, RandomStream.anchor)
    anchor = measure_anchor(posterior, examples=anchor_examples, seed=seed)
    if not np.isfinite(float(anchor.loss)) or not bool(jnp.isfinite(anchor.gradient).all()):
        raise InputError(
            f"model has loss {float(anchor.loss):g} at params averaged over data and gradient norm "
            f"{float(jnp.linalg.norm(anchor.gradient)):g} there, but both must be finite at the checkpoint; "
            "check the data for NaN and the loss for logarithms or divisions that overflow."
        )
    return Run(posterior, anchor, kernel, key, tuple((observables or {}).items()))


def _draw(
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

    The budget is a number of draws, and the moment `until` where there is one.
    """
    visits: list[Visit] = []

    def visit(positions: jax.Array) -> None:
        if len(visits) < MOST_VISITS:
            visits.append(look(run, warm.settings, positions, len(visits)))

    def draw(state: Any, first: int, count: int) -> Trace:
        return sample(
            run,
            state,
            warm.settings,
            first=first,
            count=count,
            on_chunk=bar.advance,
            visit=visit,
            observe=observe,
            until=until,
        )

    began = time.perf_counter()
    count = (effort.num_draws or first_draws) if warm.complete and warm.finite else 0
    trace = draw(warm.state, 1 + warm.steps, count)
    drawn = Drawn(run, ladder, warm, trace, tuple(visits))
    growing = effort.num_draws is None and count > 0
    cheap = is_small(run.posterior)
    # Chains that have missed a far arm look precise; where steps are cheap, two looks in a row must agree.
    met, wanted, most = (0, 2, MOST_CHEAP_DRAWS) if cheap else (0, 1, MOST_DRAWS)
    while growing and trace.complete and finite(trace) and count < most and not _is_late(until):
        assessments = [_assess(drawn, rung) for rung in range(len(ladder.rungs))]
        growth = max(_growth(rung, effort.target_rel_se) for rung in assessments)
        met = met + 1 if growth == 1 else 0
        if met == wanted:
            break
        more = min(count if cheap else round(count * (growth - 1)), most - count)
        bar.extend(more)
        bar.tell(_outlook(assessments, effort.target_rel_se, (time.perf_counter() - began) * more / count))
        trace = _extend(trace, draw(trace.state, 1 + warm.steps + count, more))
        drawn, count = Drawn(run, ladder, warm, trace, tuple(visits)), trace.draws.distance.shape[1]
    return drawn


def _is_late(until: float | None) -> bool:
    return until is not None and time.perf_counter() > until


def _outlook(assessments: Sequence[Assessment], target_rel_se: float, seconds: float) -> str:
    """Return how far the error is, and how long the next draws take."""
    error = max(assessment.llc_se / abs(assessment.llc or 1) for assessment in assessments)
    return f"error {error:.1%}, wanted {target_rel_se:.1%}; next look in {seconds:.0f} s"


def _growth(assessment: Assessment, target_rel_se: float) -> float:
    """Return by what to multiply the draws: 1 where they are enough, 2 where more than the error is amiss."""
    if assessment.status is Status.negative:
        return 1.0
    if assessment.status is not Status.ok or assessment.virial_share < EXPLORED:
        return MOST_GROWTH
    allowed = target_rel_se * abs(assessment.llc)
    if assessment.llc_se <= allowed:
        return 1.0
    shrinking = (
        assessment.budget.monte_carlo**2 + assessment.budget.equilibration**2 + assessment.budget.spread**2
    )
    room = allowed**2 - (assessment.llc_se**2 - shrinking)
    return float(np.clip(MARGIN * shrinking / room, LEAST_GROWTH, MOST_GROWTH)) if room > 0 else MOST_GROWTH


def _rung(drawn: Drawn, values: Any, rung: int) -> np.ndarray:
    """Return the chains `(chain, …)` of one rung."""
    return drawn.ladder.split(values)[rung]


def _assess(drawn: Drawn, rung: int) -> Assessment:
    posterior = drawn.run.posterior
    return assess(
        posterior,
        float(drawn.ladder.rungs[rung]),
        Draws(*(_rung(drawn, values, rung) for values in drawn.trace.draws)),
        [Visit(*(_rung(drawn, values, rung) for values in visit)) for visit in drawn.visits],
        reach=float(drawn.warm.reach[rung]),
        loss=0.0 if posterior.target.relative else float(drawn.run.anchor.loss),
        corrected=drawn.run.kernel.exact,
        partial_anchor=posterior.target.linear and drawn.run.anchor.doubt is not None,
        complete=drawn.trace.complete,
        finite=drawn.warm.finite and finite(drawn.trace),
    )


def _extend(trace: Trace, more: Trace) -> Trace:
    draws = Draws(*(np.concatenate(pair, axis=1) for pair in zip(trace.draws, more.draws, strict=True)))
    observables = {
        name: np.concatenate([values, more.observables[name]], axis=1) if name in more.observables else values
        for name, values in trace.observables.items()
    }
    return Trace(draws, observables, more.state, more.complete)


def _conclude(drawn: Drawn, rung: int, seconds: float) -> LLCEstimate:
    posterior, tuning = drawn.run.posterior, drawn.warm.settings.tuning
    draws = drawn.trace.draws
    return LLCEstimate(
        **vars(_assess(drawn, rung)),
        nbeta=float(drawn.ladder.rungs[rung]),
        localization=posterior.localization,
        init_loss=float(drawn.run.anchor.loss),
        kernel=drawn.run.kernel.name,
        step_size=float(_rung(drawn, tuning.step_size, rung)[0, 0]),
        memory=float(_rung(drawn, tuning.memory, rung)[0, 0]),
        num_params=posterior.num_params,
        num_warmup=drawn.warm.steps,
        batch_size=posterior.batch_size,
        nonfinite_share=drawn.warm.broken,
        seconds=seconds,
        energy=_rung(drawn, draws.energy, rung),
        distance=_rung(drawn, draws.distance, rung),
        virial=_rung(drawn, draws.virial, rung),
        observables={name: _rung(drawn, values, rung) for name, values in drawn.trace.observables.items()},
    )
