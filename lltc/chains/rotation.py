"""Orthogonal coordinates of the weights: each leaf's rows and columns turned to the axes of its curvature."""

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Sides = tuple[jax.Array | None, jax.Array | None]


@partial(jax.tree_util.register_dataclass, data_fields=["sides"], meta_fields=["shapes"])
@dataclass(frozen=True)
class Rotation:
    """The map w - w* = Q z that makes a leaf Z, of `shapes` (rows, columns), into L Z Rᵀ.

    The orthogonal L and R are the leaf's `sides`; None leaves a side as it is.
    """

    sides: tuple[Sides, ...]
    shapes: tuple[tuple[int, int], ...]


class Frame(NamedTuple):
    """Coordinates to move in: axes, None for those of the weights, and a diagonal scale, () or `(d,)`.

    `stiffness` is that of U along every axis, where the scale makes all of them equal.
    """

    rotation: Rotation | None = None
    scale: jax.Array | float = 1.0
    stiffness: float = 0.0


PLAIN = Frame()


def turn(rotation: Rotation | None, coordinates: jax.Array) -> jax.Array:
    """Return w - w* = Q z of `coordinates` z `(…, d)`; None turns nothing.

    Example:
        >>> quarter = Rotation(((jnp.array([[0.0, -1.0], [1.0, 0.0]]), None),), ((2, 1),))
        >>> turn(quarter, jnp.array([1.0, 0.0])).tolist()
        [0.0, 1.0]
    """
    return coordinates if rotation is None else _turned(rotation, coordinates, back=False)


def turn_back(rotation: Rotation | None, positions: jax.Array) -> jax.Array:
    """Return z = Qᵀ(w - w*) of `positions` `(…, d)`; of a gradient, the one with regard to z."""
    return positions if rotation is None else _turned(rotation, positions, back=True)


def _turned(rotation: Rotation, vectors: jax.Array, *, back: bool) -> jax.Array:
    ends = np.cumsum([prod(shape) for shape in rotation.shapes])
    parts = jnp.split(vectors, ends[:-1], axis=-1)
    turned = [
        _turned_leaf(part.reshape(*part.shape[:-1], *shape), sides, back=back).reshape(part.shape)
        for part, shape, sides in zip(parts, rotation.shapes, rotation.sides, strict=True)
    ]
    return jnp.concatenate(turned, axis=-1)


def _turned_leaf(leaf: jax.Array, sides: Sides, *, back: bool) -> jax.Array:
    left, right = sides
    if left is not None:
        leaf = (left.T if back else left) @ leaf
    if right is not None:
        leaf = leaf @ (right if back else right.T)
    return leaf
