"""Measuring what limits the step size: posterior scale, curvature along the chains, minibatch noise."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.gradients import losses_and_gradient
from lltc.posterior import Center, LocalPosterior, Target

PyTree = Any
SCALES = 24
DIRECTIONS = 4


class Curvature(NamedTuple):
    """Largest |eigenvalue| of the loss Hessian at each chain `(chain,)`, and its `vector` `(chain, d)`."""

    value: jax.Array
    vector: jax.Array


def initial_scale(posterior: LocalPosterior, key: jax.Array) -> float:
    """Return the random perturbation per coordinate at which nβ(L - L(w*)) reaches d/2, or the prior's.

    Needed where the Hessian at w* says nothing, such as x⁴. Scales halve down from the prior's radius 1/√γ.
    """
    batch = calibration_batch(posterior, key)
    radius = 1.0 / np.sqrt(posterior.localization) if posterior.localization > 0 else 1.0
    scales = radius * 0.5 ** np.arange(SCALES)
    rises = np.array(
        [float(_rise(posterior.target, posterior.center, batch, key, scale)) for scale in scales]
    )
    for scale, rise in zip(scales, rises, strict=True):
        if np.isfinite(rise) and posterior.nbeta * rise <= 0.5 * posterior.num_params:
            return float(scale)
    return float(scales[-1])


def calibration_batch(posterior: LocalPosterior, key: jax.Array) -> PyTree:
    """Return the whole data when steps see all of it, else one random minibatch."""
    if posterior.full_batch:
        return posterior.data.arrays
    rows = jax.random.randint(key, (posterior.batch_size,), 0, posterior.data.size)
    return jax.tree.map(jnp.asarray, posterior.data.batch(np.asarray(rows)))


def start_vectors(key: jax.Array, chains: int, dimension: int) -> jax.Array:
    """Return random unit vectors `(chain, d)` from which the curvature's power iteration starts."""
    vectors = jax.random.normal(key, (chains, dimension))
    return vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)


@partial(jax.jit, static_argnums=0, static_argnames="rounds")
def largest_curvature(
    target: Target,
    center: Center,
    positions: jax.Array,
    batch: PyTree,
    vectors: jax.Array,
    *,
    rounds: int = 4,
) -> Curvature:
    """Return the top curvature at `positions` after a few power iterations warm-started from `vectors`.

    One Hessian-vector product a round: forward over reverse mode. The norm ‖Hv‖ bounds the eigenvalue from
    below, and the largest over rounds and chains is what stability is judged by.
    """

    def gradient(points: jax.Array) -> jax.Array:
        return losses_and_gradient(target, center, points, batch)[1]

    def iterate(_: int, carry: Curvature) -> Curvature:
        product = jax.jvp(gradient, (positions,), (carry.vector,))[1]
        norm = jnp.linalg.norm(product, axis=-1)
        direction = product / jnp.where(norm > 0, norm, 1.0)[:, None]
        return Curvature(norm, jnp.where(norm[:, None] > 0, direction, carry.vector))

    return jax.lax.fori_loop(0, rounds, iterate, Curvature(jnp.zeros(positions.shape[0]), vectors))


@partial(jax.jit, static_argnums=0)
def gradient_noise(target: Target, center: Center, positions: jax.Array, batch: PyTree) -> jax.Array:
    """Return tr C `(chain,)`, the anchored minibatch gradient's variance, from two halves of one batch.

    With halves a and b the batch gradient is their mean, so tr C = E‖g_a - g_b‖²/4 with g = ∇L(w) - ∇L(w*).
    """
    points = jnp.concatenate([positions, center.position[None]])
    size = jax.tree.leaves(batch)[0].shape[0] // 2
    halves = [jax.tree.map(lambda a, low=low: a[low : low + size], batch) for low in (0, size)]
    first, second = (losses_and_gradient(target, center, points, half)[1] for half in halves)
    anchored = (first - second)[:-1] - (first - second)[-1]
    return jnp.sum(anchored**2, -1) / 4


@partial(jax.jit, static_argnums=0)
def _rise(target: Target, center: Center, batch: PyTree, key: jax.Array, scale: jax.Array) -> jax.Array:
    """Return the mean rise of the loss over random perturbations of size `scale` per coordinate."""
    shakes = scale * jax.random.normal(key, (DIRECTIONS, center.position.size))
    moved = jax.vmap(lambda shake: target.losses(center, center.position + shake, batch))(shakes)
    return (moved - target.losses(center, center.position, batch)).mean()
