"""Whether the gradient of the loss is that of its value, and which leaves the loss depends on."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.gradients import gradient_at
from lltc.chains.loop import Run
from lltc.chains.streams import RandomStream, substream
from lltc.diagnostics.status import Status
from lltc.inspection.findings import Finding, listed
from lltc.inspection.sampled import DIRECTIONS, Sample, rises_along
from lltc.posterior.layout import Center
from lltc.posterior.sharding import to_host
from lltc.posterior.target import LocalPosterior, Target
from lltc.types import PyTree

GROUPS, FEW_GROUPS = 32, 8
MISMATCH, MISMATCH_OF_A_GROUP = 0.1, 0.5
ROUNDINGS = 64
NODES, WEIGHTS = np.polynomial.legendre.leggauss(5)
PIECES = 16


class Paths(NamedTuple):
    """Straight ways from w*, `(path,)` each.

    `rise` is that of the mean loss, `work` what its gradient adds up to on the way, `variation` the same
    without signs, `size` the mean size of the losses at the end; `steepest` `(path, leaf)` is the largest
    entry of the gradient in each leaf.
    """

    rise: np.ndarray
    work: np.ndarray
    variation: np.ndarray
    size: np.ndarray
    steepest: np.ndarray


class Directions(NamedTuple):
    """Random directions: eight of all that moves, `whole` `(8, d)`, then one of each range of coordinates.

    Those of ranges take as much room as all weights: they are made from `key` one at a time.
    """

    whole: jax.Array
    key: jax.Array
    ranges: tuple[tuple[int, int], ...]
    owner: np.ndarray


def look_at_gradients(
    run: Run, sample: Sample, directions: Directions, reach: float, eps: float
) -> list[Finding]:
    """Return whether gradients add up to rises, and which leaves do nothing.

    Along straight ways from w*, as far as the posterior reaches, ∫ ∇L(w)·dw must be the rise of L: in eight
    random directions, and in groups of coordinates, leaves or parts of them.
    """
    posterior, batch = run.posterior, sample.batch
    target, center = posterior.target, posterior.center
    owner = jnp.asarray(directions.owner)
    bounds = jnp.asarray([*[(0, len(owner))] * DIRECTIONS, *directions.ranges], jnp.int32)
    follow = lambda pieces: Paths(
        *map(_wide, _along(target, pieces, center, directions.key, reach, bounds, owner, batch))
    )
    paths = follow(1)
    names = target.layout.moved_names
    if not paths.rise.any() and not paths.variation.any():
        return [Finding("parameters", "status", Status.unused.value, Status.unused)]
    flat = np.flatnonzero(paths.steepest[:DIRECTIONS].max(0) == 0)
    moves_alone = rises_along(run, sample, reach * directions.whole * np.isin(directions.owner, flat))
    resolution = ROUNDINGS * eps / np.sqrt(sample.size) * paths.size.max()
    blocked = bool(len(flat)) and np.abs(moves_alone).max() > resolution
    wrong = _disagreeing(paths, resolution)
    if len(wrong):
        # Kinks between a few nodes are passed over; between many, only what is no derivative is left.
        wrong = _disagreeing(follow(PIECES), resolution)
    if blocked or len(wrong):
        ranges = [directions.ranges[place - DIRECTIONS] for place in wrong if place >= DIRECTIONS]
        leaves = flat if blocked else np.unique([directions.owner[low] for low, _ in ranges])
        where = f" It is seen in {_named(names, leaves)}." if len(leaves) and len(names) > 1 else ""
        return [Finding("gradient", "status", Status.wrong_gradient.value + where, Status.wrong_gradient)]
    return [_idle(posterior, names, flat, directions.owner)] if len(flat) else []


def _idle(posterior: LocalPosterior, names: Sequence[str], leaves: np.ndarray, owner: np.ndarray) -> Finding:
    count = int(np.isin(owner, leaves).sum())
    return Finding(
        "idle leaves",
        "warning",
        f"The loss does not depend on {_named(names, leaves)}, {count:,} of the {posterior.num_params:,} "
        "numbers that move: check that the model uses the params it is given, or leave these out with "
        "restrict.",
    )


def _named(names: Sequence[str], leaves: np.ndarray) -> str:
    return listed([names[int(leaf)] for leaf in leaves])


def _disagreeing(paths: Paths, resolution: float) -> np.ndarray:
    """Return the paths on which rises are not what the gradients add up to, beyond rounding.

    The eight ways of all that moves are judged together, by their root mean square: kinks of the loss between
    the places where its gradient is taken average out. A group of coordinates is judged coarsely.
    """
    gap = np.maximum(np.abs(paths.rise - paths.work) - resolution, 0)
    scale = np.maximum(np.abs(paths.rise), paths.variation)
    wrong = gap > MISMATCH_OF_A_GROUP * scale
    together = np.sum(gap[:DIRECTIONS] ** 2) > MISMATCH**2 * np.sum(scale[:DIRECTIONS] ** 2)
    wrong[:DIRECTIONS] = together
    return np.flatnonzero(wrong)


def make_directions(run: Run, *, thorough: bool) -> Directions:
    """Return random directions of all that moves and of up to 32 groups of coordinates, or eight."""
    layout, center = run.posterior.target.layout, run.posterior.center
    owner = np.repeat(np.arange(len(layout.moved_shapes)), [int(np.prod(s)) for s in layout.moved_shapes])
    owner = owner if center.chosen is None else owner[np.asarray(center.chosen)]
    starts = np.flatnonzero(np.diff(owner, prepend=-1)).tolist()
    groups = _split(starts, len(owner), GROUPS if thorough else FEW_GROUPS)
    # Folded with 1 the stream gives what nudges the weights.
    key = jax.random.fold_in(substream(run.key, RandomStream.inspection), 0)
    whole = jnp.stack([_direction(key, row, len(owner), layout.dtype) for row in range(DIRECTIONS)])
    return Directions(whole, key, tuple(groups), owner)


def _direction(key: jax.Array, row: jax.Array | int, length: int, dtype: Any) -> jax.Array:
    return jax.random.normal(jax.random.fold_in(key, row), (length,), dtype)


def _split(starts: list[int], length: int, count: int) -> list[tuple[int, int]]:
    """Return at most `count` ranges of coordinates: leaves, the longest halved while there are fewer.

    Example:
        >>> _split([0, 1], 4, 32)
        [(0, 1), (1, 2), (2, 3), (3, 4)]
    """
    bounds = [*starts, length]
    every = len(starts) / count
    groups = list(pairwise(bounds))
    if every > 1:
        return [groups[int(place * every)] for place in range(count)]
    while len(groups) < min(count, length):
        low, high = longest = max(groups, key=lambda group: group[1] - group[0])
        groups.remove(longest)
        groups += [(low, (low + high) // 2), ((low + high) // 2, high)]
    return sorted(groups)


def _wide(values: jax.Array) -> np.ndarray:
    return to_host(values).astype(float)


@partial(jax.jit, static_argnums=(0, 1))
def _along(
    target: Target,
    pieces: int,
    center: Center,
    key: jax.Array,
    reach: float,
    bounds: jax.Array,
    owner: jax.Array,
    batch: PyTree,
) -> tuple[jax.Array, ...]:
    """Return what `Paths` tells of the ways to `reach`, each within its `bounds` `(path, 2)`.

    Gradients are taken at five places on each of so many `pieces` of a way.
    """
    base = target.losses_at_center(center, batch)
    leaves = len(target.layout.moved_shapes)

    def at(way: jax.Array, node: jax.Array) -> tuple[jax.Array, jax.Array]:
        gradient = gradient_at(target, center, node * way, batch)[1]
        steepest = jnp.zeros(leaves, way.dtype).at[owner].max(jnp.abs(gradient))
        return gradient @ way, steepest

    def one(given: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        row, (low, high) = given
        place, dtype = jnp.arange(len(owner)), target.layout.dtype
        inside = (low <= place) & (place < high)
        way = jnp.where(inside, jnp.asarray(reach, dtype) * _direction(key, row, len(owner), dtype), 0)
        losses = target.losses(center, way, batch)
        nodes = (np.arange(pieces)[:, None] + (1 + NODES) / 2).ravel() / pieces
        work, steepest = jax.lax.map(partial(at, way), jnp.asarray(nodes, way.dtype))
        weights = jnp.asarray(np.tile(WEIGHTS / 2, pieces) / pieces, way.dtype)
        size = jnp.abs(losses).mean()
        return (losses - base).mean(), work @ weights, jnp.abs(work) @ weights, size, steepest.max(0)

    return jax.lax.map(one, (jnp.arange(len(bounds)), bounds))
