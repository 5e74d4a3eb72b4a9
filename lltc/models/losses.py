"""Losses by name: one number an example, in nats."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from lltc.errors import InputError
from lltc.models.batches import Selector, split_inputs, split_targets

Loss = Callable[[Any, Any], Any]


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Negative log probability of integer labels under a softmax.

    ``loss_i = mean_t ( logsumexp_c logits[i, t, c] - logits[i, t, labels[i, t]] )``

    The mean runs over every axis between the first and the last, so a sequence counts as one example with the
    mean of its positions; without such axes it is the plain cross entropy.

    Args:
        logits: (batch, ..., classes), not yet normalised.
        labels: integers, (batch, ...); a label outside ``0 <= label < classes`` gives NaN.

    Returns:
        (batch,), nats.

    Raises:
        InputError: labels are not integers, or the shapes do not fit.

    Example:
        >>> [round(float(loss), 4) for loss in cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3]))]
        [1.3863, 1.3863]
    """
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise InputError(
            f"cross_entropy takes integer labels and received {labels.dtype}: convert them with "
            ".astype(int), or give your own function as the loss."
        )
    if logits.ndim < 2 or labels.shape != logits.shape[:-1]:
        raise InputError(
            f"cross_entropy takes logits (batch, ..., classes) and labels (batch, ...) and received "
            f"{logits.shape} and {labels.shape}: reshape one of them, or choose other targets."
        )
    # A negative index would count from the end; one past the end is filled with NaN.
    index = jnp.where(labels < 0, logits.shape[-1], labels)[..., None]
    picked = jnp.take_along_axis(logits, index, axis=-1, mode="fill", fill_value=jnp.nan)[..., 0]
    losses = jax.nn.logsumexp(logits, axis=-1) - picked
    return losses.reshape(losses.shape[0], -1).mean(axis=1)


def token_cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Negative log probability of every token, and which of them count: those whose label is no negative one.

    As `cross_entropy`, but without the mean over tokens, so that each can be read by itself (`lltc.read`).
    Negative labels, such as -100, are to be ignored; their losses are 0.

    Args:
        logits: (batch, tokens, classes), not yet normalised.
        labels: integers, (batch, tokens); one of ``classes`` or more gives NaN.

    Returns:
        Losses in nats and a mask, (batch, tokens) both.

    Raises:
        InputError: labels are not integers, or the shapes do not fit.

    Example:
        >>> losses, mask = token_cross_entropy(jnp.zeros((1, 3, 4)), jnp.array([[0, 3, -100]]))
        >>> losses.round(4).tolist(), mask.tolist()
        ([[1.3863, 1.3863, 0.0]], [[True, True, False]])
    """
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if logits.ndim != 3 or labels.shape != logits.shape[:-1]:
        raise InputError(
            f"token_cross_entropy takes logits (batch, tokens, classes) and labels (batch, tokens) and "
            f"received {logits.shape} and {labels.shape}: reshape one of them, or use cross_entropy."
        )
    mask = labels >= 0
    flat = cross_entropy(logits.reshape(-1, logits.shape[-1]), jnp.where(mask, labels, 0).reshape(-1))
    return jnp.where(mask, flat.reshape(mask.shape), 0), mask


def squared(outputs: Array, targets: Array) -> Array:
    """Half the squared distance between outputs and targets.

    ``loss_i = ½ Σ_j ( outputs[i, j] - targets[i, j] )²``, the sum over all axes but the first: the negative
    log density of a unit Gaussian, without its constant.

    Args:
        outputs: (batch, ...).
        targets: the same shape; (batch,) is also taken against outputs (batch, 1).

    Returns:
        (batch,), nats.

    Raises:
        InputError: the shapes differ (broadcasting one against the other would be a silent mistake).

    Example:
        >>> squared(jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 0.0]])).tolist()
        [2.5]
    """
    outputs, targets = jnp.asarray(outputs), jnp.asarray(targets)
    if outputs.shape == (*targets.shape, 1):
        outputs = outputs[..., 0]
    if outputs.ndim < 1 or outputs.shape != targets.shape:
        raise InputError(
            f"squared takes outputs and targets of one shape (batch, ...) and received {outputs.shape} and "
            f"{targets.shape}: reshape one of them, or choose other targets."
        )
    return 0.5 * jnp.square(outputs - targets).reshape(outputs.shape[0], -1).sum(axis=1)


def resolve_loss(loss: str | Loss, targets: Selector = None) -> Loss:
    """Turn a loss's name and the choice of targets into ``loss(outputs, batch) -> (batch,)``.

    Raises:
        InputError: an unknown name, neither a name nor a function, or ``targets`` beside a function.
    """
    if callable(loss):
        if targets is not None:
            raise InputError(
                "targets is used only with a loss given by name; your function receives (outputs, batch), so "
                "pick the targets inside it and leave targets out."
            )
        return loss
    if loss not in _NAMED:
        raise InputError(
            f"loss must be one of {sorted(_NAMED)} or a function (outputs, batch) -> (batch,); "
            f"received {loss!r}."
        )
    return _NAMED[loss](targets)


def _cross_entropy_of(targets: Selector) -> Loss:
    def loss(outputs: Any, batch: Any) -> Array:
        if targets is None and not isinstance(batch, tuple | list | Mapping):
            raise InputError(
                "cross_entropy needs labels, but the batch is a single array: for next-token prediction give "
                "inputs=lambda b: b[:, :-1] and targets=lambda b: b[:, 1:], otherwise a batch "
                "(inputs, labels)."
            )
        return cross_entropy(outputs, split_targets(batch, targets))

    return loss


def _token_cross_entropy_of(targets: Selector) -> Loss:
    return lambda outputs, batch: token_cross_entropy(outputs, split_targets(batch, targets))


def _squared_of(targets: Selector) -> Loss:
    return lambda outputs, batch: squared(outputs, split_targets(batch, targets))


def _causal_of(targets: Selector) -> Loss:
    """Each token against the next: the logits at t are those of the token at t + 1."""

    def loss(outputs: Any, batch: Any) -> tuple[Array, Array]:
        tokens = jnp.asarray(_tokens(batch, targets))
        return token_cross_entropy(outputs[:, :-1], tokens[:, 1:])

    return loss


def _tokens(batch: Any, targets: Selector) -> Any:
    """Return the labels of a batch for a language model, its tokens where it has none; padding is -100."""
    if targets is not None:
        return split_targets(batch, targets)
    if isinstance(batch, tuple | list):
        return batch[0]
    if not isinstance(batch, Mapping) or "labels" in batch:
        return split_targets(batch, None)
    tokens = split_inputs(batch, "input_ids")
    return jnp.where(batch["attention_mask"] != 0, tokens, -100) if "attention_mask" in batch else tokens


_NAMED: dict[str, Callable[[Selector], Loss]] = {
    "causal_lm": _causal_of,
    "classification": _cross_entropy_of,
    "cross_entropy": _cross_entropy_of,
    "masked_lm": _token_cross_entropy_of,
    "regression": _squared_of,
    "squared": _squared_of,
    "token_cross_entropy": _token_cross_entropy_of,
}
