"""SGLD under an ever-adapting RMSprop preconditioner: widely used, wrong, and here for comparison only."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lltc.kernels.noise import normal
from lltc.kernels.protocol import Info, Kernel, Potential, Tuning


class RmspropState(NamedTuple):
    """Where the chains are and the running mean of (∇U)² along each, both `(chain, d)`."""

    position: jax.Array
    second_moment: jax.Array


@cache
def rmsprop(*, decay: float = 0.99, epsilon: float = 1e-5) -> Kernel:
    """Return RMSprop-SGLD without its correction term, as practiced: it samples the wrong density.

    V ← a V + (1 - a)(∇U)²;  G = 1/(√V + epsilon);  w ← w - (ε/2) G ∇U + √(ε G) ξ, with a = `decay` and V = 1
    at the start. G follows the position, and the drift lacks the Γ = ½ ∂G that this asks for. Its bias grows
    as ε → 0: V then tracks (∇U)² at the chain's place and the stationary density is (|∂U| + epsilon) exp(-U)
    an axis. In one dimension U is then exponential whatever its shape: E[U] = 1 where x² has 1/2 and x⁴ 1/4,
    so that the learning coefficient is lost. For comparison only; freeze a scale (`scale_from_optax`)
    instead.

    Source: Li, Chen, Carlson & Carin (2016, arXiv:1512.07666), algorithm 1 without Γ.

    Example:
        >>> kernel = rmsprop(decay=0.9)
        >>> kernel.init(jax.random.key(0), jnp.zeros((4, 2)), lambda w: (w.sum(-1), w, None)).position.shape
        (4, 2)
    """

    def init(key: jax.Array, position: jax.Array, potential: Potential) -> RmspropState:
        del key, potential
        return RmspropState(position, jnp.ones_like(position))

    def step(
        key: jax.Array, state: RmspropState, potential: Potential, tuning: Tuning
    ) -> tuple[RmspropState, Info]:
        _, gradient, aux = potential(state.position)
        second_moment = decay * state.second_moment + (1 - decay) * gradient**2
        step_size = tuning.step_size * tuning.scale**2 / (jnp.sqrt(second_moment) + epsilon)
        noise = normal(key, state.position.shape, state.position.dtype)
        moved = state.position - 0.5 * step_size * gradient + jnp.sqrt(step_size) * noise
        accepted = jnp.ones(len(state.position), bool)
        return RmspropState(moved, second_moment), Info(state.position, aux, accepted)

    return Kernel(init, step, "rmsprop", tunable=False)
