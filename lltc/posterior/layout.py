"""Which parameters move, and how a flat vector of them becomes params."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError, shown
from lltc.posterior.arrays import as_array
from lltc.posterior.components import Restriction, path_name, select
from lltc.posterior.masks import any_mask, simplified
from lltc.types import PyTree

MOST_NAMED = 8


@dataclass(frozen=True)
class Layout:
    """How a flat vector of moved parameters becomes params; hashable, so a sweep compiles once.

    `ties` are `(leaf, source, transposed)`: that leaf does not move by itself but is the source's.
    """

    treedef: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]
    moved: tuple[bool, ...]
    ties: tuple[tuple[int, int, bool], ...] = ()

    @property
    def tie(self) -> dict[str, str]:
        """Which leaves are another one, by their paths."""
        return {self.names[leaf]: self.names[source] for leaf, source, _ in self.ties}

    @property
    def dtype(self) -> Any:
        """The floating-point type that chains move in: float64 where a leaf that moves is, else float32."""
        moved = [dtype for dtype, moves in zip(self.dtypes, self.moved, strict=True) if moves]
        return np.dtype(
            np.float64 if any(dtype in (np.float64, np.complex128) for dtype in moved) else np.float32
        )

    @property
    def real_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of all leaves in real numbers: a complex one has a last axis of two, its parts."""
        leaves = zip(self.shapes, self.dtypes, strict=True)
        return tuple((*shape, 2) if is_complex(dtype) else shape for shape, dtype in leaves)

    @property
    def moved_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the leaves that move, in real numbers."""
        leaves = zip(self.real_shapes, self.moved, strict=True)
        return tuple(shape for shape, moves in leaves if moves)

    @property
    def names(self) -> tuple[str, ...]:
        """The paths of all leaves."""
        numbered = jax.tree.unflatten(self.treedef, range(len(self.shapes)))
        return tuple(path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(numbered))

    @property
    def moved_names(self) -> tuple[str, ...]:
        """The paths of the leaves that move."""
        return tuple(name for name, moves in zip(self.names, self.moved, strict=True) if moves)


class Center(NamedTuple):
    """The checkpoint w*: every leaf, and which coordinates of the leaves that move do, None for all."""

    leaves: tuple[jax.Array, ...]
    chosen: jax.Array | None


def as_params(params: PyTree) -> PyTree:
    """Return `params` with every leaf as JAX takes it, or refuse the leaf that is no array of numbers.

    Floats of 16 bits and fewer become float32: in bfloat16 numbers near 1 lie 0.008 apart, farther than
    chains move at most sizes of data. A model that is to compute in 16 bits casts its params itself.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: _widened(as_array(f"params[{path_name(path)!r}]" if path else "params", leaf)),
        params,
    )


def _widened(leaf: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    coarse = jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize < 4
    return leaf.astype(np.float32) if coarse else leaf


def locate(
    params: PyTree, restrict: Restriction | None = None, tie: Mapping[str, str] | None = None
) -> tuple[Layout, Center]:
    """Split `params` into what moves and what stays; `tie` names leaves that are another one."""
    _check_tie(tie)
    params = as_params(params)
    masks = select(params, restrict)
    leaves, treedef = jax.tree.flatten(params)
    leaves = tuple(jnp.asarray(leaf) for leaf in leaves)
    shapes, dtypes = tuple(leaf.shape for leaf in leaves), tuple(leaf.dtype for leaf in leaves)
    layout = Layout(treedef, shapes, dtypes, (False,) * len(shapes))
    layout = replace(layout, ties=_resolve(layout.names, leaves, tie) if tie else ())
    masks = through_ties(layout, masks)
    layout = replace(layout, moved=tuple(bool(np.any(mask)) for mask in masks))
    chosen = _moved_coordinates(layout, masks)
    index = None if chosen.all() else jnp.asarray(np.flatnonzero(chosen))
    return layout, Center(leaves, index)


def through_ties(layout: Layout, masks: Sequence[Any]) -> list[Any]:
    """Return masks in which a leaf that is another one is selected there."""
    masks = list(masks)
    for leaf, source, transposed in layout.ties:
        mask = np.asarray(masks[leaf])
        mask = mask.T if transposed and mask.ndim else mask
        masks[source] = simplified(any_mask([masks[source], mask]))
        masks[leaf] = False
    return masks


def moving(layout: Layout, center: Center) -> list[Any]:
    """Return a mask of each leaf, True where it moves."""
    sizes = [math.prod(shape) for shape in layout.moved_shapes]
    chosen = np.ones(sum(sizes), bool)
    if center.chosen is not None:
        chosen = np.isin(np.arange(sum(sizes)), np.asarray(center.chosen))
    parts = iter(np.split(chosen, np.cumsum(sizes)[:-1]))
    leaves = zip(layout.shapes, layout.moved, strict=True)
    return [next(parts).reshape(*shape, -1).any(-1) if moves else False for shape, moves in leaves]


def _check_tie(tie: Any) -> None:
    named = isinstance(tie, Mapping) and all(isinstance(name, str) for pair in tie.items() for name in pair)
    if tie is not None and not named:
        raise InputError(
            f"tie must be a dict of leaves by their paths, but {shown(tie)} was given; pass such as "
            "{'head': 'wte'}, or None."
        )


def _resolve(
    names: tuple[str, ...], leaves: tuple[jax.Array, ...], tie: Mapping[str, str]
) -> tuple[tuple[int, int, bool], ...]:
    """Return ties by number; refuse names that are no leaves, chains of ties, and leaves that differ."""
    place = {name: at for at, name in enumerate(names)}
    ties = []
    for name, source in tie.items():
        strange = [one for one in (name, source) if one not in place]
        if strange or source in tie:
            raise InputError(
                f"tie={{{name!r}: {source!r}}} must name two leaves of params, the second not tied itself, "
                f"but {strange[0] if strange else source!r} is {'none' if strange else 'tied'}; params has "
                f"{', '.join(names[:MOST_NAMED])}{', …' if len(names) > MOST_NAMED else ''}."
            )
        one, two = (np.asarray(leaves[place[at]]) for at in (name, source))
        straight = one.shape == two.shape and np.array_equal(one, two)
        turned = not straight and two.ndim == 2 and np.array_equal(one, two.T)
        if not straight and not turned:
            raise InputError(
                f"tie={{{name!r}: {source!r}}} must name leaves that hold the same numbers, as they are or "
                f"transposed, but those of shapes {one.shape} and {two.shape} differ; they are not tied in "
                "this checkpoint."
            )
        ties.append((place[name], place[source], turned))
    return tuple(ties)


def is_complex(dtype: Any) -> bool:
    """True for complex numbers."""
    return np.issubdtype(dtype, np.complexfloating)


def as_real(leaf: jax.Array) -> jax.Array:
    """Return a complex leaf as its real and imaginary parts `(…, 2)`, any other as it is."""
    return jnp.stack([leaf.real, leaf.imag], -1) if is_complex(leaf.dtype) else leaf


def _typed(leaf: jax.Array, dtype: Any) -> jax.Array:
    """Return a leaf of real numbers in the type that the checkpoint has."""
    if not is_complex(dtype):
        return leaf.astype(dtype)
    return jax.lax.complex(leaf[..., 0], leaf[..., 1]).astype(dtype)


def count_moved(layout: Layout, center: Center) -> int:
    """Return d, the number of coordinates that move."""
    if center.chosen is not None:
        return int(center.chosen.size)
    return sum(math.prod(shape) for shape in layout.moved_shapes)


def _moved_coordinates(layout: Layout, masks: Sequence[Any]) -> np.ndarray:
    """Return which coordinates `(d,)` of the leaves that move are in `masks`, one of each leaf."""
    every = zip(masks, layout.shapes, layout.dtypes, layout.moved, strict=True)
    parts = [
        np.repeat(np.broadcast_to(mask, shape).ravel(), 2 if is_complex(dtype) else 1)
        for mask, shape, dtype, moves in every
        if moves
    ]
    return np.concatenate(parts)


def center_leaves(layout: Layout, center: Center) -> tuple[jax.Array, ...]:
    """Return the leaves that move, in the chains' type, at w*; a complex one as its two parts `(…, 2)`."""
    leaves = zip(center.leaves, layout.moved, strict=True)
    return tuple(as_real(leaf).astype(layout.dtype) for leaf, moves in leaves if moves)


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
        _typed(next(movers), dtype) if moves else leaf
        for leaf, dtype, moves in zip(center.leaves, layout.dtypes, layout.moved, strict=True)
    ]
    for leaf, source, transposed in layout.ties:
        leaves[leaf] = leaves[source].T if transposed else leaves[source]
    return jax.tree.unflatten(layout.treedef, leaves)


def unflatten(layout: Layout, center: Center, position: jax.Array) -> PyTree:
    """Return the params pytree at `position` `(d,)`."""
    return assemble(layout, center, moved_leaves(layout, center, position))


def moved_mask(layout: Layout, center: Center, params: PyTree, name: str, pattern: Restriction) -> np.ndarray:
    """Return which of the moved coordinates `(d,)` belong to a component; refuse one without any."""
    masks = through_ties(layout, select(params, pattern, argument=f"components[{name!r}]"))
    chosen = _moved_coordinates(layout, masks)
    chosen = chosen if center.chosen is None else chosen[np.asarray(center.chosen)]
    if not chosen.any():
        raise InputError(
            f"components[{name!r}]={pattern!r} selects only parameters that restrict holds at the "
            "checkpoint; widen restrict, or leave the component out."
        )
    return chosen
