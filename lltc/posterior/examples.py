"""Which examples are followed one by one, and their losses at the chains' positions."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.posterior.data import Data
from lltc.posterior.layout import Center
from lltc.posterior.target import LocalPosterior, Target
from lltc.types import PyTree


class Followed(NamedTuple):
    """Which examples are followed one by one: a fair `sample` of the data, then other `rows` asked for.

    `examples` are indices into the data, `fair` is how many of them, from the first, are the fair sample, and
    `rows` are the positions in `examples` of the kernel's rows.
    """

    examples: np.ndarray
    fair: int
    rows: np.ndarray


def held_batches(posterior: LocalPosterior, data: Data, rows: np.ndarray) -> tuple[PyTree, ...]:
    """Return the examples `rows` in batches on the device."""
    starts = range(0, len(rows), posterior.block)
    batches = [data.batch(rows[low : low + posterior.block]) for low in starts]
    return tuple(jax.tree.map(jnp.asarray, batch) for batch in batches)


def choose_followed(
    size: int, examples: int, rows: Sequence[int] | Literal["all"], rng: np.random.Generator
) -> Followed:
    """Return which of `size` examples to follow: all, or `examples` at random and the `rows` asked for."""
    fair = np.arange(size)
    if size > examples:
        fair = np.sort(rng.choice(size, examples, replace=False))
    if isinstance(rows, str):
        if rows != "all":
            raise InputError(f"rows must be indices into data or 'all', but {rows!r} was given; pass such.")
        return Followed(fair, len(fair), np.arange(len(fair)))
    wanted = np.asarray(rows, dtype=float)
    if wanted.ndim != 1 or np.any(wanted != np.floor(wanted)) or np.any((wanted < 0) | (wanted >= size)):
        raise InputError(
            f"rows must be a sequence of integers from 0 to {size - 1}, indices into data, but {rows!r} was "
            "given; pass such indices, or 'all'."
        )
    wanted = wanted.astype(int)
    every = np.concatenate([fair, np.setdiff1d(wanted, fair)])
    place = {int(example): at for at, example in enumerate(every)}
    return Followed(every, len(fair), np.array([place[int(row)] for row in wanted], dtype=int))


def _rises_impl(target: Target, center: Center, positions: jax.Array, batch: PyTree) -> jax.Array:
    """Return the losses of `batch` above those at w* `(chain, m)`, differenced an example at a time."""
    base = target.losses_at_center(center, batch)
    return target.each_chain(lambda position: target.losses(center, position, batch) - base, positions)


rises = jax.jit(_rises_impl, static_argnums=0)
