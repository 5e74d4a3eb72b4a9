"""The default strength of the prior around a checkpoint."""

from functools import partial

import jax
import jax.numpy as jnp

from lltc.errors import InputError
from lltc.posterior.checks import LARGEST
from lltc.posterior.layout import Center, Layout, center_vector, count_moved

LEAST_LOCALIZATION = 1e-20


def default_localization(layout: Layout, center: Center) -> float:
    """Return γ = d / (½‖w*‖)², or 1 where w* = 0; refuse a w* that leaves no prior."""
    largest, norm = map(float, _center_norm(layout, center))
    if largest == 0:
        return 1.0
    gamma = count_moved(layout, center) / (0.5 * norm * largest) ** 2
    if not LEAST_LOCALIZATION <= gamma <= LARGEST:
        raise InputError(
            f"localization is not given, and its default d/(½‖w*‖)² would be {gamma:.3g}, as the largest of "
            f"the params that move is {largest:.3g}; hold what is no weight, such as a mask, with restrict, "
            "or pass localization."
        )
    return gamma


@partial(jax.jit, static_argnums=0)
def _center_norm(layout: Layout, center: Center) -> tuple[jax.Array, jax.Array]:
    """Return the largest of w*, and the norm in units of it, which no square overflows."""
    vector = center_vector(layout, center)
    largest = jnp.abs(vector).max()
    return largest, jnp.linalg.norm(vector / jnp.where(largest > 0, largest, 1))
