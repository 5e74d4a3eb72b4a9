"""The local learning coefficient of one checkpoint."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from lltc.arguments import check_counts, check_step_size
from lltc.assessment import Assessment, assess
from lltc.components import Restriction
from lltc.data import Data
from lltc.diagnostics import Status
from lltc.errors import InputError
from lltc.estimate import LLCEstimate
from lltc.gradients import measure_anchor
from lltc.kernels import baoab, ghmc
from lltc.posterior import LocalPosterior, Model, local_posterior
from lltc.progress import Progress
from lltc.sampling import Draws, Run, Trace, sample
from lltc.warmup import WarmUp, finite, warm_up

PyTree = Any
Observable = Callable[[PyTree], jax.Array]
TARGET_REL_SE = 0.02
FIRST_DRAWS, MOST_DRAWS = 1000, 16_000
MOST_EXACT = 512


def estimate_llc(
    model: Model,
    params: PyTree,
    data: PyTree | Data,
    *,
    key: jax.Array | int = 0,
    nbeta: float | None = None,
    localization: float | None = None,
    num_chains: int = 8,
    num_draws: int | None = None,
    num_warmup: int = 1000,
    batch_size: int | None = None,
    step_size: float | None = None,
    target_rel_se: float = TARGET_REL_SE,
    restrict: Restriction | None = None,
    linear: bool = True,
    observables: Mapping[str, Observable] | None = None,
    progress: bool = True,
) -> LLCEstimate:
    """Estimate the local learning coefficient λ̂ = nβ(E[L_n(w)] - L_n(w*)) at the checkpoint `params`.

    The expectation is over p(w) ∝ exp(-nβ L_n(w) - (γ/2)‖w - w*‖²), sampled by tempered, localized Langevin
    chains whose minibatch gradients and energies are anchored at w*; half the chains start cold at w*, half
    hot at nβ/4, and the step size is measured.

    Args:
        model: pure `(params, batch) -> losses` of shape `(batch,)` in nats (a mean `()` is accepted), or
            `lltc.behavioral(…)`.
        params: the checkpoint w*, any pytree; its floating-point leaves move.
        data: pytree of arrays with a common leading axis, or a source with `__len__` and batched
            `__getitem__`.
        key: JAX key or int; the same key gives the same numbers.
        nbeta: nβ; default n/ln n with n the number of examples in `data` (not in a batch).
        localization: γ; default d/(½‖w*‖)², or 1 where w* = 0.
        num_chains: chains run side by side; default 8.
        num_draws: draws of each chain; by default 1000, doubled until `llc_se` ≤ `target_rel_se`·λ̂ or 16,000
            are made.
        num_warmup: steps before drawing; default 1000.
        batch_size: examples a step; default 512, or all of up to 1024.
        step_size: ε of uncorrected, memoryless moves w ← w - (ε/2)∇U + √ε·noise; measured when None.
        target_rel_se: wanted `llc_se`/λ̂ when `num_draws` is None; default .02.
        restrict: which parameters move: a glob or globs over paths, a function `(path, leaf) -> mask`, or a
            pytree of masks.
        linear: False samples L(w) - ∇L(w*)·(w - w*) instead of L, for checkpoints that are not minima: their
            slope no longer pulls the chains downhill, though negative curvature still may.
        observables: functions of params recorded every 16th draw.
        progress: show a progress bar.

    Returns:
        An `LLCEstimate`; chains that diverge give NaN and a status that says why. Ctrl-C keeps the draws
        made.

    Raises:
        InputError: for an argument that cannot be worked with, in one sentence.

    Source:
        Lau, Furman, Wang, Murfet & Wei (2023, arXiv:2308.12108), section 4.

    Example:
        >>> import jax.numpy as jnp
        >>> loss = lambda w, x: 0.5 * jnp.sum(w**2) * jnp.ones(len(x))
        >>> settings = {"nbeta": 100, "localization": 1.0, "progress": False}
        >>> estimate = estimate_llc(loss, jnp.zeros(4), jnp.zeros(100), **settings)
        >>> bool(abs(estimate.llc - 2 * 100 / 101) < 4 * estimate.llc_se)
        True
    """
    began = time.perf_counter()
    check_counts(
        num_chains=num_chains, num_draws=num_draws, num_warmup=num_warmup, target_rel_se=target_rel_se
    )
    posterior = local_posterior(
        model,
        params,
        data,
        nbeta=nbeta,
        localization=localization,
        batch_size=batch_size,
        restrict=restrict,
        linear=linear,
    )
    step_size = check_step_size(step_size)
    run = prepare_run(posterior, key, observables, exact=may_correct(posterior) and step_size is None)
    with Progress(num_warmup + (num_draws or FIRST_DRAWS), show=progress) as bar:
        warm = warm_up(
            run, num_chains=num_chains, num_warmup=num_warmup, step_size=step_size, on_chunk=bar.advance
        )
        trace = _draw(run, warm, num_draws, target_rel_se, bar)
    return _conclude(run, warm, trace, num_warmup, time.perf_counter() - began)


def prepare_run(
    posterior: LocalPosterior,
    key: jax.Array | int,
    observables: Mapping[str, Observable] | None,
    *,
    exact: bool = False,
) -> Run:
    """Measure the anchor, refuse a loss that is not finite; `exact` moves are accepted or refused."""
    anchor = measure_anchor(posterior)
    if not np.isfinite(float(anchor.loss)) or not np.isfinite(np.asarray(anchor.gradient)).all():
        raise InputError(
            f"model has loss {float(anchor.loss):g} at params averaged over data and gradient norm "
            f"{float(np.linalg.norm(anchor.gradient)):g} there, but both must be finite at the checkpoint; "
            "check the data for NaN "
            "and the loss for logarithms or divisions that overflow."
        )
    key = jax.random.key(key) if isinstance(key, int | np.integer) else key
    kernel = ghmc() if exact else baoab()
    return Run(posterior, anchor, kernel, key, tuple((observables or {}).items()))


def may_correct(posterior: LocalPosterior) -> bool:
    """True where Metropolis corrections are cheap: every step sees all the data and few parameters move."""
    return posterior.full_batch and posterior.num_params <= MOST_EXACT


def _draw(run: Run, warm: WarmUp, num_draws: int | None, target_rel_se: float, bar: Progress) -> Trace:
    """Draw `num_draws`, or double from a thousand until the error is small enough or drawing no help."""
    if not (warm.complete and warm.finite):
        return sample(run, warm.state, warm.settings, first=0, count=0)
    count = num_draws or FIRST_DRAWS
    trace = sample(run, warm.state, warm.settings, first=1 + warm.steps, count=count, on_chunk=bar.advance)
    while num_draws is None and trace.complete and finite(trace) and count < MOST_DRAWS:
        found = _assess(run, warm, trace)
        if found.llc_se <= target_rel_se * abs(found.llc) or found.status is Status.negative:
            break
        bar.extend(count)
        first = 1 + warm.steps + count
        more = sample(run, trace.state, warm.settings, first=first, count=count, on_chunk=bar.advance)
        trace, count = _extend(trace, more), 2 * count
    return trace


def _assess(run: Run, warm: WarmUp, trace: Trace) -> Assessment:
    is_finite = warm.finite and finite(trace)
    return assess(run.posterior, trace.draws, heat=warm.heat, complete=trace.complete, finite=is_finite)


def _extend(trace: Trace, more: Trace) -> Trace:
    draws = Draws(*(np.concatenate(pair, axis=1) for pair in zip(trace.draws, more.draws, strict=True)))
    seen = {
        name: np.concatenate([values, more.observables[name]], axis=1) if name in more.observables else values
        for name, values in trace.observables.items()
    }
    return Trace(draws, seen, more.state, more.complete)


def _conclude(run: Run, warm: WarmUp, trace: Trace, num_warmup: int, seconds: float) -> LLCEstimate:
    posterior, tuning = run.posterior, warm.settings.tuning
    return LLCEstimate(
        **_assess(run, warm, trace)._asdict(),
        nbeta=posterior.nbeta,
        localization=posterior.localization,
        init_loss=float(run.anchor.loss),
        kernel="ghmc" if run.exact else "baoab",
        step_size=float(tuning.step_size),
        memory=float(tuning.memory),
        num_params=posterior.num_params,
        num_warmup=num_warmup,
        batch_size=posterior.batch_size,
        seconds=seconds,
        energy=np.asarray(trace.draws.energy),
        distance=np.asarray(trace.draws.distance),
        virial=np.asarray(trace.draws.virial),
        observables=trace.observables,
    )
