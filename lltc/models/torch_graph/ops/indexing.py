"""Reading and writing at integer indices. An index out of range gives NaN, where PyTorch stops.

Integers have no NaN: what is read there is their extreme, and what is written there is dropped.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from lltc.errors import InputError


def embedding(
    weight: Array,
    indices: Array,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Array:
    if scale_grad_by_freq:
        raise InputError("an embedding divides its gradient by frequencies: leave scale_grad_by_freq out.")
    # A negative index would count from the end; PyTorch stops at it.
    rows = _rows(weight, jnp.where(indices < 0, weight.shape[0], indices))
    if padding_idx < 0:
        return rows
    # PyTorch gives the padding row no gradient.
    return jnp.where((indices == padding_idx)[..., None], lax.stop_gradient(rows), rows)


def _rows(x: Array, indices: Array) -> Array:
    return x.at[indices].get(mode="fill")


def index(x: Array, indices: Sequence[Array | None]) -> Array:
    """NumPy's advanced indexing; a boolean mask has no fixed number of results and is refused."""
    return x.at[_as_index(indices)].get(mode="fill")


def index_put(x: Array, indices: Sequence[Array | None], values: Array, accumulate: bool = False) -> Array:
    if len(indices) == 1 and indices[0] is not None and indices[0].dtype == bool and not jnp.ndim(values):
        mask = indices[0].reshape(indices[0].shape + (1,) * (x.ndim - indices[0].ndim))
        return jnp.where(mask, x + values if accumulate else values, x)
    place = x.at[_as_index(indices)]
    written = place.add(values) if accumulate else place.set(values)
    places = zip(indices, x.shape, strict=False)
    return _or_nan(written, *((item, length) for item, length in places if item is not None))


def _or_nan(written: Array, *places: tuple[Array, int]) -> Array:
    """Return NaN throughout where an index, from either end, lies outside the axis of that length."""
    if not jnp.issubdtype(written.dtype, jnp.inexact):
        return written
    outside = [jnp.any((indices < -length) | (indices >= length)) for indices, length in places]
    return jnp.where(jnp.any(jnp.stack(outside)), jnp.nan, written)


def _as_index(indices: Sequence[Array | None]) -> tuple:
    for item in indices:
        # PyTorch takes bytes for truth values.
        if item is not None and item.dtype in (bool, jnp.uint8):
            raise InputError(
                "a boolean mask picks entries there, whose number depends on the data: use torch.where, or "
                "multiply by the mask."
            )
    return tuple(slice(None) if item is None else item for item in indices)


def index_select(x: Array, dim: int, indices: Array) -> Array:
    return jnp.take(x, _from_start(x, dim, jnp.atleast_1d(indices)), dim, mode="fill")


def _from_start(x: Array, dim: int, indices: Array) -> Array:
    """Return indices of which negative ones lie beyond the end: PyTorch stops at them."""
    return jnp.where(indices < 0, x.shape[dim], indices)


def gather(x: Array, dim: int, indices: Array, sparse_grad: bool = False) -> Array:
    return x.at[_along(_from_start(x, dim, indices), dim)].get(mode="fill")


def take_along_dim(x: Array, indices: Array, dim: int | None = None) -> Array:
    x, dim = (x.reshape(-1), 0) if dim is None else (x, dim)
    return jnp.take_along_axis(x, _from_start(x, dim, indices), dim, mode="fill")


def scatter(x: Array, dim: int, indices: Array, src: Array, reduce: str | None = None) -> Array:
    if reduce is not None:
        raise InputError(f"scatter with reduce={reduce!r} is not evaluated: use scatter_add.")
    at = _from_start(x, dim, indices)
    return _or_nan(x.at[_along(at, dim)].set(_like(src, indices)), (at, x.shape[dim]))


def scatter_add(x: Array, dim: int, indices: Array, src: Array) -> Array:
    at = _from_start(x, dim, indices)
    return _or_nan(x.at[_along(at, dim)].add(_like(src, indices)), (at, x.shape[dim]))


def _along(indices: Array, dim: int) -> tuple[Any, ...]:
    grid: list[Any] = list(np.ogrid[tuple(slice(length) for length in indices.shape)])
    grid[dim] = indices
    return tuple(grid)


def _like(src: Array, indices: Array) -> Array:
    return src if not jnp.ndim(src) else src[tuple(slice(length) for length in indices.shape)]


def index_add(x: Array, dim: int, indices: Array, source: Array, alpha: float = 1) -> Array:
    at = _from_start(x, dim, indices)
    added = source if alpha == 1 else alpha * source
    return _or_nan(x.at[_axis(x, dim, at)].add(added), (at, x.shape[dim]))


def index_copy(x: Array, dim: int, indices: Array, source: Array) -> Array:
    at = _from_start(x, dim, indices)
    return _or_nan(x.at[_axis(x, dim, at)].set(source), (at, x.shape[dim]))


def index_fill(x: Array, dim: int, indices: Array, value: Array) -> Array:
    return _or_nan(x.at[_axis(x, dim, indices)].set(value), (indices, x.shape[dim]))


def slice_scatter(
    x: Array, src: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Array:
    return x.at[_axis(x, dim, slice(start, end, step))].set(src)


def select_scatter(x: Array, src: Array, dim: int, index: int) -> Array:
    return x.at[_axis(x, dim, index)].set(src)


def diagonal_scatter(x: Array, src: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    moved = jnp.moveaxis(x, (dim1, dim2), (-2, -1))
    places = np.arange(src.shape[-1])
    written = moved.at[..., places + max(0, -offset), places + max(0, offset)].set(src)
    return jnp.moveaxis(written, (-2, -1), (dim1, dim2))


def _axis(x: Array, dim: int, at: Array | slice | int) -> tuple:
    return (*(slice(None),) * (dim % x.ndim), at)


def bucketize(x: Array, boundaries: Array, out_int32: bool = False, right: bool = False) -> Array:
    return jnp.searchsorted(boundaries, x, side="right" if right else "left")


INDEXING = {
    "embedding": embedding,
    "index": index,
    "_unsafe_index": index,
    "index_put": index_put,
    "_unsafe_index_put": index_put,
    "index_select": index_select,
    "gather": gather,
    "scatter": scatter,
    "scatter_add": scatter_add,
    "index_add": index_add,
    "index_copy": index_copy,
    "index_fill": index_fill,
    "take_along_dim": take_along_dim,
    "slice_scatter": slice_scatter,
    "select_scatter": select_scatter,
    "diagonal_scatter": diagonal_scatter,
    "bucketize": bucketize,
}
