"""Coordinates in which every direction is about equally stiff, from the gradients that warm-up sees.

At the posterior E[∇U ∇Uᵀ] = E[∇²U] (Stein's identity): the second moments of its gradient are its curvatures.
They are taken leaf by leaf, by rows and by columns, as Gupta, Koren & Singer (2018, arXiv:1802.09568) do in
training; in the axes so found one more moment, by coordinate, gives the scale.
"""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.curvature import Prober, halves_of
from lltc.chains.gradients import losses_and_gradient
from lltc.chains.rotation import PLAIN, Frame, Rotation
from lltc.chains.tuning import Tuned
from lltc.posterior.layout import Center
from lltc.posterior.sharding import to_host
from lltc.posterior.target import LocalPosterior, Target
from lltc.types import PyTree

MOST_DENSE, MOST_SIDE = 128, 256
SAMPLES_A_SIDE = 4
RELAXATIONS, AFFORDED, SOON = 10, 16_000, 125


def is_hopeless(posterior: LocalPosterior, reach: float) -> bool:
    """True where steps of that `reach` leave a direction as flat as the prior too few relaxation times.

    One is 2/(γ·reach) steps; ten of them must fit into the most draws that are made by default.
    """
    return 0 < posterior.localization * reach < 2 * RELAXATIONS / AFFORDED


def is_white(tuned: Tuned) -> bool:
    """True where all directions relax soon in the frame of `tuned`: ten times within a round of 125 steps.

    They do where they are about equally stiff: each takes 2/(stiffness·reach) steps. They do not where
    curvature changes from place to place, as in deep linear networks, so that one frame fits none, or where
    minibatch noise along flat directions, which the scale makes large, leaves small steps.
    """
    return bool(tuned.frame.stiffness * tuned.reach[0] >= 2 * RELAXATIONS / SOON)


def find_frame(prober: Prober, visited: Sequence[np.ndarray]) -> Frame:
    """Return the frame that the loss at the `visited` positions, `(chain, d)` each, implies.

    Up to 128 parameters it is that of the mean Hessian of the last of them. For more it is that of gradients.
    With g and g' those of U on disjoint halves of a batch, which share no noise, a leaf's left axes are the
    eigenvectors of E[g g'ᵀ], its right ones those of E[gᵀ g'], both from one half of the chains, and the
    scale is E[z z']^(-1/2) of the other half, z = Qᵀ g, at least γ before the root. Where any of them is not
    finite, the frame is that of the weights.
    """
    posterior = prober.posterior
    if posterior.num_params <= MOST_DENSE:
        return _dense_frame(prober, visited[-1])
    pairs = [half_gradients(prober, positions) for positions in visited]
    first, second = (np.stack(halves).astype(np.float64) for halves in zip(*pairs, strict=True))
    shapes = leaf_shapes(posterior)
    leaves = zip(_by_leaf(first, shapes), _by_leaf(second, shapes), strict=True)
    frames = [_leaf_frame(*leaf) for leaf in leaves]
    moments = np.concatenate([moment.ravel() for _, moment in frames])
    if not np.isfinite(moments).all():
        return PLAIN
    typed = lambda side: None if side is None else jnp.asarray(side, posterior.dtype)
    sides = tuple((typed(left), typed(right)) for (left, right), _ in frames)
    return Frame(Rotation(sides, shapes), *_evened(posterior, moments))


def _dense_frame(prober: Prober, positions: np.ndarray) -> Frame:
    """Return the frame of the Hessian of U, averaged over the chains at `positions` `(chain, d)`."""
    posterior = prober.posterior
    at, rows = jnp.asarray(positions, posterior.dtype), []
    for axis in np.eye(posterior.num_params):
        here = prober(at, jnp.broadcast_to(jnp.asarray(axis, at.dtype), at.shape))
        rows.append((to_host(here.curvature)[:, None] * to_host(here.direction)).mean(0, dtype=np.float64))
    hessian = posterior.nbeta * np.stack(rows) + posterior.localization * np.eye(len(rows))
    if not np.isfinite(hessian).all():
        return PLAIN
    stiffness, axes = np.linalg.eigh((hessian + hessian.T) / 2)
    rotation = Rotation(((jnp.asarray(axes, posterior.dtype), None),), ((len(rows), 1),))
    return Frame(rotation, *_evened(posterior, stiffness))


def _evened(posterior: LocalPosterior, stiffness: np.ndarray) -> tuple[jax.Array, float]:
    """Return the scale that makes all stiffnesses, at least γ, their geometric mean, and that."""
    stiffness = np.maximum(stiffness, posterior.localization)
    mean = float(np.exp(np.log(stiffness).mean()))
    return jnp.asarray((mean / stiffness) ** 0.5, posterior.dtype), mean


def leaf_shapes(posterior: LocalPosterior) -> tuple[tuple[int, int], ...]:
    """Return the moved leaves as matrices (rows, columns): the last axis against the others.

    Where only some coordinates of a leaf move, all that move are one column.
    """
    layout = posterior.target.layout
    if posterior.center.chosen is not None:
        return ((posterior.num_params, 1),)
    return tuple(
        (prod(shape[:-1]), shape[-1]) if len(shape) > 1 else (prod(shape), 1) for shape in layout.moved_shapes
    )


def _by_leaf(gradients: np.ndarray, shapes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Return gradients `(visit, chain, d)` by leaf, `(visit, chain, row, column)` each."""
    ends = np.cumsum([prod(shape) for shape in shapes])[:-1]
    parts = np.split(gradients, ends, axis=-1)
    return [part.reshape(*part.shape[:-1], *shape) for part, shape in zip(parts, shapes, strict=True)]


def _leaf_frame(g: np.ndarray, other: np.ndarray) -> tuple[tuple[Any, Any], np.ndarray]:
    """Return the axes of a leaf's gradients `(visit, chain, row, column)`, the second moments along them."""
    shape = g.shape[2:]
    even, even_other = (a[:, ::2].reshape(-1, *shape) for a in (g, other))
    left = _axes(even, even_other)
    right = _axes(even.swapaxes(1, 2), even_other.swapaxes(1, 2))
    if left is None and right is None:
        return (left, right), (g * other).reshape(-1, *shape).mean(0)
    odd, odd_other = (a[:, 1::2].reshape(-1, *shape) for a in (g, other))
    return (left, right), (_along(odd, left, right) * _along(odd_other, left, right)).mean(0)


def _axes(g: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    """Return the eigenvectors of the rows' moment, None where they are too many or seen too seldom."""
    samples, side = len(g) * g.shape[2], g.shape[1]
    if side == 1 or side > MOST_SIDE or samples < SAMPLES_A_SIDE * side:
        return None
    moment = np.tensordot(g, other, ([0, 2], [0, 2]))
    return np.linalg.eigh(moment + moment.T)[1] if np.isfinite(moment).all() else None


def _along(g: np.ndarray, left: np.ndarray | None, right: np.ndarray | None) -> np.ndarray:
    g = g if left is None else left.T @ g
    return g if right is None else g @ right


def half_gradients(prober: Prober, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ∇U `(chain, d)` from two disjoint halves of the batch, the same twice of all data."""
    posterior = prober.posterior
    at = jnp.asarray(positions, posterior.dtype)
    slopes = _half_slopes(
        posterior.target, posterior.full_batch, posterior.center, prober.anchor.gradient, at, prober.batch
    )
    pull = posterior.localization * positions
    first, second = (posterior.nbeta * to_host(slope) + pull for slope in slopes)
    return first, second


@partial(jax.jit, static_argnums=(0, 1))
def _half_slopes(
    target: Target,
    full_batch: bool,
    center: Center,
    anchor_gradient: jax.Array,
    positions: jax.Array,
    batch: PyTree,
) -> tuple[jax.Array, jax.Array]:
    """Return ∇L_n `(chain, d)` anchored at w* on both halves of a batch."""
    points = jnp.concatenate([positions, jnp.zeros_like(positions[:1])])
    slope = anchor_gradient if target.linear else jnp.zeros_like(anchor_gradient)
    halves = halves_of(batch, whole=full_batch)
    gradients = [losses_and_gradient(target, center, points, half)[1] for half in halves]
    slopes = [there[:-1] - there[-1:] + slope for there in gradients]
    return slopes[0], slopes[-1]
