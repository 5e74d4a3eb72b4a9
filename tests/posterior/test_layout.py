"""How params become a vector that moves, and params again."""

import jax.numpy as jnp
import numpy as np
import pytest

from lltc.posterior.layout import center_vector, locate, unflatten


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e5m2"])
def test_coarse_weights_move_in_float32(dtype):
    """A step of a thousandth is lost on a bfloat16 1; the checkpoint's own values stay what they are."""
    values = jnp.array([1.0, -1.5, 0.375]).astype(dtype)
    layout, center = locate({"w": values, "count": jnp.array([3])})
    moved = unflatten(layout, center, jnp.full(3, 1e-3))
    assert moved["w"].dtype == jnp.float32
    np.testing.assert_allclose(moved["w"], np.asarray(values, np.float32) + np.float32(1e-3), rtol=1e-7)
    np.testing.assert_array_equal(center_vector(layout, center), np.asarray(values, np.float32))
    assert moved["count"].dtype == jnp.array([3]).dtype
