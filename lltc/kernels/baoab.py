"""Underdamped Langevin dynamics by the BAOAB splitting, one gradient a step."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lltc.kernels.noise import normal
from lltc.kernels.protocol import Info, Kernel, Potential, Tuning


class BaoabState(NamedTuple):
    """Where the chains are and how they move, both `(chain, d)`."""

    position: jax.Array
    velocity: jax.Array


@cache
def baoab() -> Kernel:
    """Return BAOAB with unit mass, time step √ε and `memory` c of the velocity between steps.

    v ← v - √ε ∇U;  v' ← c v + √(1 - c²) ξ;  w ← w + √ε (v + v')/2. The two half kicks around each draw are
    taken at once. On a quadratic the stationary variance is exactly 1/q at every ε < 4/q and every c; c = 0
    is the Leimkuhler–Matthews scheme. Slow directions move as Langevin dynamics with step ε(1 + c)/(1 - c)
    would. Source: Leimkuhler & Matthews (2013, arXiv:1203.5428), sections 3 and 4.

    Example:
        >>> kernel = baoab()
        >>> kernel.init(jax.random.key(0), jnp.zeros((4, 2)), lambda w: (w.sum(-1), w, None)).velocity.shape
        (4, 2)
    """

    def init(key: jax.Array, position: jax.Array, potential: Potential) -> BaoabState:
        del potential
        return BaoabState(position, normal(key, position.shape, position.dtype))

    def step(
        key: jax.Array, state: BaoabState, potential: Potential, tuning: Tuning
    ) -> tuple[BaoabState, Info]:
        _, gradient, aux = potential(state.position)
        noise = normal(key, state.position.shape, state.position.dtype)
        time = jnp.sqrt(tuning.step_size) * tuning.scale
        kicked = state.velocity - time * gradient
        velocity = tuning.memory * kicked + jnp.sqrt(1 - tuning.memory**2) * noise
        position = state.position + 0.5 * time * (kicked + velocity)
        return BaoabState(position, velocity), Info(state.position, aux, jnp.ones(len(state.position), bool))

    return Kernel(init, step, "baoab", inertial=True)
