"""Batches evaluated a few examples at a time, so that memory does not grow with the batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lltc.types import PyTree


class Turns(NamedTuple):
    """A batch cut up: `rows` `(turn, example, …)`, and what each loss weighs in their mean `(turn, loss)`."""

    rows: PyTree
    weights: jax.Array


def cut(batch: PyTree, size: int | None, *, per_example: bool) -> Turns | None:
    """Return `batch` in turns of up to `size` examples, or None where one turn is enough.

    Of losses an example the last turn is filled up with the first example, at no weight. A mean over a batch
    is one over turns of equal numbers of each half of the batch, which must divide it.

    Example:
        >>> cut(jnp.arange(5.0), 2, per_example=True).rows.tolist()
        [[0.0, 1.0], [2.0, 3.0], [4.0, 0.0]]
        >>> cut(jnp.arange(8.0), 4, per_example=False).rows.tolist()
        [[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]
    """
    count = jax.tree.leaves(batch)[0].shape[0]
    # A mean over an odd number of examples has no halves, and none of its examples may be left out.
    if size is None or count <= size or (count % 2 and not per_example):
        return None
    if per_example:
        turns = -(-count // size)
        order = jnp.where((place := jnp.arange(turns * size)) < count, place, 0).reshape(turns, size)
        weights = jnp.where(place < count, 1.0 / count, 0.0).reshape(turns, size)
    else:
        half = count // 2
        piece = max(part for part in range(1, max(size // 2, 1) + 1) if half % part == 0)
        turns = half // piece
        order = jnp.arange(2 * half).reshape(2, turns, piece).swapaxes(0, 1).reshape(turns, 2 * piece)
        weights = jnp.full((turns, 2), 0.5 / turns)
    return Turns(jax.tree.map(lambda a: a[order], batch), weights)


def joined(losses: jax.Array, count: int, *, per_example: bool) -> jax.Array:
    """Return the losses `(turn, loss)` of all turns as those of the batch of `count` examples."""
    return losses.reshape(-1)[:count] if per_example else losses.mean(0)


def add_up(
    function: Callable[[PyTree, jax.Array], tuple[Any, jax.Array]], turns: Turns, zero: Any
) -> tuple[Any, jax.Array]:
    """Return the sum over turns of the first, and `(turn, …)` of the second that `function` returns."""

    def take(total: Any, turn: Turns) -> tuple[Any, jax.Array]:
        more, losses = function(*turn)
        return jax.tree.map(jnp.add, total, more), losses

    return jax.lax.scan(take, zero, turns)
