"""Euler–Maruyama Langevin dynamics: plain SGLD when the gradient is a minibatch's."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lltc.kernels.noise import normal
from lltc.kernels.protocol import Info, Kernel, Potential, Tuning


class EulerState(NamedTuple):
    """Where the chains are, `(chain, d)`."""

    position: jax.Array


@cache
def euler() -> Kernel:
    """Return Euler SGLD: w ← w - (ε/2)∇U(w) + √ε ξ.

    On a quadratic mode of curvature q its stationary variance is 1/(q(1 - εq/4)), stable for εq < 4.
    Source: Welling & Teh (2011), section 3.

    Example:
        >>> kernel = euler()
        >>> kernel.init(jax.random.key(0), jnp.zeros((4, 2)), lambda w: (w.sum(-1), w, None)).position.shape
        (4, 2)
    """

    def init(key: jax.Array, position: jax.Array, potential: Potential) -> EulerState:
        del key, potential
        return EulerState(position)

    def step(
        key: jax.Array, state: EulerState, potential: Potential, tuning: Tuning
    ) -> tuple[EulerState, Info]:
        _, gradient, aux = potential(state.position)
        step_size = tuning.step_size * tuning.scale**2
        noise = normal(key, state.position.shape, state.position.dtype)
        moved = state.position - 0.5 * step_size * gradient + jnp.sqrt(step_size) * noise
        return EulerState(moved), Info(state.position, aux, jnp.ones(len(state.position), bool))

    return Kernel(init, step, "euler")
