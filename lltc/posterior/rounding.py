"""How finely a loss computes, told from its program."""

from functools import partial

import jax
import jax.numpy as jnp

from lltc.posterior.layout import Center
from lltc.posterior.target import Target
from lltc.types import PyTree

ROUNDED = 2.0**-10
COARSE = {
    "bf16": jnp.bfloat16,
    "f16": jnp.float16,
    "f8_e4m3fn": jnp.float8_e4m3fn,
    "f8_e5m2": jnp.float8_e5m2,
}


def rounding_of(target: Target, center: Center, batch: PyTree) -> float:
    """Return the relative rounding of the coarsest floating-point numbers that the loss computes with.

    Off the CPU products of float32 matrices are rounded to ten bits, unless a precision is set.
    """
    program = str(jax.make_jaxpr(partial(target.losses_at_center, center))(batch))
    coarse = [float(jnp.finfo(dtype).eps) for name, dtype in COARSE.items() if f"{name}[" in program]
    multiplies = "dot_general" in program or "conv_general" in program
    if jax.default_backend() != "cpu" and multiplies and jax.config.jax_default_matmul_precision is None:
        coarse.append(ROUNDED)
    return max([float(jnp.finfo(target.layout.dtype).eps), *coarse])
