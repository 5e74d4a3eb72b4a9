"""Sums, means, extremes, norms, softmax, running sums and sorting."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from lltc.models.torch_graph.ops.pointwise import absolute

Dims = int | Sequence[int] | None


def _axes(dim: Dims) -> int | tuple[int, ...] | None:
    """Return the axes of a reduction; PyTorch's empty list means all of them."""
    return dim if dim is None or isinstance(dim, int) else tuple(dim) or None


def _cast(x: Array, dtype: str | None) -> Array:
    return x if dtype is None else x.astype(jax.dtypes.canonicalize_dtype(jnp.dtype(dtype)))


def wide(x: Array) -> Array:
    """Return 16 bits as 32, in which PyTorch accumulates."""
    return x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.inexact) and x.itemsize < 4 else x


def _over(function: Callable[..., Array]) -> Callable[..., Array]:
    def reduced(x: Array, dim: Dims = None, keepdim: bool = False, dtype: str | None = None) -> Array:
        return function(_cast(x, dtype), axis=_axes(dim), keepdims=keepdim)

    return reduced


def product(x: Array, dim: int | None = None, keepdim: bool = False, dtype: str | None = None) -> Array:
    return jnp.prod(_cast(x, dtype), axis=dim, keepdims=keepdim)


def logsumexp(x: Array, dim: Dims, keepdim: bool = False) -> Array:
    return jax.nn.logsumexp(x, axis=_axes(dim), keepdims=keepdim)


def _extreme(reduce: Callable, position: Callable, pairwise: Callable) -> Callable[..., Any]:
    """Return PyTorch's `max` or `min`: of all, of two arrays, or along an axis with the place."""

    def extreme(x: Array, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            return reduce(x)
        if not isinstance(dim, int):
            return pairwise(x, dim)
        place = position(x, axis=dim, keepdims=True)
        values = jnp.take_along_axis(x, place, dim)
        return (values, place) if keepdim else (values.squeeze(dim), place.squeeze(dim))

    return extreme


def var(
    x: Array,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Array:
    """PyTorch spells it `var(x, unbiased)`, `var(x, dim, unbiased)` or `var(x, dim, correction=)`."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    ddof = correction if correction is not None else int(unbiased)
    x, axes = wide(x), _axes(dim)
    centered = x - x.mean(axes, keepdims=True)
    count = x.size // max(1, x.mean(axes).size)
    return jnp.sum(centered * centered, axes, keepdims=keepdim) / max(0, count - ddof)


def std(x: Array, *args: Any, **kwargs: Any) -> Array:
    return _root(var(x, *args, **kwargs))


def _root(squares: Array) -> Array:
    """Square root whose derivative at 0 is 0, as that of PyTorch's norms and deviations."""
    positive = squares > 0
    return jnp.where(
        positive, jnp.sqrt(jnp.where(positive, squares, 1.0)), jnp.sqrt(lax.stop_gradient(squares))
    )


def vector_norm(
    x: Array, ord: float = 2, dim: Dims = None, keepdim: bool = False, dtype: str | None = None
) -> Array:
    x, axes = wide(_cast(x, dtype)), _axes(dim)
    size = absolute(x)
    if ord == 2:
        return _root(jnp.sum(size * size, axes, keepdims=keepdim))
    if ord == 1:
        return jnp.sum(size, axes, keepdims=keepdim)
    if ord == float("inf"):
        return jnp.max(size, axes, keepdims=keepdim)
    if ord == -float("inf"):
        return jnp.min(size, axes, keepdims=keepdim)
    if ord == 0:
        return jnp.sum(size != 0, axes, keepdims=keepdim).astype(x.dtype)
    if ord < 0:
        return jnp.sum(size**ord, axes, keepdims=keepdim) ** (1 / ord)
    nonzero = size > 0
    powers = jnp.where(nonzero, jnp.where(nonzero, size, 1.0) ** ord, 0.0)
    total = jnp.sum(powers, axes, keepdims=keepdim)
    return jnp.where(total > 0, jnp.where(total > 0, total, 1.0) ** (1 / ord), 0.0)


def norm(
    x: Array, p: float | None = 2, dim: Dims = None, keepdim: bool = False, dtype: str | None = None
) -> Array:
    return vector_norm(x, 2 if p is None else p, dim, keepdim, dtype)


def softmax(x: Array, dim: int, dtype: Any = None) -> Array:
    return jax.nn.softmax(_cast(x, dtype if isinstance(dtype, str) else None), dim)


def log_softmax(x: Array, dim: int, dtype: Any = None) -> Array:
    return jax.nn.log_softmax(_cast(x, dtype if isinstance(dtype, str) else None), dim)


def safe_softmax(x: Array, dim: int, dtype: Any = None) -> Array:
    """A row of nothing but -inf gives 0."""
    masked = jnp.isneginf(x).all(dim, keepdims=True)
    return jnp.where(masked, 0.0, softmax(jnp.where(masked, 0.0, x), dim, dtype))


def _counted(x: Array, dtype: str | None) -> Array:
    """Return `x` as PyTorch sums it up: small integers would wrap."""
    return _cast(x, "int64" if dtype is None and not jnp.issubdtype(x.dtype, jnp.inexact) else dtype)


def cumsum(x: Array, dim: int, dtype: str | None = None) -> Array:
    return jnp.cumsum(_counted(x, dtype), dim) if x.ndim else x


def cumprod(x: Array, dim: int, dtype: str | None = None) -> Array:
    return jnp.cumprod(_counted(x, dtype), dim) if x.ndim else x


def topk(x: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Array, Array]:
    moved = jnp.moveaxis(x, dim, -1)
    # The complement turns the order of integers round where minus would wrap.
    turned = -moved if jnp.issubdtype(moved.dtype, jnp.inexact) else ~moved
    _, places = lax.top_k(moved if largest else turned, k)
    values = jnp.take_along_axis(moved, places, -1)
    return jnp.moveaxis(values, -1, dim), jnp.moveaxis(places, -1, dim)


def sort(x: Array, *args: Any, dim: int | None = None, descending: bool | None = None, **_: Any) -> Any:
    """PyTorch spells it `sort(x, dim, descending)` or `sort(x, stable=, dim=, descending=)`."""
    dim = dim if dim is not None else args[0] if args else -1
    descending = bool(descending if descending is not None else args[1] if len(args) > 1 else False)
    places = jnp.argsort(x, dim, descending=descending, stable=True)
    return jnp.take_along_axis(x, places, dim), places


def diff(
    x: Array, n: int = 1, dim: int = -1, prepend: Array | None = None, append: Array | None = None
) -> Array:
    return jnp.diff(x, n, dim, prepend, append)


REDUCTIONS = {
    "sum": _over(jnp.sum),
    "nansum": _over(jnp.nansum),
    "mean": _over(jnp.mean),
    "amax": _over(jnp.max),
    "amin": _over(jnp.min),
    "any": _over(jnp.any),
    "all": _over(jnp.all),
    "prod": product,
    "logsumexp": logsumexp,
    "argmax": lambda x, dim=None, keepdim=False: jnp.argmax(x, dim, keepdims=keepdim),
    "argmin": lambda x, dim=None, keepdim=False: jnp.argmin(x, dim, keepdims=keepdim),
    "max": _extreme(jnp.max, jnp.argmax, jnp.maximum),
    "min": _extreme(jnp.min, jnp.argmin, jnp.minimum),
    "var": var,
    "std": std,
    "var_mean": lambda x, dim=None, unbiased=True, keepdim=False, correction=None: (
        var(x, dim, unbiased, keepdim, correction=correction),
        jnp.mean(x, axis=None if isinstance(dim, bool) else _axes(dim), keepdims=keepdim),
    ),
    "linalg_vector_norm": vector_norm,
    "norm": norm,
    "frobenius_norm": lambda x, dim=None, keepdim=False: vector_norm(x, 2, dim, keepdim),
    "softmax": softmax,
    "_softmax": softmax,
    "_safe_softmax": safe_softmax,
    "log_softmax": log_softmax,
    "_log_softmax": log_softmax,
    "cumsum": cumsum,
    "cumprod": cumprod,
    "topk": topk,
    "sort": sort,
    "argsort": lambda x, *args, **kwargs: sort(x, *args, **kwargs)[1],
    "diff": diff,
    "count_nonzero": lambda x, dim=None: jnp.count_nonzero(x, _axes(dim)),
}
