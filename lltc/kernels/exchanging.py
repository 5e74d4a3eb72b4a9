"""Replica exchange: chains at several temperatures trade places, so that hot ones find far arms."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lltc.kernels.noise import normal
from lltc.kernels.protocol import Info, Kernel, Potential, Tuning

EVERY = 10


class ExchangingState(NamedTuple):
    """The wrapped kernel's state, the number of steps taken, and who comes from the first rung.

    `fresh` `(rung·replica,)` is True where what stands there was drawn from the prior since it last stood on
    the last rung; `arrivals` `(replica,)` counts how often such a one has reached the last rung.
    """

    inner: Any
    steps: jax.Array
    fresh: jax.Array
    arrivals: jax.Array

    @property
    def position(self) -> jax.Array:
        """Where the chains are, `(rung·replica, d)`."""
        return self.inner.position


@cache
def exchanging(kernel: Kernel, rungs: int) -> Kernel:
    """Return `kernel` on chains `(rung·replica, d)`, a rung after another, which trade places every 10 steps.

    A replica's chains at the rungs r and r + 1 with potentials U_r and U_s, s = r + 1, trade places with
    probability min(1, exp(U_r(w_r) + U_s(w_s) - U_r(w_s) - U_s(w_r))), for even and for odd r in turns, which
    carries them up and down the ladder faster than random pairs. The first rung has nβ = 0: when it has no
    partner, it is drawn anew from the prior, a Gaussian of variance 1/γ, which has to be its `step_size`, and
    stays where the loss is not finite. A replica's chains never meet those of another: replicas are
    independent. An exchange costs one evaluation more.

    `kernel` has to leave its target exactly invariant, its state to hold position, energy, gradient and aux.

    Source: Swendsen & Wang (1986, Phys. Rev. Lett. 57, 2607); Syed, Bouchard-Côté, Deligiannidis & Doucet
    (2022, arXiv:1905.02939), section 3, for even and odd pairs in turns.

    Example:
        >>> from lltc.kernels import ghmc
        >>> kernel = exchanging(ghmc(), rungs=3)
        >>> kernel.init(jax.random.key(0), jnp.zeros((6, 2)), lambda w: (w.sum(-1), w, ())).arrivals.shape
        (2,)
    """

    def init(key: jax.Array, position: jax.Array, potential: Potential) -> ExchangingState:
        chains = len(position)
        return ExchangingState(
            kernel.init(key, position, potential),
            jnp.int32(0),
            jnp.zeros(chains, bool),
            jnp.zeros(chains // rungs, jnp.int32),
        )

    def step(
        key: jax.Array, state: ExchangingState, potential: Potential, tuning: Tuning
    ) -> tuple[ExchangingState, Info]:
        inner, info = kernel.step(key, state.inner, potential, tuning)
        moved = state._replace(inner=inner, steps=state.steps + 1)
        due = moved.steps % EVERY == 0
        # Folded with 0 and 1 a key may be what its split gives to `kernel`, and with 2 it is that of decades.
        trade = lambda: exchange(jax.random.fold_in(key, 3), moved, potential, tuning.step_size, rungs)
        return jax.lax.cond(due, trade, lambda: moved), info

    return kernel._replace(init=init, step=step, name=f"{kernel.name} with exchange", exchanging=True)


def exchange(
    key: jax.Array, state: ExchangingState, potential: Potential, step_size: jax.Array, rungs: int
) -> ExchangingState:
    """Return the state after one round of trades; see `exchanging`."""
    inner, chains = state.inner, len(state.position)
    replicas = chains // rungs
    prior_key, accept_key = jax.random.split(key)
    rung = jnp.arange(chains) // replicas
    odd = state.steps // EVERY % 2
    upward = (rung % 2 == odd) & (rung < rungs - 1)
    downward = (rung % 2 != odd) & (rung > 0)
    partner = jnp.arange(chains) + replicas * (upward.astype(jnp.int32) - downward.astype(jnp.int32))
    drawn = (rung == 0) & ~upward
    anew = jnp.sqrt(step_size) * normal(prior_key, state.position.shape, state.position.dtype)
    proposal = jnp.where(drawn[:, None], anew, state.position[partner])
    energy, gradient, aux = potential(proposal)
    finite = jnp.isfinite(energy) & jnp.isfinite(gradient).all(-1)
    gain = jnp.where(finite, inner.energy - energy, -jnp.inf)
    chance = jax.random.uniform(accept_key, (chains,), energy.dtype)
    # The lower of two partners throws the dice for both.
    lower = jnp.minimum(partner, jnp.arange(chains))
    passed = jnp.log(chance[lower]) < gain + gain[partner]
    moves = jnp.where(drawn, finite, passed & (partner != jnp.arange(chains)))
    arrived = inner._replace(position=proposal, energy=energy, gradient=gradient, aux=aux)
    inner = jax.tree.map(
        lambda new, old: jnp.where(moves.reshape(-1, *[1] * (new.ndim - 1)), new, old), arrived, inner
    )
    fresh = jnp.where(moves, drawn | state.fresh[partner], state.fresh)
    last = rung == rungs - 1
    arrivals = state.arrivals + (fresh & last)[-replicas:]
    return state._replace(inner=inner, fresh=fresh & ~last, arrivals=arrivals)
