"""Pooling over windows and over shares of an axis, and resizing."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from lltc.models.torch_graph.ops.convolution import Sizes, each


class Windows(NamedTuple):
    """The windows of a pooling over the last axes, as `lax.reduce_window` takes them, axis by axis."""

    lengths: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    def over(self, ndim: int) -> "Windows":
        """Return the same windows on arrays with more axes in front."""
        lead = ndim - len(self.lengths)
        one = (1,) * lead
        return Windows(
            one + self.lengths, one + self.strides, ((0, 0),) * lead + self.padding, one + self.dilation
        )


def _windows(
    x: Array, n: int, kernel: Sizes, stride: Any, padding: Sizes, ceil: bool, dilation: Sizes
) -> Windows:
    kernel, padding, dilation = each(kernel, n), each(padding, n), each(dilation, n)
    strides = kernel if stride is None or stride == [] else each(stride, n)
    beyond = []
    for length, k, p, s, d in zip(x.shape[-n:], kernel, padding, strides, dilation, strict=True):
        span = d * (k - 1) + 1
        count = (length + 2 * p - span + (s - 1 if ceil else 0)) // s + 1
        if ceil and (count - 1) * s >= length + p:
            count -= 1
        beyond.append(max(0, (count - 1) * s + span - length - 2 * p))
    widths = tuple((p, p + b) for p, b in zip(padding, beyond, strict=True))
    return Windows(tuple(kernel), tuple(strides), widths, tuple(dilation))


def _max_pool(n: int) -> Callable[..., Array]:
    def max_pool(
        x: Array,
        kernel_size: Sizes,
        stride: Any = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
    ) -> Array:
        w = _windows(x, n, kernel_size, stride, padding, ceil_mode, dilation).over(x.ndim)
        least = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
        return lax.reduce_window(
            x, least, lax.max, w.lengths, w.strides, w.padding, window_dilation=w.dilation
        )

    return max_pool


def _avg_pool(n: int) -> Callable[..., Array]:
    def avg_pool(
        x: Array,
        kernel_size: Sizes,
        stride: Any = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Array:
        w = _windows(x, n, kernel_size, stride, padding, ceil_mode, 1)
        wide = w.over(x.ndim)
        total = lax.reduce_window(x, 0.0, lax.add, wide.lengths, wide.strides, wide.padding)
        if divisor_override:
            return total / divisor_override
        if count_include_pad and not ceil_mode:
            return total / math.prod(w.lengths)
        return total / _counts(x.shape[-n:], w, count_include_pad).astype(x.dtype)

    return avg_pool


def _counts(shape: Sequence[int], w: Windows, count_include_pad: bool) -> Array:
    """Return how many entries each window averages; what lies beyond the padding never counts."""
    ones, padding = np.ones(shape, np.float32), w.padding
    if count_include_pad:
        ones = np.pad(ones, [(low, low) for low, _ in padding], constant_values=1)
        padding = tuple((0, high - low) for low, high in padding)
    return lax.reduce_window(jnp.asarray(ones), 0.0, lax.add, w.lengths, w.strides, padding)


def _adaptive(reduce: Callable[..., Array], n: int) -> Callable[..., Array]:
    def pool(x: Array, output_size: Sizes) -> Array:
        for axis, count in zip(range(x.ndim - n, x.ndim), each(output_size, n), strict=True):
            x = _share_out(reduce, x, axis, x.shape[axis] if count is None else count)
        return x

    return pool


def _share_out(reduce: Callable[..., Array], x: Array, axis: int, count: int) -> Array:
    length = x.shape[axis]
    if length % count == 0:
        return reduce(x.reshape(*x.shape[:axis], count, length // count, *x.shape[axis + 1 :]), axis=axis + 1)
    bounds = [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]
    return jnp.stack([reduce(lax.slice_in_dim(x, *bound, axis=axis), axis=axis) for bound in bounds], axis)


def _with_places(pool: Callable[..., Array]) -> Callable[..., tuple[Array, None]]:
    """The places of the maxima serve only PyTorch's own derivatives and unpooling."""
    return lambda *args, **kwargs: (pool(*args, **kwargs), None)


def _resize(n: int, along: Callable[..., Array], *, aligns: bool) -> Callable[..., Array]:
    """Return PyTorch's `upsample_*`, one axis after the other; only some align corners."""

    def resize(x: Array, output_size: Any, *options: Any, **named: Any) -> Array:
        align, scales = _options(options, named, n, aligns=aligns)
        lengths = x.shape[-n:]
        if output_size is None:
            output_size = [math.floor(length * scale) for length, scale in zip(lengths, scales, strict=True)]
        for axis, count, scale in zip(range(x.ndim - n, x.ndim), output_size, scales, strict=True):
            x = along(x, axis, count, 1 / scale if scale else x.shape[axis] / count, align)
        return x

    return resize


def _options(
    options: Sequence[Any], named: dict[str, Any], n: int, *, aligns: bool
) -> tuple[bool, list[Any]]:
    given = list(options)
    align = bool(given.pop(0)) if aligns and given else bool(named.get("align_corners", False))
    scales = given[0] if len(given) == 1 and isinstance(given[0], list) else given
    scales = named.get("scale_factors") or scales
    single = [named[name] for name in ("scales", "scales_d", "scales_h", "scales_w") if name in named]
    scales = [scale for scale in [*scales, *single] if not isinstance(scale, list)]
    return align, scales if len(scales) == n else [None] * n


def _nearest(middle: float) -> Callable[..., Array]:
    """Return what looks up the entry at a share of each result, counted in 32 bits as PyTorch does."""

    def nearest(x: Array, axis: int, count: int, ratio: float, align: bool) -> Array:
        sources = (np.arange(count, dtype=np.float32) + np.float32(middle)) * np.float32(ratio)
        return jnp.take(x, np.minimum(np.floor(sources).astype(int), x.shape[axis] - 1), axis)

    return nearest


def _interpolated(x: Array, axis: int, count: int, ratio: float, align: bool) -> Array:
    length = x.shape[axis]
    if align:
        source = np.arange(count) * ((length - 1) / (count - 1) if count > 1 else 0.0)
    else:
        source = np.maximum((np.arange(count) + 0.5) * ratio - 0.5, 0.0)
    low = np.minimum(np.floor(source).astype(int), length - 1)
    shape = [-1 if at == axis else 1 for at in range(x.ndim)]
    share = jnp.asarray((source - low).reshape(shape), x.dtype)
    return jnp.take(x, low, axis) * (1 - share) + jnp.take(x, np.minimum(low + 1, length - 1), axis) * share


_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}

POOLING = {
    **{f"max_pool{n}d": _max_pool(n) for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": _with_places(_max_pool(n)) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _avg_pool(n) for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": _adaptive(jnp.mean, n) for n in (1, 2, 3)},
    **{f"_adaptive_avg_pool{n}d": _adaptive(jnp.mean, n) for n in (2, 3)},
    **{f"adaptive_max_pool{n}d": _with_places(_adaptive(jnp.max, n)) for n in (1, 2, 3)},
    **{f"upsample_nearest{n}d": _resize(n, _nearest(0.0), aligns=False) for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": _resize(n, _nearest(0.5), aligns=False) for n in (1, 2, 3)},
    **{f"upsample_{_LINEAR[n]}{n}d": _resize(n, _interpolated, aligns=True) for n in (1, 2, 3)},
}
