"""Estimates of ∇L_n and L_n(w) - L_n(w*) for all chains: over all data, or one batch anchored at w*.

Chains share the batch. The anchored estimate is the control variate of Baker, Fearnhead, Fox & Nemeth (2019,
arXiv:1706.05439) for stochastic gradient Langevin dynamics; here it also serves the energy.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.posterior.data import Data
from lltc.posterior.layout import Center, center_leaves, flatten_leaves, moved_leaves
from lltc.posterior.target import LocalPosterior, Target
from lltc.posterior.tokens import example_losses
from lltc.posterior.turns import add_up, joined
from lltc.types import PyTree

BLOCK = 2048
LEAST_AT_ONCE = 32


class Anchor(NamedTuple):
    """What is known at w*: ∇L_n(w*) `(d,)`, the mean loss L_n(w*), and on a full batch all losses `(m,)`.

    `doubt` `(d,)` is distributed as the error of `gradient`, None where that came from all the data.
    """

    gradient: jax.Array
    loss: jax.Array
    losses: jax.Array
    doubt: jax.Array | None = None


class Slope(NamedTuple):
    """What a step sees of the loss; `energy` `(chain, 2)` estimates L_n(w) - L_n(w*) from two half batches.

    `gradient` `(chain, d)` is ∇L_B(w) of the batch B and `base` `(d,)` is ∇L_B(w*), None where there is no
    anchoring: ∇L_n(w) is estimated by `gradient - (base - anchor.gradient)`. Apart, neither `base` nor the
    anchor need be spread over the chains.
    """

    gradient: jax.Array
    base: jax.Array | None
    energy: jax.Array


def losses_and_gradient(
    target: Target, center: Center, positions: jax.Array, batch: PyTree
) -> tuple[jax.Array, jax.Array]:
    """Return losses `(chain, m)` and the gradient of their mean `(chain, d)` at `positions` `(chain, d)`."""
    return target.each_chain(lambda position: gradient_at(target, center, position, batch), positions)


def gradient_at(
    target: Target, center: Center, position: jax.Array, batch: PyTree
) -> tuple[jax.Array, jax.Array]:
    """Return losses `(m,)` and the gradient of their mean `(d,)` at one `position` `(d,)`."""
    return _losses_and_gradient(target, center, moved_leaves(target.layout, center, position), batch)


def at_center(target: Target, center: Center, batch: PyTree) -> tuple[jax.Array, jax.Array]:
    """Return losses `(m,)` and the gradient of their mean `(d,)` at w*."""
    return _losses_and_gradient(target, center, center_leaves(target.layout, center), batch)


def _losses_and_gradient(
    target: Target, center: Center, moved: tuple[jax.Array, ...], batch: PyTree
) -> tuple[jax.Array, jax.Array]:
    def mean_loss(moved: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        losses = target.losses_of(center, moved, batch)
        return losses.mean(), losses

    turns = target.turns(batch)
    if turns is None:
        gradients, losses = jax.grad(mean_loss, has_aux=True)(moved)
        return losses, flatten_leaves(center, gradients)

    def of_turn(rows: PyTree, weights: jax.Array) -> tuple[Any, jax.Array]:
        def weighted(moved: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
            losses = target.losses_of(center, moved, rows)
            return weights.astype(losses.dtype) @ losses, losses

        return jax.grad(weighted, has_aux=True)(moved)

    gradients, losses = add_up(of_turn, turns, jax.tree.map(jnp.zeros_like, moved))
    count = jax.tree.leaves(batch)[0].shape[0]
    return joined(losses, count, per_example=target.per_example), flatten_leaves(center, gradients)


def full_slope(target: Target, center: Center, anchor: Anchor, positions: jax.Array, data: PyTree) -> Slope:
    """Return the exact gradient and energy over all the data; both halves of the energy are the whole."""
    losses, gradient = losses_and_gradient(target, center, positions, data)
    energy = (losses - anchor.losses).mean(-1)
    return Slope(gradient, None, jnp.stack([energy, energy], -1))


def anchored_slope(target: Target, center: Center, positions: jax.Array, batch: PyTree) -> Slope:
    """Return the minibatch estimates anchored at w*, whose noise vanishes as w → w*.

    Gradient: ∇L_B(w) - (∇L_B(w*) - ∇L_n(w*)). Energy: the batch mean of ℓ(w, z) - ℓ(w*, z), differenced an
    example at a time so that float32 keeps its digits. A loss relative to w* needs no evaluation there, being
    flat.
    """
    losses, gradient = losses_and_gradient(target, center, positions, batch)
    if target.relative:
        return Slope(gradient, None, half_means(losses))
    start, base = at_center(target, center, batch)
    return Slope(gradient, base, half_means(losses - start))


def half_means(losses: jax.Array) -> jax.Array:
    """Return the means of the two disjoint halves of the last axis, `(…, 2)`."""
    half = losses.shape[-1] // 2
    if losses.shape[-1] < 2:
        return jnp.broadcast_to(losses, (*losses.shape[:-1], 2))
    return jnp.stack([losses[..., :half].mean(-1), losses[..., half : 2 * half].mean(-1)], -1)


def measure_anchor(posterior: LocalPosterior, *, examples: int | None = None, seed: int = 0) -> Anchor:
    """Return L_n(w*) and ∇L_n(w*) from all the data, or from `examples` drawn at random.

    With gradients g₁ and g₂ of the two halves of m < n examples, (g₁ - g₂)/2·√(1 - m/n) has the covariance of
    the error of their mean: it is the anchor's `doubt`. The loss of a relative model is zero at w*; its task
    loss, where the model carries one, is what is reported.
    """
    target, center, data = posterior.target, posterior.center, posterior.data
    nothing = jnp.zeros(0, posterior.dtype)
    if posterior.full_batch:
        losses, gradient = _block(target, center, data.arrays)
        return Anchor(gradient, _reported(posterior, losses.mean()), losses)
    if target.relative:
        flat = jnp.zeros(posterior.num_params, posterior.dtype)
        return Anchor(flat, _reported(posterior, jnp.zeros((), posterior.dtype)), nothing)
    at_once = target.micro_batch or max(posterior.batch_size, LEAST_AT_ONCE)
    target, block = replace(target, micro_batch=at_once), max(BLOCK, at_once)
    if examples is None or examples >= data.size:
        gradient, loss = _sweep_over(target, center, data.blocks(block))
        return Anchor(gradient, jnp.asarray(loss, posterior.dtype), nothing)
    rows = np.random.default_rng(seed).choice(data.size, 2 * (examples // 2), replace=False)
    halves = [_sweep_over(target, center, _batches(data, np.sort(half), block)) for half in np.split(rows, 2)]
    (first, low), (second, high) = halves
    doubt = 0.5 * (first - second) * float(np.sqrt(1 - rows.size / data.size))
    return Anchor((first + second) / 2, jnp.asarray((low + high) / 2, posterior.dtype), nothing, doubt)


def _batches(data: Data, rows: np.ndarray, block: int) -> Iterator[PyTree]:
    return (data.batch(rows[low : low + block]) for low in range(0, len(rows), block))


def _sweep_over(target: Target, center: Center, batches: Iterable[PyTree]) -> tuple[jax.Array, float]:
    """Return the mean gradient and the mean loss at w* over all examples of `batches`."""
    gradient, loss, total = jnp.zeros((), target.layout.dtype), 0.0, 0
    for batch in batches:
        count = jax.tree.leaves(batch)[0].shape[0]
        losses, block_gradient = _block(target, center, batch)
        total += count
        gradient, mean = _blend(gradient, block_gradient, losses, count / total)
        loss += (count / total) * (float(mean) - loss)
    return gradient, loss


@jax.jit
def _blend(
    gradient: jax.Array, more: jax.Array, losses: jax.Array, share: float
) -> tuple[jax.Array, jax.Array]:
    return gradient + share * (more - gradient), losses.mean()


def mean_over_data(losses_of_batch: Any, data: Data, *, block: int) -> float:
    """Return the mean of `losses_of_batch(batch)` over all the data."""
    total = 0.0
    for batch in data.blocks(block):
        total += float(jnp.mean(losses_of_batch(batch))) * jax.tree.leaves(batch)[0].shape[0]
    return total / data.size


def _reported(posterior: LocalPosterior, loss: jax.Array) -> jax.Array:
    task = getattr(posterior.target.model, "loss", None)
    if not posterior.target.relative or task is None:
        return loss
    params = jax.tree.unflatten(posterior.target.layout.treedef, posterior.center.leaves)
    mean = mean_over_data(
        lambda batch: _task_losses(task, params, batch), posterior.data, block=posterior.block
    )
    return jnp.asarray(mean, posterior.dtype)


def _task_losses_impl(task: Any, params: PyTree, batch: PyTree) -> jax.Array:
    return example_losses(task(params, batch))


_task_losses = jax.jit(_task_losses_impl, static_argnums=0)


_block = jax.jit(at_center, static_argnums=0)
