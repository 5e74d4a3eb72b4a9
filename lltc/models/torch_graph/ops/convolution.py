"""Convolutions, plain and transposed, in one to three dimensions."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

Sizes = int | Sequence[int]


def each(value: Sizes, n: int) -> list[int]:
    """Return a size for each of `n` axes; PyTorch writes one for all."""
    sizes = [value] if isinstance(value, int) else list(value)
    return sizes * n if len(sizes) == 1 else sizes


def convolve(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    n = weight.ndim - 2
    if x.ndim == n + 1:
        return convolve(x[None], weight, bias, stride, padding, dilation, groups)[0]
    dilation = each(dilation, n)
    if isinstance(padding, str):
        total = [
            d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, weight.shape[2:], strict=True)
        ]
        widths = [(whole // 2, whole - whole // 2) for whole in total]
    else:
        widths = [(width, width) for width in each(padding, n)]
    y = lax.conv_general_dilated(
        x, weight, each(stride, n), widths, rhs_dilation=dilation, feature_group_count=groups
    )
    return _biased(y, bias)


def convolve_transposed(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Array:
    n = weight.ndim - 2
    if x.ndim == n + 1:
        return convolve_transposed(x[None], weight, bias, stride, padding, output_padding, groups, dilation)[
            0
        ]
    stride, padding, beyond, dilation = (each(v, n) for v in (stride, padding, output_padding, dilation))
    # From (in, out / groups, …) to (out, in / groups, …), turned round.
    grouped = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    kernel = jnp.swapaxes(grouped, 1, 2).reshape(-1, grouped.shape[1], *grouped.shape[3:])
    kernel = jnp.flip(kernel, tuple(range(2, 2 + n)))
    spans = [d * (k - 1) for d, k in zip(dilation, kernel.shape[2:], strict=True)]
    widths = [(s - p, s - p + b) for s, p, b in zip(spans, padding, beyond, strict=True)]
    y = lax.conv_general_dilated(
        x,
        kernel,
        (1,) * n,
        widths,
        lhs_dilation=stride,
        rhs_dilation=dilation,
        feature_group_count=groups,
    )
    return _biased(y, bias)


def _biased(y: Array, bias: Array | None) -> Array:
    return y if bias is None else y + bias.reshape((-1,) + (1,) * (y.ndim - 2))


def convolution(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
) -> Array:
    if transposed:
        return convolve_transposed(x, weight, bias, stride, padding, output_padding, groups, dilation)
    return convolve(x, weight, bias, stride, padding, dilation, groups)


CONVOLUTION = {
    **{f"conv{n}d": convolve for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": convolve_transposed for n in (1, 2, 3)},
    "convolution": convolution,
}
