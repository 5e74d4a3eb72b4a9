"""Which parameters move, and how a flat vector of them becomes params."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.posterior.arrays import as_array
from lltc.posterior.components import Restriction, path_name, select
from lltc.types import PyTree


@dataclass(frozen=True)
class Layout:
    """How a flat vector of moved parameters becomes params; hashable, so a sweep compiles once."""

    treedef: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]
    moved: tuple[bool, ...]

    @property
    def dtype(self) -> Any:
        """The floating-point type that chains move in: float64 where a leaf that moves is, else float32."""
        wide = any(dtype == np.float64 for dtype, moves in zip(self.dtypes, self.moved, strict=True) if moves)
        return np.dtype(np.float64 if wide else np.float32)


class Center(NamedTuple):
    """The checkpoint w*: every leaf, and which coordinates of the leaves that move do, None for all."""

    leaves: tuple[jax.Array, ...]
    chosen: jax.Array | None


def as_params(params: PyTree) -> PyTree:
    """Return `params` with every leaf as JAX takes it, or refuse the leaf that is no array of numbers."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: as_array(f"params[{path_name(path)!r}]" if path else "params", leaf), params
    )


def locate(params: PyTree, restrict: Restriction | None = None) -> tuple[Layout, Center]:
    """Split `params` into what moves and what stays."""
    params = as_params(params)
    masks = select(params, restrict)
    leaves, treedef = jax.tree.flatten(params)
    leaves = tuple(jnp.asarray(leaf) for leaf in leaves)
    moved = tuple(bool(np.any(mask)) for mask in masks)
    layout = Layout(
        treedef, tuple(leaf.shape for leaf in leaves), tuple(leaf.dtype for leaf in leaves), moved
    )
    full = [
        np.broadcast_to(m, leaf.shape) for m, leaf, moves in zip(masks, leaves, moved, strict=True) if moves
    ]
    chosen = np.concatenate([mask.reshape(-1) for mask in full])
    index = None if chosen.all() else jnp.asarray(np.flatnonzero(chosen))
    return layout, Center(leaves, index)


def count_moved(layout: Layout, center: Center) -> int:
    """Return d, the number of coordinates that move."""
    if center.chosen is not None:
        return int(center.chosen.size)
    return sum(math.prod(shape) for shape, moves in zip(layout.shapes, layout.moved, strict=True) if moves)


def center_leaves(layout: Layout, center: Center) -> tuple[jax.Array, ...]:
    """Return the leaves that move, in the chains' type, at w*."""
    leaves = zip(center.leaves, layout.moved, strict=True)
    return tuple(leaf.astype(layout.dtype) for leaf, moves in leaves if moves)


def moved_leaves(layout: Layout, center: Center, position: jax.Array) -> tuple[jax.Array, ...]:
    """Return the leaves that move, in the chains' type, at `position` `(d,)`."""
    base = center_leaves(layout, center)
    sizes = [leaf.size for leaf in base]
    if center.chosen is not None:
        position = jnp.zeros(sum(sizes), position.dtype).at[center.chosen].set(position)
    parts = jnp.split(position, np.cumsum(sizes)[:-1])
    return tuple(leaf + part.reshape(leaf.shape) for part, leaf in zip(parts, base, strict=True))


def flatten_leaves(center: Center, moved: Sequence[jax.Array]) -> jax.Array:
    """Return leaves that move as the vector `(d,)` of their coordinates that do."""
    # On a CPU a concatenation fused with what is around it goes number by number, several times slower.
    parts = jax.lax.optimization_barrier([leaf.reshape(-1) for leaf in moved])
    flat = jax.lax.optimization_barrier(jnp.concatenate(parts))
    return flat if center.chosen is None else flat[center.chosen]


def center_vector(layout: Layout, center: Center) -> jax.Array:
    """Return w* as a vector `(d,)`."""
    return flatten_leaves(center, center_leaves(layout, center))


def assemble(layout: Layout, center: Center, moved: tuple[jax.Array, ...]) -> PyTree:
    """Return the params made of the moved leaves, cast to their own dtype, and the others as in w*."""
    movers = iter(moved)
    leaves = [
        next(movers).astype(dtype) if moves else leaf
        for leaf, dtype, moves in zip(center.leaves, layout.dtypes, layout.moved, strict=True)
    ]
    return jax.tree.unflatten(layout.treedef, leaves)


def unflatten(layout: Layout, center: Center, position: jax.Array) -> PyTree:
    """Return the params pytree at `position` `(d,)`."""
    return assemble(layout, center, moved_leaves(layout, center, position))


def moved_mask(layout: Layout, center: Center, params: PyTree, name: str, pattern: Restriction) -> np.ndarray:
    """Return which of the moved coordinates `(d,)` belong to a component; refuse one without any."""
    masks = select(params, pattern, argument=f"components[{name!r}]")
    every = zip(masks, layout.shapes, layout.moved, strict=True)
    chosen = np.concatenate([np.broadcast_to(mask, shape).ravel() for mask, shape, moves in every if moves])
    chosen = chosen if center.chosen is None else chosen[np.asarray(center.chosen)]
    if not chosen.any():
        raise InputError(
            f"components[{name!r}]={pattern!r} selects only parameters that restrict holds at the "
            "checkpoint; widen restrict, or leave the component out."
        )
    return chosen
