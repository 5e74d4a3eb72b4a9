"""The default strength of the prior around a checkpoint."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.posterior.checks import LARGEST
from lltc.posterior.layout import Center, Layout, center_vector, count_moved

LEAST_LOCALIZATION, SMALLEST_UNIT = 1e-20, 1e-30


def default_localization(layout: Layout, center: Center) -> float:
    """Return γ = d / (½‖w*‖)², or 1 where w* = 0; refuse a w* that leaves no prior."""
    largest, unit, norm = map(float, _center_norm(layout, center))
    if largest == 0:
        return 1.0
    radius = 0.5 * norm * unit
    gamma = count_moved(layout, center) / radius**2 if radius else np.inf
    if not LEAST_LOCALIZATION <= gamma <= LARGEST:
        raise InputError(
            f"localization is not given, and its default d/(½‖w*‖)² would be {gamma:.3g}, as the largest of "
            f"the params that move is {largest:.3g}; hold what is no weight, such as a mask, with restrict, "
            "or pass localization."
        )
    return gamma


@partial(jax.jit, static_argnums=0)
def _center_norm(layout: Layout, center: Center) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the largest of w*, a unit near it, and the norm in that unit, of which no square overflows."""
    vector = center_vector(layout, center)
    largest = jnp.abs(vector).max()
    unit = jnp.clip(largest, SMALLEST_UNIT, 1 / SMALLEST_UNIT)
    return largest, unit, jnp.linalg.norm(vector / unit)
