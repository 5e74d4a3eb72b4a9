"""The local learning coefficient of one checkpoint."""

from typing import Unpack

import numpy as np

from lltc.compilation import broadcasting
from lltc.estimates.estimator import draw_estimates
from lltc.estimates.options import Options, arrange, complete
from lltc.estimates.record import LLCEstimate
from lltc.posterior.data import Data
from lltc.posterior.target import LocalPosterior
from lltc.types import LossFn, PyTree


@broadcasting
def estimate_llc(
    model: LossFn | LocalPosterior,
    params: PyTree = None,
    data: PyTree | Data = None,
    **options: Unpack[Options],
) -> LLCEstimate:
    """Estimate the local learning coefficient λ̂ = nβ(E[L_n(w)] - L_n(w*)) at the checkpoint `params`.

    The expectation is over p(w) ∝ exp(-nβ L_n(w) - (γ/2)‖w - w*‖²), sampled by tempered, localized Langevin
    chains whose minibatch gradients and energies are anchored at w*; half the chains start cold at w*, half
    hot at nβ/4, and the step size is measured.

    Args:
        model: pure `(params, batch) -> losses` of shape `(batch,)` in nats (a mean `()` is accepted), or
            `lltc.behavioral(…)`; or an `lltc.local_posterior(…)` in place of model, params and data.
        params: the checkpoint w*, any pytree; its floating-point leaves move.
        data: pytree of arrays with a common leading axis, or a source with `__len__` and batched
            `__getitem__`.
        options: key, nbeta, localization, num_chains, num_draws and more, all with defaults: `lltc.Options`.

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
    settings = complete("estimate_llc", options)
    posterior = arrange("estimate_llc", model, params, data, settings)
    return draw_estimates(posterior, np.array([posterior.nbeta]), settings)[0]
