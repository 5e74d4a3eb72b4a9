"""Reading losses at the chains' positions: of a data set, with one component moved, of single examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.gradients import at_center, half_means, measure_anchor
from lltc.chains.streams import RandomStream, as_seed
from lltc.diagnostics.covariances import Stream
from lltc.errors import InputError
from lltc.posterior.checks import check_model
from lltc.posterior.data import Data, as_data
from lltc.posterior.examples import (
    Followed,
    _rises_impl,
    choose_followed,
    held_batches,
    rises,
    tells_single,
    weighed_by,
)
from lltc.posterior.layout import Center
from lltc.posterior.target import LocalPosterior, Target
from lltc.types import PyTree


class Readings(NamedTuple):
    """What was read at every 16th draw, two half batches each (alike where the data were read in full).

    `loss` `(chain, draw, half)` is L_n(w) - L_n(w*), `phi` `(component, chain, draw, half)` is φ_C, and
    `slices` `(slice, chain, draw, half)` is L_slice(w) - L_slice(w*).
    """

    loss: np.ndarray
    phi: np.ndarray
    slices: np.ndarray


@dataclass(frozen=True)
class Reader:
    """Reads L(w) - L(w*), the mean over `data`, at the chains' positions.

    Up to `examples` examples are all read, from the batches `held`, and both halves of a reading are the
    whole. Of more, each reading draws two independent halves at random, so that covariances of one with the
    other are free of minibatch noise; the linear part of that noise is taken out by `gradient`, ∇L(w*) over
    all the data.
    """

    posterior: LocalPosterior
    data: Data
    examples: int
    seed: tuple[int, int]
    held: tuple[PyTree, ...]
    gradient: jax.Array

    @property
    def in_full(self) -> bool:
        """True when every example is read."""
        return bool(self.held)

    def __call__(self, masks: jax.Array, positions: jax.Array, number: int) -> np.ndarray:
        """Return `(mask, chain, 2)` with only `masks` `(mask, d)` moved; `number` sets which are drawn."""
        target, center = self.posterior.target, self.posterior.center
        if self.in_full:
            read = partial(_summed, target, center, masks, positions)
            total = np.sum([np.asarray(read(batch), np.float64) for batch in self.held], 0)
            return np.repeat((total / self.data.size)[..., None], 2, -1)
        rng = np.random.default_rng((*self.seed, number))
        block = 2 * max(min(self.posterior.batch_size, self.examples) // 2, 1)
        batches = rng.integers(self.data.size, size=(-(-self.examples // block), block))
        read = partial(_halved, target, center, self.gradient, masks, positions)
        return np.mean([np.asarray(read(self.data.batch(rows)), np.float64) for rows in batches], 0)


def make_reader(posterior: LocalPosterior, data: Data, *, examples: int, seed: tuple[int, int]) -> Reader:
    """Return a reader of `data`; ∇L(w*) is measured where only part of it is read at a time."""
    nothing = jnp.zeros(posterior.num_params, posterior.dtype)
    if data.size <= examples:
        return Reader(
            posterior, data, examples, seed, held_batches(posterior, data, np.arange(data.size)), nothing
        )
    gradient = measure_anchor(replace(posterior, data=data)).gradient
    return Reader(posterior, data, examples, seed, (), gradient)


class Observer:
    """Reads at every call what the susceptibilities are made of: series in `seen`, examples in `stream`.

    `masks` `(component, d)` are the components, `readers` those of the data and of each slice.
    """

    def __init__(
        self, posterior: LocalPosterior, masks: jax.Array, readers: list[Reader], followed: Followed
    ):
        self.posterior, self.masks, self.followed = posterior, masks, followed
        self.main, self.others = readers[0], readers[1:]
        self.whole = jnp.ones((1, posterior.num_params), bool)
        self.held = held_batches(posterior, posterior.data, followed.examples)
        self.seen: list[np.ndarray] = []
        self.stream: Stream | None = None

    def __call__(self, positions: jax.Array) -> None:
        """Read the chains at `positions` `(chain, d)`."""
        number, posterior = len(self.seen), self.posterior
        each = None
        if tells_single(posterior.target):
            read = partial(rises, posterior.target, posterior.center, positions)
            each = np.concatenate([np.asarray(read(batch), np.float64) for batch in self.held], -1)
        if each is not None and self.main.in_full:
            loss = np.repeat(each.mean(-1)[None, :, None], 2, -1)
        else:
            loss = self.main(self.whole, positions, number)
        phi = posterior.nbeta * self.main(self.masks, positions, number)
        slices = [reader(self.whole, positions, number) for reader in self.others]
        self.seen.append(np.concatenate([loss, phi, *slices]))
        if each is None:
            return
        query = np.concatenate([self.seen[-1].mean(-1), each[:, self.followed.rows].T])
        self.stream = self.stream or Stream(len(query), *each.shape)
        self.stream.add(each, query)

    def readings(self) -> Readings:
        """Return the series read so far."""
        components = len(self.masks)
        series = (
            np.stack(self.seen, 2) if self.seen else np.zeros((1 + components + len(self.others), 1, 0, 2))
        )
        return Readings(series[0], series[1 : 1 + components], series[1 + components :])


def check_slices(slices: Any) -> Mapping[str, PyTree | Data]:
    """Return data sets by name, or refuse what has no names."""
    if not isinstance(slices, Mapping):
        raise InputError(
            f"slices must map names to data sets, but a {type(slices).__name__} was given; pass such as "
            "{'rare': data}."
        )
    return slices


def make_observer(
    posterior: LocalPosterior,
    params: PyTree,
    masks: list[np.ndarray],
    slices: Mapping[str, PyTree | Data],
    rows: Sequence[int] | Literal["all"],
    examples: int,
    key: jax.Array,
) -> Observer:
    """Return an observer of components `masks`, `slices` and `rows`; refuse what cannot be read."""
    if not isinstance(examples, int | np.integer) or examples < 2:
        raise InputError(f"examples must be an integer of at least 2, but {examples!r} was given; raise it.")
    seed = as_seed(key, RandomStream.readings)
    followed = choose_followed(posterior.data.size, examples, rows, np.random.default_rng(seed))
    if len(followed.rows) and not tells_single(posterior.target):
        option = weighed_by(posterior.target)
        what = f"L_n is no plain mean of them under {option}" if option else "model returns their mean"
        advice = f"leave {option}" if option else "let it return losses of shape (batch,), or leave rows"
        raise InputError(f"rows={rows!r} asks for losses of single examples, but {what}; {advice} out.")
    sets = [posterior.data, *(_checked(posterior, params, name, values) for name, values in slices.items())]
    readers = [
        make_reader(posterior, some, examples=examples, seed=(seed, at)) for at, some in enumerate(sets)
    ]
    stacked = np.reshape(masks, (len(masks), posterior.num_params)).astype(bool)
    return Observer(posterior, jnp.asarray(stacked), readers, followed)


def _checked(posterior: LocalPosterior, params: PyTree, name: str, values: PyTree | Data) -> Data:
    """Return one slice as data that the model takes."""
    try:
        data = as_data(values)
        check_model(posterior.target.model, params, data, posterior.batch_size)
    except InputError as error:
        raise InputError(f"slices[{name!r}] cannot be used: {error}") from error
    return data


@partial(jax.jit, static_argnums=0)
def _summed(
    target: Target, center: Center, masks: jax.Array, positions: jax.Array, batch: PyTree
) -> jax.Array:
    """Return the sum of the rises over `batch` `(mask, chain)`, each mask alone moved."""
    size = jax.tree.leaves(batch)[0].shape[0]

    def one(mask: jax.Array) -> jax.Array:
        moved = jnp.where(mask, positions, 0.0)
        return size * _rises_impl(target, center, moved, batch).mean(-1)

    return jax.lax.map(one, masks)


@partial(jax.jit, static_argnums=0)
def _halved(
    target: Target, center: Center, gradient: jax.Array, masks: jax.Array, positions: jax.Array, batch: PyTree
) -> jax.Array:
    """Return the mean rises of two halves of `batch` `(mask, chain, 2)`, their linear part over all data."""
    size = jax.tree.leaves(batch)[0].shape[0]
    halves = jax.tree.map(lambda a: jnp.stack([a[: size // 2], a[size - size // 2 :]]), batch)
    slopes = jax.lax.map(lambda half: at_center(target, center, half)[1], halves)

    def one(mask: jax.Array) -> jax.Array:
        displacement = jnp.where(mask, positions, 0.0)
        risen = half_means(_rises_impl(target, center, displacement, batch))
        return risen - displacement @ (slopes - gradient).T

    return jax.lax.map(one, masks)
