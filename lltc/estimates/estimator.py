"""From a posterior to estimates: warm up, draw until the error is small enough, assess each rung."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from lltc.chains.cost import is_costly
from lltc.chains.gradients import measure_anchor
from lltc.chains.loop import Run, Trace
from lltc.chains.plan import within_memory
from lltc.chains.rungs import Ladder
from lltc.chains.steps import OBSERVE_EVERY
from lltc.chains.streams import RandomStream, as_key, as_seed
from lltc.chains.warmup import WarmUp, warm_up
from lltc.diagnostics.status import Status
from lltc.errors import InputError
from lltc.estimates.drawing import MOST_DRAWS, draw_until_enough
from lltc.estimates.drawn import Drawn, assess_rung, of_rung
from lltc.estimates.effort import Effort, read_effort
from lltc.estimates.exchange import is_sampler_chosen, is_small
from lltc.estimates.options import Observable
from lltc.estimates.outlook import Course, tell
from lltc.estimates.progress import Progress
from lltc.estimates.record import LLCEstimate
from lltc.inspection.findings import Finding, describe, heed, noted
from lltc.inspection.look import inspect
from lltc.inspection.rows import explain_not_finite
from lltc.kernels import Kernel, baoab, ghmc, measuring
from lltc.posterior.checks import hashable
from lltc.posterior.sharding import check_divides
from lltc.posterior.target import LocalPosterior

TYPICAL_WARMUP, FIRST_DRAWS, FEW_DRAWS = 1000, 1000, 128
LEAST_READINGS = 8
OVERLOOKED = Finding(
    "deeper region",
    "status",
    "Beyond a barrier, but within reach of the localization, the loss is lower than at the checkpoint: "
    "replicas found it, and chains that start at the checkpoint do not come there. The estimate is that of "
    "the checkpoint's own region, without replicas; raise the localization to leave the other one out.",
    Status.unexplored,
)
PLAIN = Finding(
    "narrow valley",
    "status",
    "Few temperatures lead from the prior to this valley, whose far arms replicas would find. This reading "
    "is of plain chains, which may miss them: compare its llc with that of estimate_llc.",
    Status.unexplored,
)


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
    run = arrange_run(posterior, effort, options)
    costly = is_costly(posterior, effort.num_chains * len(rungs))
    findings = inspect(run, thorough=not costly)
    # The slope of a ladder is that of E[L_n] in 1/nβ, which the loss at w* does not enter.
    findings = noted(findings, "slope") if len(rungs) > 1 else findings
    wrong = heed(findings)
    first_draws = FEW_DRAWS if costly else FIRST_DRAWS
    if wrong:
        # Draws from a wrong loss are no better for being many, or for exchange.
        effort = effort._replace(num_draws=effort.num_draws or first_draws, kernel=run.kernel)
    num_warmup = count_warmup(effort, costly=costly)
    ladder = Ladder(rungs, effort.num_chains)
    num_steps = num_warmup or FEW_DRAWS
    until = np.inf if costly else None
    until = began + effort.time if effort.time is not None else until
    with Progress(num_steps + (effort.num_draws or first_draws), show=options["progress"]) as bar:

        def tell_round(warm: WarmUp, trace: Trace) -> None:
            drawn = Drawn(run, ladder, warm, trace, ())
            assessments = [assess_rung(drawn, rung) for rung in range(len(rungs))]
            least, most = effort.num_draws or first_draws, effort.num_draws or MOST_DRAWS
            course = Course(max(num_steps - warm.steps, 0), 0, least, most)
            tell(bar, effort, assessments, drawn.count, course, until)

        # Where steps are cheap the first draws decide how others are made, or that replicas make all anew.
        known = effort.num_draws is not None and is_sampler_chosen(effort)
        early = bar.shown and (known or not is_small(posterior))
        warm = warm_up(
            run,
            ladder,
            num_warmup=num_warmup,
            step_size=effort.step_size,
            on_chunk=bar.advance,
            on_round=tell_round if early else None,
        )
        drawn = draw_until_enough(run, ladder, warm, effort, first_draws, bar, observe, until)
    if drawn.overlooked:
        wrong = wrong or OVERLOOKED.status
        findings = (*findings, OVERLOOKED)
    seconds = time.perf_counter() - began
    estimates = [conclude(drawn, rung, seconds, findings) for rung in range(len(rungs))]
    return tuple(flagged(estimate, wrong) for estimate in estimates)


def arrange_run(posterior: LocalPosterior, effort: Effort, options: Mapping[str, Any]) -> Run:
    """Return the run that complete `options` ask for, its kernel chosen and its anchor measured."""
    kernel = choose_kernel(posterior, effort.kernel, effort.step_size)
    if effort.preconditioner is not None:
        kernel = measuring(kernel, effort.preconditioner)
    return prepare_run(
        posterior,
        options["key"],
        options["observables"],
        kernel=kernel,
        anchor_examples=effort.anchor_examples,
    )


def count_warmup(effort: Effort, *, costly: bool) -> int | None:
    """Return the steps of warm-up, None where they are as many as a costly run needs."""
    return effort.num_warmup or (None if costly else TYPICAL_WARMUP)


def flagged(estimate: LLCEstimate, wrong: Status | None) -> LLCEstimate:
    """Return the estimate with what is wrong with its loss for a status, where it has a number at all."""
    if wrong is None or estimate.status in (Status.diverged, Status.interrupted):
        return estimate
    return replace(estimate, status=wrong)


def check_readings(num_draws: int | None) -> None:
    """Refuse too few draws for an observer, which reads every 16th."""
    least = LEAST_READINGS * OBSERVE_EVERY
    if isinstance(num_draws, int | np.integer) and num_draws < least:
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
    if kernel.exchanging:
        raise InputError(
            f"kernel={kernel.name!r} was given, but replicas need temperatures that are measured for them; "
            "pass the kernel alone, or None, and they exchange where that is needed."
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
    if sentence := explain_not_finite(posterior, anchor):
        raise InputError(sentence)
    named = tuple((name, hashable(observable)) for name, observable in (observables or {}).items())
    return Run(posterior, anchor, kernel, key, named)


def conclude(drawn: Drawn, rung: int, seconds: float, findings: Sequence[Finding]) -> LLCEstimate:
    """Return the estimate that the draws of one rung give."""
    posterior, tuning = drawn.run.posterior, drawn.warm.settings.tuning
    draws = drawn.trace.draws
    return LLCEstimate(
        **vars(assess_rung(drawn, rung)),
        nbeta=float(drawn.ladder.rungs[rung]),
        localization=posterior.localization,
        init_loss=float(drawn.run.anchor.loss),
        kernel=(drawn.tempered or drawn).run.kernel.name,
        step_size=float(of_rung(drawn, tuning.step_size, rung)[0, 0]),
        memory=float(of_rung(drawn, tuning.memory, rung)[0, 0]),
        num_params=posterior.num_params,
        num_examples=posterior.data.count,
        example=posterior.data.example,
        findings=describe(findings),
        num_warmup=drawn.warm.steps,
        evaluations=drawn.evaluations,
        num_rungs=len(drawn.tempered.ladder.rungs) if drawn.tempered else 1,
        arrivals=drawn.arrivals or 0,
        batch_size=posterior.batch_size,
        nonfinite_share=drawn.warm.broken,
        seconds=seconds,
        energy=of_rung(drawn, draws.energy, rung),
        distance=of_rung(drawn, draws.distance, rung),
        virial=of_rung(drawn, draws.virial, rung),
        observables={name: of_rung(drawn, values, rung) for name, values in drawn.trace.observables.items()},
    )
