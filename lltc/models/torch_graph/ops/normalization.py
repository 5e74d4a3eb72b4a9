"""Layer, RMS, batch, instance and group normalization."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from lltc.errors import InputError
from lltc.models.torch_graph.ops.reductions import wide


def _normalized(x: Array, axes: Sequence[int], eps: float) -> Array:
    x = wide(x)
    centered = x - jnp.mean(x, tuple(axes), keepdims=True)
    return centered * lax.rsqrt(jnp.mean(centered * centered, tuple(axes), keepdims=True) + eps)


def _scaled(x: Array, weight: Array | None, bias: Array | None) -> Array:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _channels(vector: Array, x: Array) -> Array:
    """Return a vector over the channels, axis 1 of `x`, as it broadcasts against `x`."""
    return vector.reshape((1, -1) + (1,) * (x.ndim - 2))


def _scaled_channels(x: Array, weight: Array | None, bias: Array | None) -> Array:
    x = x if weight is None else x * _channels(weight, x)
    return x if bias is None else x + _channels(bias, x)


def layer_norm(
    x: Array,
    shape: Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> Array:
    return _scaled(_normalized(x, range(-len(shape), 0), eps), weight, bias)


def rms_norm(x: Array, shape: Sequence[int], weight: Array | None = None, eps: float | None = None) -> Array:
    x = wide(x)
    eps = float(jnp.finfo(x.dtype).eps) if eps is None else eps
    mean = jnp.mean(x * x, tuple(range(-len(shape), 0)), keepdims=True)
    return _scaled(x * lax.rsqrt(mean + eps), weight, None)


def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array | None,
    var: Array | None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> Array:
    if training or mean is None or var is None:
        raise InputError(
            "batch normalization takes its statistics from the batch, so that examples depend on each other: "
            "let it track running statistics, or use group or layer normalization."
        )
    x, scale = wide(x), lax.rsqrt(wide(var) + eps)
    scale = scale if weight is None else scale * weight
    y = (x - _channels(mean, x)) * _channels(scale, x)
    return _scaled_channels(y, None, bias)


def instance_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array | None,
    var: Array | None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> Array:
    if not use_input_stats:
        return batch_norm(x, weight, bias, mean, var, False, momentum, eps)
    return _scaled_channels(_normalized(x, range(2, x.ndim), eps), weight, bias)


def group_norm(
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> Array:
    y = _normalized(x.reshape(x.shape[0], num_groups, -1), (2,), eps).reshape(x.shape)
    return _scaled_channels(y, weight, bias)


def _first_of_three(y: Array) -> tuple[Array, Any, Any]:
    """The statistics beside it serve only PyTorch's own derivatives."""
    return y, None, None


NORMALIZATION = {
    "layer_norm": layer_norm,
    "native_layer_norm": lambda *args: _first_of_three(layer_norm(*args)),
    "rms_norm": rms_norm,
    "batch_norm": batch_norm,
    "_native_batch_norm_legit_no_training": lambda x, w, b, mean, var, momentum, eps: _first_of_three(
        batch_norm(x, w, b, mean, var, False, momentum, eps)
    ),
    "native_batch_norm": lambda *args: _first_of_three(batch_norm(*args)),
    "instance_norm": instance_norm,
    "group_norm": group_norm,
    "native_group_norm": lambda x, w, b, n, c, hw, groups, eps: _first_of_three(
        group_norm(x, groups, w, b, eps)
    ),
}
