"""Stochastic gradient Nosé–Hoover thermostat: friction that learns how noisy the gradient is."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lltc.kernels.protocol import Info, Kernel, Potential, Tuning


class SgnhtState(NamedTuple):
    """Where the chains are, how they move, and the friction learned beyond 1 - c, all `(chain, d)`."""

    position: jax.Array
    velocity: jax.Array
    learned: jax.Array


@cache
def sgnht(*, coupling: float = 0.1) -> Kernel:
    """Return the thermostat with one friction x an axis, time step √ε and noise 1 - c a step, c = `memory`.

    v' ← v - √ε ∇U;  v ← e⁻ˣ v' + s ξ, s² = (1 - c)(1 - e⁻²ˣ)/x;  w ← w + √ε u, u = (v' + v)/2;
    x ← x + `coupling` (1 - c)² (u² + s²/(2(1 + e⁻ˣ)) - 1).

    Gradient noise of constant variance, known to nobody, heats v until x has risen enough to carry the heat
    away. The bracket, the temperature at which a slow direction moves, has mean zero; it is ours, and leaves
    less bias than the v² - 1 of the sources. Second order in √ε at fixed friction, (1 - c) ∝ √ε. Noise that
    changes from place to place is absorbed on average only.

    Source: Ding, Fang, Babbush, Chen, Skeel & Neven (2014), section 4; splitting after Leimkuhler & Shang
    (2016, arXiv:1505.06889), section 4.

    Example:
        >>> kernel = sgnht()
        >>> kernel.init(jax.random.key(0), jnp.zeros((4, 2)), lambda w: (w.sum(-1), w, None)).learned.shape
        (4, 2)
    """

    def init(key: jax.Array, position: jax.Array, potential: Potential) -> SgnhtState:
        del potential
        return SgnhtState(position, jax.random.normal(key, position.shape), jnp.zeros_like(position))

    def step(
        key: jax.Array, state: SgnhtState, potential: Potential, tuning: Tuning
    ) -> tuple[SgnhtState, Info]:
        _, gradient, aux = potential(state.position)
        noise = jax.random.normal(key, state.position.shape)
        time = jnp.sqrt(tuning.step_size) * tuning.scale
        injected = 1 - tuning.memory
        friction = injected + state.learned
        kept, variance = jnp.exp(-friction), 2 * injected * _passed(friction)
        kicked = state.velocity - time * gradient
        velocity = kept * kicked + jnp.sqrt(variance) * noise
        mean = 0.5 * (kicked + velocity)
        excess = mean**2 + 0.5 * variance / (1 + kept) - 1
        learned = state.learned + coupling * injected**2 * excess
        accepted = jnp.ones(len(state.position), bool)
        return SgnhtState(state.position + time * mean, velocity, learned), Info(
            state.position, aux, accepted
        )

    return Kernel(init, step)


def _passed(friction: jax.Array) -> jax.Array:
    """Return (1 - exp(-2x))/(2x), the share of a step's noise that friction x lets through; 1 at x = 0."""
    doubled = jnp.where(friction == 0, 1.0, 2 * friction)
    return jnp.where(friction == 0, 1.0, -jnp.expm1(-doubled) / doubled)
