"""A reference value by the No-U-Turn sampler: slow, tuned by nobody, and on all the data."""

import time
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.curvature import initial_scale, make_prober
from lltc.chains.gradients import full_slope
from lltc.chains.loop import Run
from lltc.chains.rungs import is_hot
from lltc.chains.steps import Draws
from lltc.compilation import broadcasting
from lltc.diagnostics.assessment import assess
from lltc.diagnostics.status import Status
from lltc.errors import InputError
from lltc.estimates.effort import Effort, read_effort
from lltc.estimates.estimator import prepare_run
from lltc.estimates.options import DEFAULTS, Options, arrange, complete
from lltc.estimates.record import LLCEstimate
from lltc.inspection.findings import describe, heed
from lltc.inspection.look import inspect
from lltc.kernels import ghmc
from lltc.posterior.data import Data
from lltc.posterior.layout import unflatten
from lltc.posterior.target import LocalPosterior
from lltc.types import LossFn, PyTree

COLD, HOT = 0.1, 2.0
ACCEPTANCE = 0.99
MOST_DIVERGING = 0.01
OWN: dict[str, Any] = {"num_chains": 4, "num_draws": 2000, "num_warmup": 1000, "progress": False}
CHOSEN = (
    *("batch_size", "step_size", "target_rel_se", "kernel", "preconditioner"),
    *("anchor_examples", "chain_batch", "micro_batch", "memory", "time", "mesh"),
)


@broadcasting
def reference_llc(
    model: LossFn | LocalPosterior,
    params: PyTree = None,
    data: PyTree | Data = None,
    **options: Unpack[Options],
) -> LLCEstimate:
    """Return λ̂ of the posterior that `estimate_llc` samples, by NumPyro's NUTS on all the data.

    U(w) = nβ (L_n(w) - L_n(w*)) + (γ/2)‖w - w*‖², the loss differenced an example at a time. Moves are
    accepted or refused, so neither step size nor minibatches bias the value: the yardstick for problems of
    up to some hundred parameters. The first half of the chains starts near w*, the second twice as far out
    as the posterior reaches.

    Args:
        model: as for `lltc.estimate_llc`, or an `lltc.local_posterior(…)` in place of model, params and data.
        params: the checkpoint w*.
        data: as for `lltc.estimate_llc`; all of it is held in memory.
        options: as in `lltc.Options`, with other defaults: 4 chains, 2000 draws of up to 1023 gradients each,
            after 1000 that adapt step size and metric, and no progress bar. Observables are recorded at every
            draw. What NUTS chooses by itself cannot be given: batch_size, step_size, target_rel_se, kernel,
            preconditioner, anchor_examples, chain_batch, micro_batch, memory, time,
            mesh.

    Returns:
        An `LLCEstimate` without minibatch heat. `acceptance` is the share of moves that NUTS could follow;
        below 99 % part of the posterior was missed and the status is `not_equilibrated`. `step_size` is the
        mean square of the adapted leapfrog steps.

    Raises:
        InputError: as `estimate_llc`.

    Source:
        Hoffman & Gelman (2014, arXiv:1111.4246); Phan, Pradhan & Jankowiak (2019, arXiv:1912.11554).

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.sum(w**2) * jnp.ones(len(x))
        >>> settings = {"nbeta": 100, "localization": 1.0, "num_draws": 500, "num_warmup": 200}
        >>> estimate = reference_llc(loss, jnp.zeros(4), jnp.zeros(100), **settings)
        >>> bool(abs(estimate.llc - 2 * 100 / 101) < 4 * estimate.llc_se)
        True
    """
    began = time.perf_counter()
    settings = complete("reference_llc", options, **OWN)
    changed = [name for name in CHOSEN if settings[name] is not DEFAULTS[name]]
    if changed:
        raise InputError(
            f"{changed[0]}={settings[changed[0]]!r} was given, but NUTS sees all the data and chooses for "
            "itself; leave it out, or use estimate_llc."
        )
    counts = ("num_draws", "num_warmup")
    settings |= {name: int(OWN[name] if settings[name] is None else settings[name]) for name in counts}
    effort = read_effort(settings)
    posterior = _held(arrange("reference_llc", model, params, data, settings))
    run = prepare_run(posterior, settings["key"], settings["observables"], kernel=ghmc())
    findings = inspect(run)
    wrong = heed(findings)
    positions, followed, step_size = _nuts(run, effort, settings["progress"])
    draws, observables = _record(run, positions, followed)
    assessment = assess(
        posterior,
        posterior.nbeta,
        draws,
        (),
        reach=0.0,
        loss=0.0 if posterior.target.relative else float(run.anchor.loss),
        eps=run.eps,
        corrected=True,
        partial_anchor=False,
        complete=True,
        finite=True,
    )
    missed = assessment.status is Status.ok and assessment.acceptance < 1 - MOST_DIVERGING
    status = wrong or (Status.not_equilibrated if missed else assessment.status)
    told: dict[str, Any] = {**vars(assessment), "status": status}
    return LLCEstimate(
        **told,
        nbeta=posterior.nbeta,
        localization=posterior.localization,
        init_loss=float(run.anchor.loss),
        kernel="nuts",
        step_size=step_size,
        memory=0.0,
        num_params=posterior.num_params,
        num_examples=posterior.data.count,
        example=posterior.data.example,
        findings=describe(findings),
        num_warmup=settings["num_warmup"],
        batch_size=posterior.batch_size,
        nonfinite_share=0.0,
        seconds=time.perf_counter() - began,
        energy=draws.energy,
        distance=draws.distance,
        virial=draws.virial,
        observables=observables,
    )


def _held(posterior: LocalPosterior) -> LocalPosterior:
    """Return the posterior with every example in memory and in each batch."""
    data = posterior.data
    if not data.in_memory:
        data = replace(data, arrays=jax.tree.map(jnp.asarray, data.batch(np.arange(data.size))), rows=None)
    return replace(posterior, data=data, batch_size=data.size)


def _potential(run: Run, position: jax.Array) -> jax.Array:
    """Return U(w) - U(w*) at `position` `(d,)`."""
    posterior, center = run.posterior, run.posterior.center
    losses = posterior.target.losses(center, position, posterior.data.arrays)
    rise = jnp.mean(losses - run.anchor.losses) - position @ _removed(run)
    return posterior.nbeta * rise + 0.5 * posterior.localization * jnp.sum(position**2)


def _removed(run: Run) -> jax.Array:
    """Return the slope taken out of the loss: ∇L_n(w*), or zero."""
    gradient = run.anchor.gradient
    return jnp.zeros_like(gradient) if run.posterior.target.linear else gradient


def _nuts(run: Run, effort: Effort, progress: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Return positions `(chain, draw, d)`, which moves were followed `(chain, draw)`, and the step size."""
    from numpyro.infer import MCMC, NUTS

    num_chains = effort.num_chains
    start_key, run_key = jax.random.split(run.key)
    prober = make_prober(run.posterior, run.anchor, start_key)
    spread = initial_scale(prober, start_key, num_chains=num_chains) * np.where(is_hot(num_chains), HOT, COLD)
    # NumPyro adapts in the default floating-point type, so that positions have it too.
    shape, dtype = (num_chains, run.posterior.num_params), jnp.result_type(float)
    starts = jnp.asarray(spread[:, None], dtype) * jax.random.normal(start_key, shape, dtype)
    kernel = NUTS(potential_fn=partial(_potential, run), target_accept_prob=ACCEPTANCE)
    mcmc = MCMC(
        kernel,
        num_warmup=effort.num_warmup,
        num_samples=effort.num_draws,
        num_chains=num_chains,
        chain_method="vectorized",
        progress_bar=progress,
    )
    mcmc.run(run_key, init_params=starts, extra_fields=("diverging", "adapt_state.step_size"))
    fields = mcmc.get_extra_fields(group_by_chain=True)
    positions: Any = mcmc.get_samples(group_by_chain=True)
    step_size = float(np.mean(np.asarray(fields["adapt_state.step_size"])[:, -1] ** 2))
    return np.asarray(positions, run.posterior.dtype), ~np.asarray(fields["diverging"]), step_size


def _record(run: Run, positions: np.ndarray, followed: np.ndarray) -> tuple[Draws, dict[str, np.ndarray]]:
    """Return what the draws at `positions` `(chain, draw, d)` record, and the observables there."""
    posterior, anchor = run.posterior, run.anchor
    target, center = posterior.target, posterior.center

    def at(points: jax.Array) -> Any:
        slope = full_slope(target, center, anchor, points, posterior.data.arrays)
        params = jax.vmap(partial(unflatten, target.layout, center))(points)
        return slope, {name: jax.vmap(function)(params) for name, function in run.observables}

    evaluated = jax.jit(lambda points: jax.lax.map(at, points))(jnp.asarray(positions.swapaxes(0, 1)))
    slope, observables = jax.tree.map(lambda a: np.asarray(a).swapaxes(0, 1), evaluated)
    removed = positions @ np.asarray(_removed(run))
    draws = Draws(
        energy=slope.energy - removed[..., None],
        distance=np.sum(positions**2, -1),
        virial=np.sum(positions * slope.gradient, -1) - removed,
        tilt=positions @ np.asarray(anchor.gradient),
        slip=np.zeros(followed.shape),
        control=np.zeros(followed.shape),
        accepted=followed,
    )
    return draws, observables
