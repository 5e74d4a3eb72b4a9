"""Steps of all chains, looped inside one compiled program, and what is recorded of each."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lltc.chains.gradients import Anchor, Slope, anchored_slope, full_slope
from lltc.chains.observables import empty_observations, record_observables
from lltc.chains.rotation import Rotation, turn, turn_back
from lltc.chains.streams import RandomStream, substream
from lltc.kernels import Kernel, Tuning
from lltc.posterior.layout import Center
from lltc.posterior.target import Target
from lltc.types import PyTree

CHUNK = 256
OBSERVE_EVERY = 16
LARGE = 1 << 16


class Settings(NamedTuple):
    """What a step needs beside the state: nβ of each chain `(chain,)`, γ, and the kernel's tuning.

    Step size and memory are `(chain, 1)`: chains at different nβ need their own. The kernel moves in z, where
    w - w* = Q z with the `rotation` Q; positions are w - w* everywhere but in its state.
    """

    nbeta: jax.Array
    localization: jax.Array
    tuning: Tuning
    rotation: Rotation | None = None


class Draws(NamedTuple):
    """What is recorded of each draw, draws first inside a chunk and `(chain, draw)` in a `Trace`.

    `energy` `(…, 2)` is L - L(w*) on two disjoint half batches, `distance` is ‖w - w*‖², `virial` is
    (w - w*)·∇L, `tilt` is (w - w*)·∇L_n(w*), `slip` the same of the anchor's doubt, `control` the zero-mean
    linear part of the energy's minibatch noise, `accepted` is 1 where the move was made and 0 where it was
    refused.
    """

    energy: Any
    distance: Any
    virial: Any
    tilt: Any
    slip: Any
    control: Any
    accepted: Any


class Batches(NamedTuple):
    """The batches of several steps, read from the host: `rows` `(step, example, …)`."""

    rows: PyTree


class Program(NamedTuple):
    """What a compiled loop of steps is made for; hashable.

    `batch_size` is None where every step sees all the data.
    """

    target: Target
    kernel: Kernel
    batch_size: int | None
    observables: tuple[tuple[str, Callable[[PyTree], jax.Array]], ...]


class Origin(NamedTuple):
    """What every step of a run refers to: the key of its randomness, w*, and what is known there."""

    key: jax.Array
    center: Center
    anchor: Anchor


@partial(jax.jit, static_argnums=(2, 3))
def batch_indices(key: jax.Array, numbers: jax.Array, batch_size: int, size: int) -> jax.Array:
    """Return which of the `size` examples each of the steps `numbers` sees, `(step, batch_size)`."""
    return jax.vmap(lambda number: _draw_indices(key, number, batch_size, size))(numbers)


def _draw_indices(key: jax.Array, number: jax.Array, batch_size: int, size: int) -> jax.Array:
    key = jax.random.fold_in(substream(key, RandomStream.batches), number)
    return jax.random.randint(key, (batch_size,), 0, size, jnp.int32)


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def advance(
    program: Program,
    origin: Origin,
    state: Any,
    settings: Settings,
    span: tuple[jax.Array, jax.Array],
    source: PyTree,
) -> tuple[Any, Draws, dict]:
    """Take the steps of `span`, (first, count ≤ CHUNK); a dynamic count into fixed buffers is one program.

    `source` are the data, or the `Batches` of these steps.
    """
    (target, kernel, batch_size, observables), (key, center, anchor), (first, steps) = program, origin, span
    fetched = isinstance(source, Batches)
    room, chains = OBSERVE_EVERY if fetched else CHUNK, state.position.shape[0]
    numbers = first + jnp.arange(room)
    keys = jax.vmap(partial(jax.random.fold_in, substream(key, RandomStream.steps)))(numbers)
    rows = None
    if batch_size is not None and not fetched:
        rows = batch_indices(key, numbers, batch_size, jax.tree.leaves(source)[0].shape[0])

    def slope_at(offset: jax.Array) -> Callable[[jax.Array], Slope]:
        if batch_size is None:
            return lambda positions: full_slope(target, center, anchor, positions, source)
        drawn, arrays = (offset, source.rows) if rows is None else (rows[offset], source)
        batch = jax.tree.map(lambda a: a[drawn], arrays)
        return lambda positions: anchored_slope(target, center, positions, batch)

    def take(offset: jax.Array, carry: tuple) -> tuple:
        state, draws, observations = carry
        energy = partial(potential, target, anchor, settings, slope_at(offset))
        state, info = kernel.step(keys[offset], state, energy, settings.tuning)
        record = info.aux._replace(accepted=info.accepted.astype(state.position.dtype))
        draws = jax.tree.map(lambda buffer, value: buffer.at[offset].set(value), draws, record)
        if observables:
            observations = jax.lax.cond(
                offset % OBSERVE_EVERY == 0,
                lambda: record_observables(
                    target,
                    center,
                    observables,
                    turn(settings.rotation, info.position),
                    observations,
                    offset // OBSERVE_EVERY,
                ),
                lambda: observations,
            )
        return state, draws, observations

    empty = Draws(*(jnp.zeros((room, chains, *tail), state.position.dtype) for tail in ((2,), *[()] * 6)))
    observations = empty_observations(target, center, observables, room // OBSERVE_EVERY, chains)
    state, draws, observations = jax.lax.fori_loop(0, steps, take, (state, empty, observations))
    if target.placement:
        draws, observations = target.placement.whole((draws, observations))
    return _in_place(target, state), draws, observations


@partial(jax.jit, static_argnums=(0, 1))
def begin(
    target: Target,
    kernel: Kernel,
    key: jax.Array,
    center: Center,
    anchor: Anchor,
    positions: jax.Array,
    settings: Settings,
    arrays: PyTree,
) -> Any:
    """Return the kernel's state for chains at `positions` in its own coordinates; all data are `arrays`."""
    slope = partial(full_slope, target, center, anchor, data=arrays)
    energy = partial(potential, target, anchor, settings, slope)
    return _in_place(target, kernel.init(key, positions, energy))


def _in_place(target: Target, state: Any) -> Any:
    """Return a kernel's state with everything `(chain, d)` divided over the devices as positions are."""
    placement, shape = target.placement, state.position.shape
    if placement is None:
        return state
    return jax.tree.map(lambda a: placement.chains(a) if a.shape == shape else a, state)


def potential(
    target: Target,
    anchor: Anchor,
    settings: Settings,
    slope: Callable[[jax.Array], Slope],
    positions: jax.Array,
) -> tuple[jax.Array, jax.Array, Draws]:
    """Return U - U(w*) `(chain,)`, ∇U `(chain, d)` and what is recorded there."""
    if target.placement:
        positions = target.placement.chains(positions)
    positions = turn(settings.rotation, positions)
    batch_gradient, base, rise = slope(positions)
    tilt = positions @ anchor.gradient
    slip = jnp.zeros_like(tilt) if anchor.doubt is None else positions @ anchor.doubt
    control = jnp.zeros_like(tilt) if base is None else tilt - positions @ base
    virial = jnp.sum(positions * batch_gradient, -1) + control
    if not target.linear:
        rise, virial, control = rise + (control - tilt)[:, None], virial - tilt, jnp.zeros_like(control)
    distance = jnp.sum(positions**2, -1)
    record = Draws(rise, distance, virial, tilt, slip, control, jnp.ones_like(distance))
    if positions.size >= LARGE:
        # Positions read before the kernel may write over them need no copy; small ones are moved meanwhile.
        batch_gradient, record = jax.lax.optimization_barrier((batch_gradient, record))
    loss_gradient = batch_gradient if base is None else batch_gradient - (base - anchor.gradient)
    if not target.linear:
        loss_gradient = loss_gradient - anchor.gradient
    gradient = settings.nbeta[:, None] * loss_gradient + settings.localization * positions
    energy = settings.nbeta * record.energy.mean(-1) + 0.5 * settings.localization * record.distance
    return energy, turn_back(settings.rotation, gradient), record
