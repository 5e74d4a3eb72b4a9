"""Where randomness comes from: one key a run, and a stream of its own for every use."""

from enum import IntEnum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError, shown


class RandomStream(IntEnum):
    """What a run draws at random. Streams are independent, and what one gives does not depend on another."""

    start = 0
    batches = 1
    steps = 2
    warmup = 3
    looks = 4
    anchor = 5
    readings = 6
    directions = 7
    inspection = 8
    whitening = 9
    prior = 10
    ladder = 11


def as_key(key: jax.Array | int) -> jax.Array:
    """Return a JAX key made from an int of 64 bits, or the key itself; refuse what is neither."""
    if isinstance(key, int | np.integer) and not isinstance(key, bool) and -(2**63) <= key < 2**63:
        return jax.random.key(key)
    if isinstance(key, jax.Array):
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        if key.shape == () if typed else (key.shape, key.dtype) == (jax.random.PRNGKey(0).shape, jnp.uint32):
            return key
    raise InputError(
        f"key must be an integer of 64 bits or one JAX key, but {shown(key)} was given; pass such as 0 "
        "or jax.random.key(0)."
    )


def substream(key: jax.Array, stream: RandomStream) -> jax.Array:
    """Return the key of one stream of a run."""
    return jax.random.fold_in(key, int(stream))


def as_seed(key: jax.Array, stream: RandomStream) -> int:
    """Return a seed for NumPy from one stream of a run."""
    return int(jax.random.randint(substream(key, stream), (), 0, 2**31 - 1, jnp.int32))


def as_rng(key: Any) -> np.random.Generator:
    """Return NumPy's random numbers of an integer key, or refuse it.

    Example:
        >>> int(as_rng(0).integers(10))
        8
    """
    whole = isinstance(key, int | np.integer) and not isinstance(key, bool)
    if not whole or key < 0:
        raise InputError(f"key must be an integer ≥ 0, but {shown(key)} was given; pass such as 0.")
    return np.random.default_rng(int(key))
