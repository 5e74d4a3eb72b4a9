"""The losses modules compute themselves; `reduction` is 0 for none, 1 for the mean, 2 for the sum."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from lltc.errors import InputError
from lltc.models.torch_graph.ops.pointwise import absolute


def _reduced(losses: Array, reduction: int) -> Array:
    return (losses, jnp.mean(losses), jnp.sum(losses))[reduction]


def _pairwise(loss: Callable[[Array], Array]) -> Callable[..., Array]:
    return lambda x, y, reduction=1: _reduced(loss(x - y), reduction)


def cross_entropy(
    logits: Array,
    target: Array,
    weight: Array | None = None,
    reduction: int = 1,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Array:
    axis = 1 if logits.ndim > 1 else 0
    log_probs = jax.nn.log_softmax(logits, axis)
    if label_smoothing or jnp.issubdtype(target.dtype, jnp.floating):
        raise InputError("the module's loss smooths labels or takes probabilities: give a loss of your own.")
    return nll(log_probs, target, weight, reduction, ignore_index)


def nll(
    log_probs: Array,
    target: Array,
    weight: Array | None = None,
    reduction: int = 1,
    ignore_index: int = -100,
) -> Array:
    axis = 1 if log_probs.ndim > 1 else 0
    counted = target != ignore_index
    # A negative index would count from the end; PyTorch stops at it.
    beyond = jnp.where(target < 0, log_probs.shape[axis], target)
    index = jnp.expand_dims(jnp.where(counted, beyond, 0), axis)
    picked = jnp.take_along_axis(log_probs, index, axis, mode="fill").squeeze(axis)
    weights = counted.astype(log_probs.dtype)
    if weight is not None:
        weights = weights * weight[index.squeeze(axis)]
    losses = -jnp.where(counted, picked, 0.0) * weights
    if reduction == 1:
        return jnp.sum(losses) / jnp.sum(weights)
    return _reduced(losses, reduction)


def binary_cross_entropy_with_logits(
    x: Array, y: Array, weight: Array | None = None, pos_weight: Array | None = None, reduction: int = 1
) -> Array:
    positive = 1.0 if pos_weight is None else pos_weight
    losses = -(positive * y * jax.nn.log_sigmoid(x) + (1 - y) * jax.nn.log_sigmoid(-x))
    return _reduced(losses if weight is None else losses * weight, reduction)


def smooth_l1(x: Array, y: Array, reduction: int = 1, beta: float = 1.0) -> Array:
    if not beta:
        return _reduced(absolute(x - y), reduction)
    size = jnp.abs(x - y)
    return _reduced(jnp.where(size < beta, 0.5 * size * size / beta, size - 0.5 * beta), reduction)


def huber(x: Array, y: Array, reduction: int = 1, delta: float = 1.0) -> Array:
    size = jnp.abs(x - y)
    return _reduced(jnp.where(size <= delta, 0.5 * size * size, delta * (size - 0.5 * delta)), reduction)


LOSSES = {
    "cross_entropy_loss": cross_entropy,
    "nll_loss": nll,
    "nll_loss_nd": nll,
    "mse_loss": _pairwise(jnp.square),
    "l1_loss": _pairwise(absolute),
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "smooth_l1_loss": smooth_l1,
    "huber_loss": huber,
}
