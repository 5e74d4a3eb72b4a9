"""The local learning coefficient of one checkpoint."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from lltc.estimates.estimator import TARGET_REL_SE, Effort, Observable, draw_estimates
from lltc.estimates.record import LLCEstimate
from lltc.kernels import Kernel
from lltc.posterior.components import Restriction
from lltc.posterior.data import Data
from lltc.posterior.target import local_posterior
from lltc.types import Model, PyTree


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
    kernel: Kernel | None = None,
    preconditioner: Any = None,
    anchor_examples: int | None = None,
    chain_batch: int | None = None,
    mesh: Mesh | None = None,
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
        num_draws: draws of each chain; by default 1000, then more until `llc_se` ≤ `target_rel_se`·λ̂, the
            status is ok and 90 % of the virial is there, or 16,000 are made: as many more as the error is
            expected to need, at most twice as many at a time. Where a step sees all the data and at most 512
            parameters move, draws are doubled, that must hold twice in a row, and up to 64,000 are made.
        num_warmup: steps before drawing; default 1000.
        batch_size: examples a step; default 512, or all of up to 1024.
        step_size: ε of uncorrected, memoryless moves w ← w - (ε/2)∇U + √ε·noise; measured when None.
        target_rel_se: wanted `llc_se`/λ̂ when `num_draws` is None; default .02.
        restrict: which parameters move: a glob or globs over paths, a function `(path, leaf) -> mask`, or a
            pytree of masks.
        linear: False samples L(w) - ∇L(w*)·(w - w*) instead of L, for checkpoints that are not minima: their
            slope no longer pulls the chains downhill, though negative curvature still may.
        kernel: a sampler of `lltc.kernels`; by default `ghmc()` where a step sees all the data and at most
            512 parameters move, else `baoab()`.
        preconditioner: an Optax transformation with a second moment, such as `optax.scale_by_rms(0.99)`; it
            sees the gradients of the warm-up, and the diagonal scale it implies is then frozen.
        anchor_examples: how many examples, drawn at random, give ∇L_n(w*); default all. The error that part
            of the data brings is in the budget.
        chain_batch: chains evaluated at once, to bound memory; default all. The numbers stay the same but for
            rounding.
        mesh: `jax.sharding.Mesh` with axes among chain, data and model, over which chains, the examples of a
            batch and params (each leaf as its own `NamedSharding` there says) are divided, across processes
            too (`jax.distributed`). The numbers stay the same but for rounding.
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
    posterior = local_posterior(
        model,
        params,
        data,
        nbeta=nbeta,
        localization=localization,
        batch_size=batch_size,
        restrict=restrict,
        linear=linear,
        chain_batch=chain_batch,
        mesh=mesh,
    )
    effort = Effort(
        num_chains=num_chains,
        num_draws=num_draws,
        num_warmup=num_warmup,
        step_size=step_size,
        target_rel_se=target_rel_se,
        kernel=kernel,
        preconditioner=preconditioner,
        anchor_examples=anchor_examples,
    )
    rungs = np.array([posterior.nbeta])
    return draw_estimates(posterior, rungs, effort, key=key, observables=observables, progress=progress)[0]
