"""Activations, number by number, with PyTorch's derivatives at their kinks."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from lltc.errors import InputError


def relu6(x: Array) -> Array:
    return hardtanh(x, 0.0, 6.0)


def hardtanh(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Zero slope at both bounds, as PyTorch has it."""
    inside = (x > min_val) & (x < max_val)
    return jnp.where(inside, x, lax.stop_gradient(jnp.clip(x, min_val, max_val)))


def threshold(x: Array, threshold: float, value: float) -> Array:
    """NaN stays NaN."""
    return jnp.where(x <= threshold, value, x)


def gelu(x: Array, approximate: str = "none") -> Array:
    return jax.nn.gelu(x, approximate=approximate == "tanh")


def softplus(x: Array, beta: float = 1, threshold: float = 20) -> Array:
    linear = x * beta > threshold
    return jnp.where(linear, x, jax.nn.softplus(jnp.where(linear, 0.0, x) * beta) / beta)


def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    return jnp.where(x > 0, x, negative_slope * x)


def rrelu(x: Array, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Array:
    if training:
        raise InputError("rrelu draws its slopes at random: pass self.training to it in the module.")
    return leaky_relu(x, (lower + upper) / 2)


def prelu(x: Array, weight: Array) -> Array:
    if weight.size > 1:
        weight = weight.reshape((1, -1) + (1,) * (x.ndim - 2))
    return jnp.where(x > 0, x, weight * x)


def elu(x: Array, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Array:
    """At 0 it has the slope of below and the curvature of above."""
    below = scale * alpha * jnp.expm1(jnp.where(x < 0, x, 0.0) * input_scale)
    slope = jnp.where(x > 0, scale, scale * alpha * input_scale)
    return jnp.where(x < 0, below, slope * x)


def selu(x: Array) -> Array:
    return elu(x, 1.6732632423543772, 1.0507009873554805)


def celu(x: Array, alpha: float = 1) -> Array:
    return elu(x, alpha, 1.0, 1.0 / alpha)


def mish(x: Array) -> Array:
    return x * jnp.tanh(jax.nn.softplus(x))


def hardsigmoid(x: Array) -> Array:
    return hardtanh(x, -3.0, 3.0) / 6 + 0.5


def hardswish(x: Array) -> Array:
    return jnp.where(x <= -3, 0.0 * x, jnp.where(x < 3, x * (x / 6 + 0.5), x))


def hardshrink(x: Array, lambd: float = 0.5) -> Array:
    return jnp.where(jnp.abs(x) <= lambd, 0.0, x)


def softshrink(x: Array, lambd: float = 0.5) -> Array:
    return jnp.where(x > lambd, x - lambd, jnp.where(x < -lambd, x + lambd, 0.0 * x))


def glu(x: Array, dim: int = -1) -> Array:
    values, gates = jnp.split(x, 2, dim)
    return values * jax.nn.sigmoid(gates)


ACTIVATIONS = {
    "sigmoid": jax.nn.sigmoid,
    "log_sigmoid": jax.nn.log_sigmoid,
    "softplus": softplus,
    "relu": jax.nn.relu,
    "relu6": relu6,
    "silu": jax.nn.silu,
    "gelu": gelu,
    "mish": mish,
    "elu": elu,
    "selu": selu,
    "celu": celu,
    "glu": glu,
    "leaky_relu": leaky_relu,
    "prelu": prelu,
    "_prelu_kernel": lambda x, weight: jnp.where(x > 0, x, weight * x),
    "rrelu": rrelu,
    "hardtanh": hardtanh,
    "hardsigmoid": hardsigmoid,
    "hardswish": hardswish,
    "hardshrink": hardshrink,
    "softshrink": softshrink,
    "softsign": jax.nn.soft_sign,
    "threshold": threshold,
}
