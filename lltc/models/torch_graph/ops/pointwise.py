"""Number by number: arithmetic, comparisons, logic, activations, with PyTorch's derivatives where they tie.

Where a function has a kink, JAX and PyTorch may choose different derivatives at it. Networks do stand on
their kinks (a dead unit, a clipped weight), so these choose as PyTorch does.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from lltc.errors import InputError


def add(x: Array, y: Array, alpha: float = 1) -> Array:
    return x + (y if alpha == 1 else alpha * y)


def sub(x: Array, y: Array, alpha: float = 1) -> Array:
    return x - (y if alpha == 1 else alpha * y)


def rsub(x: Array, y: Array, alpha: float = 1) -> Array:
    return sub(y, x, alpha)


def mul(x: Array, y: Array) -> Array:
    return jnp.multiply(x, y)


def div(x: Array, y: Array, rounding_mode: str | None = None) -> Array:
    if rounding_mode == "floor":
        return jnp.floor_divide(x, y)
    if rounding_mode == "trunc":
        # A quotient of large integers does not fit a float.
        whole = not any(jnp.issubdtype(jnp.result_type(z), jnp.inexact) for z in (x, y))
        return lax.div(*jnp.broadcast_arrays(*_alike(x, y))) if whole else jnp.trunc(jnp.divide(x, y))
    return jnp.divide(x, y)


def _alike(x: Array, y: Array) -> tuple[Array, Array]:
    kind = jnp.result_type(x, y)
    return jnp.asarray(x, kind), jnp.asarray(y, kind)


def power(x: Array, y: Array) -> Array:
    if isinstance(y, int | float) and float(y).is_integer() and _is_inexact(x):
        return lax.integer_pow(x, int(y))
    return jnp.power(x, y)


def _is_inexact(x: Array) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact)


def absolute(x: Array) -> Array:
    """Zero slope at 0, where `jnp.abs` has 1."""
    if jnp.iscomplexobj(x):
        return jnp.where(x == 0, 0.0, jnp.abs(jnp.where(x == 0, 1.0, x)))
    return x * jnp.sign(x) if _is_inexact(x) else jnp.abs(x)


def relu6(x: Array) -> Array:
    return hardtanh(x, 0.0, 6.0)


def hardtanh(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Zero slope at both bounds, as PyTorch has it."""
    inside = (x > min_val) & (x < max_val)
    return jnp.where(inside, x, lax.stop_gradient(jnp.clip(x, min_val, max_val)))


def clamp(x: Array, min: Array | float | None = None, max: Array | float | None = None) -> Array:
    """Slope 1 at both bounds, where `jnp.clip` has 1/2."""
    x = x if min is None else jnp.where(x < min, min, x)
    return x if max is None else jnp.where(x > max, max, x)


def clamp_min(x: Array, min: Array) -> Array:
    return clamp(x, min=min)


def clamp_max(x: Array, max: Array) -> Array:
    return clamp(x, max=max)


def threshold(x: Array, threshold: float, value: float) -> Array:
    return jnp.where(x > threshold, x, value)


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


def where(condition: Array, x: Array, y: Array) -> Array:
    return jnp.where(condition, x, y)


def masked_fill(x: Array, mask: Array, value: Array) -> Array:
    return jnp.where(mask, jnp.asarray(value, x.dtype), x)


def lerp(start: Array, end: Array, weight: Array) -> Array:
    return start + weight * (end - start)


def addcmul(x: Array, y: Array, z: Array, value: float = 1) -> Array:
    return x + value * y * z


def addcdiv(x: Array, y: Array, z: Array, value: float = 1) -> Array:
    return x + value * y / z


def nan_to_num(
    x: Array, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Array:
    return jnp.nan_to_num(x, nan=nan or 0.0, posinf=posinf, neginf=neginf)


def logit(x: Array, eps: float | None = None) -> Array:
    return jax.scipy.special.logit(x if eps is None else clamp(x, eps, 1 - eps))


def remainder(x: Array, y: Array) -> Array:
    return jnp.remainder(x, y)


def xlogy(x: Array, y: Array) -> Array:
    return jax.scipy.special.xlogy(x, y)


_SAME_NAME = (
    "acos acosh asin asinh atan atanh bitwise_and bitwise_not bitwise_or bitwise_xor ceil conj cos cosh "
    "exp exp2 expm1 float_power floor floor_divide fmax fmin fmod hypot imag isfinite isinf isnan log "
    "log10 log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor maximum minimum "
    "real round sign sin sinh sqrt square tan tanh trunc angle sinc"
)
_OTHER_NAME = {
    "neg": "negative",
    "positive": "positive",
    "atan2": "arctan2",
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "__and__": "bitwise_and",
    "__or__": "bitwise_or",
    "__xor__": "bitwise_xor",
    "__lshift__": "left_shift",
    "__rshift__": "right_shift",
    "sgn": "sign",
    "_conj": "conj",
}

POINTWISE = {
    **{name: getattr(jnp, name) for name in _SAME_NAME.split()},
    **{name: getattr(jnp, theirs) for name, theirs in _OTHER_NAME.items()},
    "abs": absolute,
    "add": add,
    "sub": sub,
    "rsub": rsub,
    "mul": mul,
    "div": div,
    "true_divide": div,
    "pow": power,
    "remainder": remainder,
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lax.rsqrt,
    "erf": jax.scipy.special.erf,
    "erfc": jax.scipy.special.erfc,
    "erfinv": jax.scipy.special.erfinv,
    "special_log_ndtr": jax.scipy.special.log_ndtr,
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
    "clamp": clamp,
    "clip": clamp,
    "clamp_min": clamp_min,
    "clamp_max": clamp_max,
    "where": where,
    "masked_fill": masked_fill,
    "lerp": lerp,
    "addcmul": addcmul,
    "addcdiv": addcdiv,
    "nan_to_num": nan_to_num,
    "logit": logit,
    "special_logit": logit,
    "xlogy": xlogy,
    "special_xlogy": xlogy,
    "complex": lax.complex,
    "polar": lambda size, angle: lax.complex(size * jnp.cos(angle), size * jnp.sin(angle)),
}
