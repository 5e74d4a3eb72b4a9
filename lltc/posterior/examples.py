"""Which examples are followed one by one, and their losses at the chains' positions."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.posterior.arrays import as_indices
from lltc.posterior.data import Data
from lltc.posterior.layout import Center
from lltc.posterior.target import LocalPosterior, Target
from lltc.posterior.weighing import WeightedLoss
from lltc.types import PyTree


class Followed(NamedTuple):
    """Which examples are followed one by one: a fair `sample` of the data, then other `rows` asked for.

    `examples` are indices into the data, `fair` is how many of them, from the first, are the fair sample, and
    `rows` are the positions in `examples` of the kernel's rows.
    """

    examples: np.ndarray
    fair: int
    rows: np.ndarray


def weighed_by(target: Target) -> str | None:
    """Return the option by which L_n is no plain mean of examples' losses, or None."""
    weighed = isinstance(target.model, WeightedLoss)
    return "weights" if weighed else "weight_decay" if target.weight_decay else None


def tells_single(target: Target) -> bool:
    """True where the model gives the losses of single examples, of which L_n is the plain mean."""
    return target.per_example and weighed_by(target) is None


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
    wanted = as_indices("rows", rows, size, "data", empty=True)
    every = np.concatenate([fair, np.setdiff1d(wanted, fair)])
    place = {int(example): at for at, example in enumerate(every)}
    return Followed(every, len(fair), np.array([place[int(row)] for row in wanted], dtype=int))


def _rises_impl(target: Target, center: Center, positions: jax.Array, batch: PyTree) -> jax.Array:
    """Return the losses of `batch` above those at w* `(chain, m)`, differenced an example at a time."""
    base = target.losses_at_center(center, batch)
    return target.each_chain(lambda position: target.losses(center, position, batch) - base, positions)


rises = jax.jit(_rises_impl, static_argnums=0)
