"""Number by number: arithmetic, comparisons, logic, with PyTorch's derivatives where they tie.

Where a function has a kink, JAX and PyTorch may choose different derivatives at it. Networks do stand on
their kinks (a dead unit, a clipped weight), so these choose as PyTorch does.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax


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


def clamp(x: Array, min: Array | float | None = None, max: Array | float | None = None) -> Array:
    """Slope 1 at both bounds, where `jnp.clip` has 1/2."""
    x = x if min is None else jnp.where(x < min, min, x)
    return x if max is None else jnp.where(x > max, max, x)


def fmax(x: Array, y: Array) -> Array:
    """Where both are equal, the first has the whole slope."""
    return jnp.where((x >= y) | jnp.isnan(y), x, y)


def fmin(x: Array, y: Array) -> Array:
    """Where both are equal, the first has the whole slope."""
    return jnp.where((x <= y) | jnp.isnan(y), x, y)


def clamp_min(x: Array, min: Array) -> Array:
    return clamp(x, min=min)


def clamp_max(x: Array, max: Array) -> Array:
    return clamp(x, max=max)


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
    "exp exp2 expm1 float_power floor floor_divide fmod hypot imag isfinite isinf isnan log "
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
    "fmax": fmax,
    "fmin": fmin,
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
