"""Metropolis-corrected underdamped Langevin dynamics: exact at every step size, on the whole data."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lltc.kernels.noise import normal
from lltc.kernels.protocol import Info, Kernel, Potential, Tuning


class GhmcState(NamedTuple):
    """Where the chains are and how they move `(chain, d)`; U `(chain,)`, ∇U `(chain, d)` and the record."""

    position: jax.Array
    velocity: jax.Array
    energy: jax.Array
    gradient: jax.Array
    aux: Any


@cache
def ghmc(*, decades: float = 0.0) -> Kernel:
    """Return generalized Hamiltonian Monte Carlo: a leapfrog step of time √ε, or the velocity reversed.

    v ← c v + √(1 - c²) ξ;  (w', v') = leapfrog(w, v);  accepted with probability min(1, exp(H - H')), H = U +
    ½‖v‖², else v ← -v. The target is left exactly invariant; a step that would leave the finite numbers is
    refused. Every chain's ε is divided anew at every step by 10^u, u uniform in [0, `decades`], so that some
    steps fit valleys of any width.

    Source: Horowitz (1991), equations 2–6; Neal (2011, arXiv:1206.1901), section 5.3.

    Example:
        >>> kernel = ghmc()
        >>> kernel.init(jax.random.key(0), jnp.zeros((4, 2)), lambda w: (w.sum(-1), w, ())).energy.shape
        (4,)
    """

    def init(key: jax.Array, position: jax.Array, potential: Potential) -> GhmcState:
        return GhmcState(position, normal(key, position.shape, position.dtype), *potential(position))

    def step(
        key: jax.Array, state: GhmcState, potential: Potential, tuning: Tuning
    ) -> tuple[GhmcState, Info]:
        noise_key, accept_key = jax.random.split(key)
        step_size = tuning.step_size
        if decades:
            spread_key = jax.random.fold_in(key, 2)
            exponent = decades * jax.random.uniform(spread_key, (len(state.position), 1), step_size.dtype)
            step_size = step_size * 10**-exponent
        time = jnp.sqrt(step_size) * tuning.scale
        noise = normal(noise_key, state.position.shape, state.position.dtype)
        velocity = tuning.memory * state.velocity + jnp.sqrt(1 - tuning.memory**2) * noise
        halfway = velocity - 0.5 * time * state.gradient
        position = state.position + time * halfway
        energy, gradient, aux = potential(position)
        arrived = halfway - 0.5 * time * gradient
        rise = energy - state.energy + 0.5 * jnp.sum(arrived**2 - velocity**2, -1)
        accepted = jnp.log(jax.random.uniform(accept_key, rise.shape, rise.dtype)) < -rise
        proposed = GhmcState(position, arrived, energy, gradient, aux)
        stayed = GhmcState(state.position, -velocity, state.energy, state.gradient, state.aux)
        state = jax.tree.map(
            lambda new, old: jnp.where(accepted.reshape(-1, *[1] * (new.ndim - 1)), new, old),
            proposed,
            stayed,
        )
        return state, Info(state.position, state.aux, accepted)

    return Kernel(init, step, "ghmc", acceptance=0.95, inertial=True)
