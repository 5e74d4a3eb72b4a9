"""Ways of leaving parts of a checkpoint out, step by step, and what each step does to the loss."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.posterior.examples import choose_followed, held_batches
from lltc.posterior.layout import Center
from lltc.posterior.target import LocalPosterior, Target
from lltc.probes.stiffness import Stiffness
from lltc.types import PyTree

POINTS = 41
OCTAVES = np.arange(-10, 11)
FLOAT_BITS = 32
LEAST_HELD = 1e-6


class Steps(NamedTuple):
    """What is left of δ after a `fraction` `(point,)` of it is left out `(point, d)`.

    `delta` goes by the posterior's order, `plain` by size alone.
    """

    fraction: np.ndarray
    delta: np.ndarray
    plain: np.ndarray


def drop_parameters(delta: np.ndarray, stiffness: Stiffness) -> Steps:
    """Return δ with more and more entries set to zero."""
    fraction = np.linspace(0, 1, min(POINTS, len(delta) + 1))
    ranks = [_rank(delta**2 * _held(stiffness.param_precision, stiffness)), _rank(delta**2)]
    gone = np.round(fraction * len(delta))[:, None]
    ordered, plain = (np.where(rank >= gone, delta, 0.0) for rank in ranks)
    return Steps(gone[:, 0] / len(delta), ordered, plain)


def drop_directions(delta: np.ndarray, stiffness: Stiffness) -> Steps:
    """Return δ with fewer and fewer of its coordinates along the directions; the first point has it all."""
    coordinates, size = stiffness.directions.T @ delta, len(delta)
    ranks = [_rank(coordinates**2 * _held(stiffness.precision, stiffness)), _rank(coordinates**2)]
    number = len(coordinates)
    gone = np.unique(np.round(np.linspace(0, number, min(POINTS, number + 1))))[:, None]
    left = [np.where(rank >= gone, coordinates, 0.0) @ stiffness.directions.T for rank in ranks]
    fraction = (size - number + gone[:, 0]) / size
    if number < size:
        fraction = np.concatenate([[0.0], fraction])
        left = [np.concatenate([delta[None], some]) for some in left]
    return Steps(fraction, left[0], left[1])


def drop_bits(delta: np.ndarray, stiffness: Stiffness) -> Steps:
    """Return δ rounded to multiples of c/√(P + γ), c growing by octaves, and to one step at equal bits."""
    reach = 2 * np.abs(delta).max() or 1.0
    steps = 2.0 ** OCTAVES[:, None] / np.sqrt(stiffness.param_precision + stiffness.localization)
    bits = np.log2(1 + reach / steps).mean(1)
    steps, bits = steps[bits < FLOAT_BITS], bits[bits < FLOAT_BITS]
    common = reach / (2**bits - 1)[:, None]
    rounded, plain = (np.vstack([delta, step * np.round(delta / step)]) for step in (steps, common))
    return Steps(np.concatenate([[0.0], 1 - bits / FLOAT_BITS]), rounded, plain)


def _held(precision: np.ndarray, stiffness: Stiffness) -> np.ndarray:
    """Return the precisions with a little of γ, so that what the loss does not hold goes by its size."""
    return precision + LEAST_HELD * (stiffness.localization or precision.max(initial=1.0))


def _rank(saliency: np.ndarray) -> np.ndarray:
    """Return the place of each entry in rising order."""
    rank = np.empty(len(saliency), int)
    rank[np.argsort(saliency, kind="stable")] = np.arange(len(saliency))
    return rank


def measure_rises(
    posterior: LocalPosterior, positions: np.ndarray, examples: int
) -> tuple[np.ndarray, float]:
    """Return L - L(w*) `(point,)` at `positions` `(point, d)`, and the mean size of the losses at w*."""
    rows = choose_followed(posterior.data.size, examples, (), np.random.default_rng(0)).examples
    points = jnp.asarray(positions, posterior.dtype)
    total, size = np.zeros(len(positions)), 0.0
    for batch in held_batches(posterior, posterior.data, rows):
        rises, sizes = _rises(posterior.target, posterior.center, points, batch)
        total, size = total + np.asarray(rises, np.float64), size + float(sizes)
    return total / len(rows), size / len(rows)


@partial(jax.jit, static_argnums=0)
def _rises(
    target: Target, center: Center, positions: jax.Array, batch: PyTree
) -> tuple[jax.Array, jax.Array]:
    """Return the sums over a batch of the rises `(point,)` and of the losses' sizes at w*."""
    size = jax.tree.leaves(batch)[0].shape[0]
    base = target.losses_at_center(center, batch)
    rises = jax.lax.map(lambda position: (target.losses(center, position, batch) - base).mean(), positions)
    return size * rises, size * jnp.abs(base).mean()
