"""Looking at chains while they draw: the stiff directions' temperature, and whether the steps are small."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.curvature import Surroundings, make_prober
from lltc.chains.loop import Run
from lltc.chains.rotation import Frame, turn, turn_back
from lltc.chains.steps import Settings
from lltc.chains.streams import RandomStream, substream
from lltc.posterior.layout import center_vector
from lltc.posterior.sharding import to_host

MOST_VISITS = 64
ASIDE = 0.25
LEAST_WAY = 64.0


class Visit(NamedTuple):
    """What one look finds, `(chain,)` each; in equilibrium `force` and `bend` have the same mean.

    `force` is nβ‖∇L‖² + γ(w - w*)·∇L, `bend` is ΔL by Hutchinson's estimator from differences of gradients,
    both in the coordinates of the run's scale; `acceptance` is min(1, exp(-ΔH)) of one leapfrog step of the
    run's step size on a batch's own energy; `noise` is the variance tr C of the minibatch gradient.
    """

    force: np.ndarray
    bend: np.ndarray
    acceptance: np.ndarray
    noise: np.ndarray


def look(run: Run, settings: Settings, positions: jax.Array, number: int) -> Visit:
    """Return a `Visit` of chains at `positions` `(chain, d)`; `number` sets its batch and its directions.

    The identity E[nβ‖∇L‖² + γ(w - w*)·∇L] = E[ΔL] is Stein's for the field ∇L, which weighs directions by
    their curvature: its ratio is the temperature of the stiff directions, 1 at every scale of the loss. At
    the kinks of a ReLU the gradient jumps, which ΔL holds and the derivatives beside them do not.
    """
    batch_key, signs, velocity = _chance(run.key, number, positions.shape, positions.dtype)
    prober = make_prober(run.posterior, run.anchor, batch_key)
    frame = Frame(settings.rotation, settings.tuning.scale)
    here = prober(positions, signs, frame)
    aside = _aside(settings, signs)
    ahead, behind = (prober.gradient(positions + way) for way in (aside, -aside))
    weights = center_vector(run.posterior.target.layout, run.posterior.center)
    bend = _bend(settings, weights, aside, ahead - behind, here.bend)
    moved, middle = _leap(settings, positions, velocity, here.gradient)
    there = prober(moved, signs, frame)
    rise = _energy_gained(settings, positions, moved, velocity, middle, here, there)
    force = settings.nbeta * here.force + settings.localization * here.pull
    acceptance = np.minimum(1.0, np.exp(-to_host(rise).astype(np.float64)))
    return Visit(to_host(force), to_host(bend), np.nan_to_num(acceptance), to_host(here.noise))


@partial(jax.jit, static_argnums=(2, 3))
def _chance(
    key: jax.Array, number: int, shape: tuple[int, ...], dtype: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the key of a look's batch, its random signs and its random velocity."""
    key = jax.random.fold_in(substream(key, RandomStream.looks), number)
    batch_key, sign_key, kick_key = jax.random.split(key, 3)
    signs = jax.random.rademacher(sign_key, shape, dtype)
    return batch_key, signs, jax.random.normal(kick_key, shape, dtype)


@jax.jit
def _aside(settings: Settings, signs: jax.Array) -> jax.Array:
    """Return a way `(chain, d)` within one step, on which L is a parabola but for its kinks."""
    return turn(
        settings.rotation, ASIDE * jnp.sqrt(settings.tuning.step_size) * settings.tuning.scale * signs
    )


@jax.jit
def _bend(
    settings: Settings, weights: jax.Array, aside: jax.Array, turned: jax.Array, derivative: jax.Array
) -> jax.Array:
    """Return ΔL `(chain,)` by how the gradient has `turned` on the way there and back.

    It is the `derivative` where the arithmetic of the weights does not resolve the way.
    """
    square = ASIDE**2 * settings.tuning.step_size[:, 0]
    resolution = jnp.finfo(aside.dtype).eps * jnp.linalg.norm(weights)
    resolved = jnp.linalg.norm(aside, axis=-1) > LEAST_WAY * resolution
    return jnp.where(resolved, jnp.sum(aside * turned, -1) / (2 * square), derivative)


@jax.jit
def _leap(
    settings: Settings, positions: jax.Array, velocity: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return where a leapfrog step arrives, and the velocity on the way."""
    time = jnp.sqrt(settings.tuning.step_size) * settings.tuning.scale
    slope = settings.nbeta[:, None] * gradient + settings.localization * positions
    middle = velocity - 0.5 * time * turn_back(settings.rotation, slope)
    return positions + turn(settings.rotation, time * middle), middle


@jax.jit
def _energy_gained(
    settings: Settings,
    positions: jax.Array,
    moved: jax.Array,
    velocity: jax.Array,
    middle: jax.Array,
    here: Surroundings,
    there: Surroundings,
) -> jax.Array:
    """Return H' - H `(chain,)` of that step."""
    time = jnp.sqrt(settings.tuning.step_size) * settings.tuning.scale
    slope = settings.nbeta[:, None] * there.gradient + settings.localization * moved
    arrived = middle - 0.5 * time * turn_back(settings.rotation, slope)
    kinetic = 0.5 * jnp.sum(arrived**2 - velocity**2, -1)
    reach = jnp.sum(moved**2, -1) - jnp.sum(positions**2, -1)
    return settings.nbeta * (there.rise - here.rise) + 0.5 * settings.localization * reach + kinetic
