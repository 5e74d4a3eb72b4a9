"""Views, transpositions, joins, cuts and padding. Sizes are plain integers: a trace has concrete shapes."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from lltc.errors import InputError


def view(x: Array, size: Sequence[int]) -> Array:
    return x.reshape(tuple(size))


def bitcast(x: Array, dtype: str) -> Array:
    if jnp.dtype(dtype).itemsize != x.dtype.itemsize:
        raise InputError(f"numbers of type {x.dtype} are looked at as {dtype}, which has another size.")
    return lax.bitcast_convert_type(x, jnp.dtype(dtype))


def permute(x: Array, dims: Sequence[int]) -> Array:
    return jnp.transpose(x, [dim % x.ndim for dim in dims])


def transpose(x: Array, dim0: int, dim1: int) -> Array:
    return jnp.swapaxes(x, dim0, dim1) if x.ndim else x


def squeeze(x: Array, dim: int | Sequence[int] | None = None) -> Array:
    dims = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    return jnp.squeeze(x, tuple(d for d in dims if x.ndim and x.shape[d] == 1))


def expand(x: Array, size: Sequence[int], implicit: bool = False) -> Array:
    lead = len(size) - x.ndim
    return jnp.broadcast_to(
        x, [x.shape[axis - lead] if length == -1 else length for axis, length in enumerate(size)]
    )


def flatten(x: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    if not x.ndim:
        return x.reshape(1)
    first, last = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape((*x.shape[:first], -1, *x.shape[last + 1 :]))


def unflatten(x: Array, dim: int, sizes: Sequence[int]) -> Array:
    dim %= x.ndim
    return x.reshape((*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))


def cut(x: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Array:
    low, high, _ = slice(start, end, step).indices(x.shape[dim])
    return lax.slice_in_dim(x, low, max(low, high), stride=step, axis=dim)


def select(x: Array, dim: int, index: int) -> Array:
    return lax.index_in_dim(x, index, dim, keepdims=False)


def narrow(x: Array, dim: int, start: int, length: int) -> Array:
    start += x.shape[dim] if start < 0 else 0
    return lax.slice_in_dim(x, start, start + length, axis=dim)


def cat(arrays: Sequence[Array], dim: int = 0) -> Array:
    # PyTorch skips empty vectors, whatever the shape of the others.
    return jnp.concatenate([x for x in arrays if x.shape != (0,)] or list(arrays), dim)


def split(x: Array, size: int | Sequence[int], dim: int = 0) -> list[Array]:
    length = x.shape[dim]
    if isinstance(size, int):
        size = [size] * (length // size) + ([length % size] if length % size else [])
    return jnp.split(x, np.cumsum(size)[:-1].tolist(), dim)


def chunk(x: Array, chunks: int, dim: int = 0) -> list[Array]:
    return split(x, -(-x.shape[dim] // chunks), dim)


def tensor_split(x: Array, parts: int | Sequence[int], dim: int = 0) -> list[Array]:
    return jnp.array_split(x, parts, dim)


def unbind(x: Array, dim: int = 0) -> list[Array]:
    return [select(x, dim, index) for index in range(x.shape[dim])]


def roll(x: Array, shifts: int | Sequence[int], dims: int | Sequence[int] = ()) -> Array:
    shifts, dims = ([v] if isinstance(v, int) else v for v in (shifts, dims))
    return jnp.roll(x, tuple(shifts), tuple(dims)) if dims else jnp.roll(x, shifts[0])


def repeat_interleave(
    x: Array, repeats: int, dim: int | None = None, output_size: int | None = None
) -> Array:
    return jnp.repeat(x, repeats, dim)


def unfold(x: Array, dimension: int, size: int, step: int) -> Array:
    """Sliding windows of one axis, put last."""
    starts = np.arange(0, x.shape[dimension] - size + 1, step)
    windows = jnp.take(x, starts[:, None] + np.arange(size), axis=dimension)
    return jnp.moveaxis(windows, dimension % x.ndim + 1, -1)


def pad(x: Array, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Array:
    widths = [(0, 0)] * (x.ndim - len(pad) // 2)
    widths += [(pad[at], pad[at + 1]) for at in range(len(pad) - 2, -1, -2)]
    if mode == "constant":
        return lax.pad(x, jnp.asarray(value or 0, x.dtype), [(low, high, 0) for low, high in widths])
    return jnp.pad(x, widths, mode={"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode])


def constant_pad(x: Array, widths: Sequence[int], value: float = 0) -> Array:
    return pad(x, widths, "constant", value)


def diag_embed(x: Array, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Array:
    places = np.arange(x.shape[-1])
    size = x.shape[-1] + abs(offset)
    empty = jnp.zeros((*x.shape[:-1], size, size), x.dtype)
    filled = empty.at[..., places + max(0, -offset), places + max(0, offset)].set(x)
    return jnp.moveaxis(filled, (-2, -1), (dim1, dim2))


def pixel_shuffle(x: Array, factor: int) -> Array:
    *lead, channels, height, width = x.shape
    x = x.reshape(*lead, channels // factor**2, factor, factor, height, width)
    x = jnp.moveaxis(x, (-4, -3), (-3, -1))
    return x.reshape(*lead, channels // factor**2, height * factor, width * factor)


_PADDINGS = {
    f"{kind}_pad{n}d": lambda x, widths, mode=mode: pad(x, widths, mode)
    for kind, mode in (("reflection", "reflect"), ("replication", "replicate"))
    for n in (1, 2, 3)
}

SHAPES = {
    **_PADDINGS,
    "view": view,
    "view.dtype": bitcast,
    "reshape": view,
    "_unsafe_view": view,
    "_reshape_alias": lambda x, size, stride: view(x, size),
    "view_as": lambda x, y: x.reshape(y.shape),
    "reshape_as": lambda x, y: x.reshape(y.shape),
    "expand_as": lambda x, y: jnp.broadcast_to(x, y.shape),
    "permute": permute,
    "transpose": transpose,
    "swapaxes": transpose,
    "t": lambda x: x.T,
    "numpy_T": lambda x: x.T,
    "mT": lambda x: jnp.swapaxes(x, -1, -2),
    "adjoint": lambda x: jnp.conj(jnp.swapaxes(x, -1, -2)),
    "movedim": jnp.moveaxis,
    "moveaxis": jnp.moveaxis,
    "unsqueeze": jnp.expand_dims,
    "squeeze": squeeze,
    "expand": expand,
    "broadcast_to": expand,
    "flatten": flatten,
    "unflatten": unflatten,
    "slice": cut,
    "select": select,
    "narrow": narrow,
    "cat": cat,
    "concat": cat,
    "concatenate": cat,
    "stack": lambda arrays, dim=0: jnp.stack(arrays, dim),
    "hstack": jnp.hstack,
    "vstack": jnp.vstack,
    "split": split,
    "split_with_sizes": split,
    "chunk": chunk,
    "tensor_split": tensor_split,
    "unbind": unbind,
    "repeat": lambda x, repeats: jnp.tile(x, tuple(repeats)),
    "tile": lambda x, repeats: jnp.tile(x, tuple(repeats)),
    "repeat_interleave": repeat_interleave,
    "flip": lambda x, dims: jnp.flip(x, tuple(dims)),
    "roll": roll,
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: jnp.diagonal(x, offset, dim1, dim2),
    "diag_embed": diag_embed,
    "triu": lambda x, diagonal=0: jnp.triu(x, diagonal),
    "tril": lambda x, diagonal=0: jnp.tril(x, diagonal),
    "meshgrid": lambda arrays, indexing="ij": jnp.meshgrid(*arrays, indexing=indexing),
    "broadcast_tensors": lambda arrays: jnp.broadcast_arrays(*arrays),
    "unfold": unfold,
    "pad": pad,
    "constant_pad_nd": constant_pad,
    "pixel_shuffle": pixel_shuffle,
    "sym_size": lambda x, dim: x.shape[dim],
    "sym_numel": lambda x: x.size,
}
