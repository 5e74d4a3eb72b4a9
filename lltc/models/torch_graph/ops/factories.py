"""Arrays made from nothing but sizes and numbers; their types are those the graph records."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def full(size: Sequence[int], value: float, **_: Any) -> Array:
    return jnp.full(tuple(size), value)


def zeros(size: Sequence[int], **_: Any) -> Array:
    return jnp.zeros(tuple(size))


def ones(size: Sequence[int], **_: Any) -> Array:
    return jnp.ones(tuple(size))


def filled(x: Array, value: Array | float, **_: Any) -> Array:
    return jnp.full(x.shape, value)


FACTORIES = {
    "arange": lambda *bounds, **_: jnp.arange(*bounds[:3]),
    "linspace": lambda start, end, steps, **_: jnp.linspace(start, end, steps),
    "logspace": lambda start, end, steps, base=10.0, **_: jnp.logspace(start, end, steps, base=base),
    "eye": lambda rows, columns=None, **_: jnp.eye(rows, columns),
    "scalar_tensor": lambda value, **_: jnp.asarray(value),
    "full": full,
    "zeros": zeros,
    "ones": ones,
    "new_full": lambda x, size, value, **_: full(size, value),
    "new_zeros": lambda x, size, **_: zeros(size),
    "new_ones": lambda x, size, **_: ones(size),
    "full_like": filled,
    "zeros_like": lambda x, **_: filled(x, 0),
    "ones_like": lambda x, **_: filled(x, 1),
    "fill": filled,
    "one_hot": lambda x, num_classes: jax.nn.one_hot(x, num_classes),
    "tril_indices": lambda rows, columns, offset=0, **_: jnp.stack(jnp.tril_indices(rows, offset, columns)),
    "triu_indices": lambda rows, columns, offset=0, **_: jnp.stack(jnp.triu_indices(rows, offset, columns)),
}
