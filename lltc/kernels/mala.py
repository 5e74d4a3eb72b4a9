"""The Metropolis-adjusted Langevin algorithm: plain Langevin moves, accepted or refused."""

from functools import cache

import jax
import jax.numpy as jnp

from lltc.kernels.ghmc import GhmcState, ghmc
from lltc.kernels.protocol import Info, Kernel, Potential, Tuning


@cache
def mala() -> Kernel:
    """Return MALA, which is `ghmc` without memory: w' = w - (ε/2)∇U + √ε ξ, accepted or refused.

    Exact at every step size, on the whole data only: a minibatch's energy would spoil the acceptance.
    Source: Roberts & Tweedie (1996), section 1.4.

    Example:
        >>> kernel = mala()
        >>> kernel.init(jax.random.key(0), jnp.zeros((4, 2)), lambda w: (w.sum(-1), w, ())).energy.shape
        (4,)
    """

    def step(
        key: jax.Array, state: GhmcState, potential: Potential, tuning: Tuning
    ) -> tuple[GhmcState, Info]:
        return ghmc().step(key, state, potential, tuning._replace(memory=jnp.zeros_like(tuning.memory)))

    return Kernel(ghmc().init, step, "mala", acceptance=0.6)
