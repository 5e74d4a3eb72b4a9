"""Functions of params recorded along the chains."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lltc.errors import InputError, first_line, shown
from lltc.posterior.layout import Center, assemble, center_leaves, unflatten
from lltc.posterior.target import Target
from lltc.types import PyTree

NamedObservables = tuple[tuple[str, Callable[[PyTree], jax.Array]], ...]


def record_observables(
    target: Target,
    center: Center,
    observables: NamedObservables,
    positions: jax.Array,
    buffers: dict,
    row: jax.Array,
) -> dict:
    """Return `buffers` with the observables of chains at `positions` `(chain, d)` in one `row`."""
    params = jax.vmap(lambda position: unflatten(target.layout, center, position))(positions)
    return {name: buffers[name].at[row].set(jax.vmap(function)(params)) for name, function in observables}


def empty_observations(
    target: Target, center: Center, observables: NamedObservables, rows: int, chains: int
) -> dict:
    """Return room `(row, chain, …)` for every observable."""
    params = assemble(target.layout, center, center_leaves(target.layout, center))
    shapes = {name: _shape_of(name, function, params) for name, function in observables}
    return {name: jnp.zeros((rows, chains, *shape.shape), shape.dtype) for name, shape in shapes.items()}


def _shape_of(name: str, function: Callable[[PyTree], jax.Array], params: PyTree) -> jax.ShapeDtypeStruct:
    """Return the shape and type of an observable; refuse one that is no array of numbers."""
    try:
        shape = jax.eval_shape(function, params)
    except Exception as error:  # The function is the user's: it may fail in any way.
        raise InputError(
            f"observables[{name!r}] failed on params ({type(error).__name__}: {first_line(error)}); it must "
            "take params and return an array of numbers, with jax.numpy only."
        ) from error
    if not hasattr(shape, "dtype") or jnp.issubdtype(shape.dtype, jax.dtypes.extended):
        raise InputError(
            f"observables[{name!r}] returned {shown(shape)}, but must return one array of numbers; split "
            "it into several observables."
        )
    return shape
