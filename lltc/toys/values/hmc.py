"""A long, Metropolis-corrected reference for small problems that nothing exact covers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lltc.errors import InputError
from lltc.toys.values.gibbs import Reference

_TARGET_ACCEPTANCE = 0.8
_MAX_LEAPFROG = 24


def hmc_llc(
    model: Callable[[Any, Any], jax.Array],
    params: Any,
    data: Any,
    *,
    nbeta: float,
    localization: float,
    num_chains: int = 32,
    num_draws: int = 2000,
    num_warmup: int = 500,
    key: int = 0,
) -> Reference:
    """Return `λ̂ = t E[L_n(w) - L_n(w*)]` by Hamiltonian Monte Carlo with full data in float64.

    Coordinates are scaled by `(t |h| + γ)^(-1/2)` in the eigenbasis of the Hessian at `w*`. The leapfrog
    step is tuned in the warm-up to 80 % acceptance, then frozen; each draw takes 1 to 24 of them.
    Half the chains start at `w*`, half from the scaled normal, shrunk until the action is at most d. The
    standard error is that of the mean of the chains. Neither step size nor minibatches bias the value; beyond
    some hundred parameters it costs too much.

    Raises:
        InputError: `nbeta` or `localization` not positive, or fewer than 2 chains.

    Example:
        >>> reference = hmc_llc(
        ...     lambda w, batch: 0.5 * w**2 * batch,
        ...     jnp.zeros(()),
        ...     jnp.ones(1),
        ...     nbeta=9.0,
        ...     localization=1.0,
        ...     num_draws=200,
        ...     num_warmup=100,
        ... )
        >>> abs(reference.llc - 0.45) < 4 * reference.llc_se
        True
    """
    if not (nbeta > 0 and localization > 0) or num_chains < 2:
        raise InputError(
            f"nbeta={nbeta}, localization={localization} and num_chains={num_chains} must be positive, "
            f"positive and at least 2."
        )
    with jax.enable_x64(True):
        double = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf, dtype=_doubled(leaf)), tree)
        center, unravel = ravel_pytree(double(params))
        batch = double(data)

        def loss(flat: jax.Array) -> jax.Array:
            return jnp.mean(model(unravel(flat), batch))

        bottom = loss(center)
        curvature, basis = jnp.linalg.eigh(jax.hessian(loss)(center))
        scale = basis / jnp.sqrt(nbeta * jnp.abs(curvature) + localization)

        def energy(z: jax.Array) -> jax.Array:
            return nbeta * (loss(center + scale @ z) - bottom)

        def action(z: jax.Array) -> jax.Array:
            return energy(z) + localization / 2 * jnp.sum((scale @ z) ** 2)

        keys = jax.random.split(jax.random.key(key), 3)
        z = _shrink(action, jax.random.normal(keys[0], (num_chains, center.size)))
        z = z.at[: num_chains // 2].set(0.0)
        run = jax.jit(partial(_run, action, energy), static_argnames=("num_draws", "adapt"))
        z, log_step, _ = run(keys[1], z, jnp.log(0.1), num_draws=num_warmup, adapt=True)
        _, _, means = run(keys[2], z, log_step, num_draws=num_draws, adapt=False)
        means = np.asarray(means)
    return Reference(float(means.mean()), float(means.std(ddof=1) / np.sqrt(num_chains)))


def _shrink(action, z: jax.Array) -> jax.Array:
    """Return every point moved towards 0 by halves until its action is at most d, twice the typical one."""
    halvings = 2.0 ** -jnp.arange(40)

    def first(point: jax.Array) -> jax.Array:
        low_enough = jax.vmap(lambda factor: action(factor * point))(halvings) <= point.size
        return point * halvings[jnp.argmax(low_enough)]

    return jax.vmap(first)(z)


def _run(action, energy, key, z, log_step, *, num_draws: int, adapt: bool):
    """Return the last points, the last log step size and every chain's mean energy."""

    def draw(carry, key_and_index):
        (z, log_step, total), (key, index) = carry, key_and_index
        z, acceptance = _transition(action, key, z, jnp.exp(log_step))
        if adapt:
            log_step = log_step + (acceptance - _TARGET_ACCEPTANCE) / (1 + index / 10) ** 0.6
        return (z, log_step, total + jax.vmap(energy)(z)), None

    start = z, log_step, jnp.zeros(len(z))
    inputs = jax.random.split(key, num_draws), jnp.arange(num_draws)
    (z, log_step, total), _ = jax.lax.scan(draw, start, inputs)
    return z, log_step, total / num_draws


def _transition(action, key, z, step_size):
    momentum_key, length_key, step_key, accept_key = jax.random.split(key, 4)
    step_size = step_size * jax.random.uniform(step_key, minval=0.5)
    momentum = jax.random.normal(momentum_key, z.shape)
    length = jax.random.randint(length_key, (), 1, _MAX_LEAPFROG + 1)
    value, gradient = jax.vmap(action), jax.vmap(jax.grad(action))

    def leapfrog(_, state):
        z, p, g = state
        p = p - step_size / 2 * g
        z = z + step_size * p
        g = gradient(z)
        return z, p - step_size / 2 * g, g

    moved, p, _ = jax.lax.fori_loop(0, length, leapfrog, (z, momentum, gradient(z)))
    change = value(z) - value(moved) + jnp.sum(momentum**2 - p**2, axis=-1) / 2
    chance = jnp.where(jnp.isfinite(change), jnp.exp(jnp.minimum(change, 0.0)), 0.0)
    accepted = jax.random.uniform(accept_key, chance.shape) < chance
    return jnp.where(accepted[:, None], moved, z), jnp.mean(chance)


def _doubled(leaf: Any) -> Any:
    dtype = np.asarray(leaf).dtype
    return np.float64 if np.issubdtype(dtype, np.floating) else dtype
