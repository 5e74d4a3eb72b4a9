"""Gradients and their derivatives along vectors, where the backward pass may be hard to differentiate."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Look = Callable[[jax.Array], tuple[jax.Array, Any]]
LEAST = 1e-30


def with_derivative(
    look: Look, points: jax.Array, vectors: jax.Array, size: jax.Array
) -> tuple[tuple[jax.Array, Any], jax.Array]:
    """Return `look(points)`, gradients `(…, row, d)` and more, and the gradients' derivative along `vectors`.

    Points and vectors are `(row, d)`. By forward mode; where JAX cannot, as for a `custom_vjp` inside of
    another, by reverse mode twice; where a backward pass is opaque, as a callback's, by central differences
    over √ε · `size`, about the norm of the weights.
    """
    try:
        value, (derivative, _) = jax.jvp(look, (points,), (vectors,))
    except Exception:  # JAX raises errors of many kinds for what it has no rule for.
        value, derivative = look(points), _without_forward_mode(look, points, vectors, size)
    return value, derivative


def _without_forward_mode(look: Look, points: jax.Array, vectors: jax.Array, size: jax.Array) -> jax.Array:
    gradients = lambda at: look(at)[0]
    try:
        # Pulling back is linear in what is pulled back; pulled back itself, it pushes forward.
        values, pull_back = jax.vjp(gradients, points)
        _, push_forward = jax.vjp(lambda cotangent: pull_back(cotangent)[0], jnp.zeros_like(values))
        return push_forward(vectors)[0]
    except Exception:  # As above.
        length = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
        step = jnp.sqrt(jnp.finfo(points.dtype).eps) * jnp.maximum(size, 1.0) / jnp.maximum(length, LEAST)
        return (gradients(points + step * vectors) - gradients(points - step * vectors)) / (2 * step)
