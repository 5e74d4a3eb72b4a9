"""Leimkuhler–Matthews Langevin dynamics: the Euler step with the noise of two neighbouring steps averaged."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lltc.kernels.noise import normal
from lltc.kernels.protocol import Info, Kernel, Potential, Tuning


class LeimkuhlerMatthewsState(NamedTuple):
    """Where the chains are and the noise they will share with the step before, both `(chain, d)`."""

    position: jax.Array
    noise: jax.Array


@cache
def leimkuhler_matthews() -> Kernel:
    """Return the non-Markovian scheme w ← w - (ε/2)∇U(w) + √ε (ξ_k + ξ_{k+1})/2.

    Same cost as Euler; on a quadratic the stationary variance is exactly 1/q at every stable ε, and second
    order beyond. Source: Leimkuhler & Matthews (2013, arXiv:1203.5428), the high-friction limit of BAOAB.

    Example:
        >>> kernel = leimkuhler_matthews()
        >>> kernel.init(jax.random.key(0), jnp.zeros((4, 2)), lambda w: (w.sum(-1), w, None)).noise.shape
        (4, 2)
    """

    def init(key: jax.Array, position: jax.Array, potential: Potential) -> LeimkuhlerMatthewsState:
        del potential
        return LeimkuhlerMatthewsState(position, normal(key, position.shape, position.dtype))

    def step(
        key: jax.Array, state: LeimkuhlerMatthewsState, potential: Potential, tuning: Tuning
    ) -> tuple[LeimkuhlerMatthewsState, Info]:
        _, gradient, aux = potential(state.position)
        step_size = tuning.step_size * tuning.scale**2
        noise = normal(key, state.position.shape, state.position.dtype)
        shake = 0.5 * jnp.sqrt(step_size) * (state.noise + noise)
        moved = state.position - 0.5 * step_size * gradient + shake
        return LeimkuhlerMatthewsState(moved, noise), Info(
            state.position, aux, jnp.ones(len(state.position), bool)
        )

    return Kernel(init, step, "leimkuhler_matthews")
