"""Stochastic gradient Nosé–Hoover thermostat: friction that learns how noisy the gradient is."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lltc.kernels.noise import normal
from lltc.kernels.protocol import Info, Kernel, Potential, Tuning


class SgnhtState(NamedTuple):
    """Where the chains are, how they move, and the friction learned beyond 1 - c, all `(chain, d)`."""

    position: jax.Array
    velocity: jax.Array
    learned: jax.Array


@cache
def sgnht(*, coupling: float = 0.1) -> Kernel:
    """Return the thermostat with one friction x an axis, time step √ε and noise 1 - c a step, c = `memory`.

    v' ← v - √ε ∇U;  x ← x + r ((½ - l) v'² - ½);  v ← e⁻ˣ v' + s ξ, s² = (1 - c)(1 - e⁻²ˣ)/x;
    x ← x + r ((½ + l) v² - ½);  w ← w + √ε (v' + v)/2, with r = `coupling` (1 - c)² and l = tanh(x/2)/4.

    Gradient noise of constant variance, known to nobody, heats v' until x has risen enough to carry the heat
    away. The lean l, ours, makes that exact for directions slow beside x; without it they stay too cold by
    ε Var[∇U] tanh(x/2)/4. Second order in √ε at fixed friction, (1 - c) ∝ √ε. Noise that changes from place
    to place is absorbed on average only.

    Source: Ding, Fang, Babbush, Chen, Skeel & Neven (2014), section 4; splitting after Leimkuhler & Shang
    (2016, arXiv:1505.06889), section 4.

    Example:
        >>> kernel = sgnht()
        >>> kernel.init(jax.random.key(0), jnp.zeros((4, 2)), lambda w: (w.sum(-1), w, None)).learned.shape
        (4, 2)
    """

    def init(key: jax.Array, position: jax.Array, potential: Potential) -> SgnhtState:
        del potential
        return SgnhtState(position, normal(key, position.shape, position.dtype), jnp.zeros_like(position))

    def step(
        key: jax.Array, state: SgnhtState, potential: Potential, tuning: Tuning
    ) -> tuple[SgnhtState, Info]:
        _, gradient, aux = potential(state.position)
        noise = normal(key, state.position.shape, state.position.dtype)
        time = jnp.sqrt(tuning.step_size) * tuning.scale
        injected = 1 - tuning.memory
        rate = coupling * injected**2
        kicked = state.velocity - time * gradient
        friction = injected + state.learned
        friction = friction + rate * ((0.5 - _lean(friction)) * kicked**2 - 0.5)
        shake = jnp.sqrt(2 * injected * _passed(friction)) * noise
        velocity = jnp.exp(-friction) * kicked + shake
        friction = friction + rate * ((0.5 + _lean(friction)) * velocity**2 - 0.5)
        position = state.position + 0.5 * time * (kicked + velocity)
        accepted = jnp.ones(len(state.position), bool)
        return SgnhtState(position, velocity, friction - injected), Info(state.position, aux, accepted)

    return Kernel(init, step, "sgnht", inertial=True, heated=False)


def _passed(friction: jax.Array) -> jax.Array:
    """Return (1 - exp(-2x))/(2x), the share of a step's noise that friction x lets through; 1 at x = 0."""
    doubled = jnp.where(friction == 0, 1.0, 2 * friction)
    return jnp.where(friction == 0, 1.0, -jnp.expm1(-doubled) / doubled)


def _lean(friction: jax.Array) -> jax.Array:
    """Return how much more than half the velocity after the friction counts, so that slow moves are right."""
    return 0.25 * jnp.tanh(0.5 * friction)
