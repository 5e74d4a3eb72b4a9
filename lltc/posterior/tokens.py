"""Losses of tokens: a model may return `(losses, mask)`, and an example's loss is the mean where it holds."""

from typing import Any

import jax
import jax.numpy as jnp

from lltc.errors import InputError


def example_losses(losses: Any) -> jax.Array:
    """Return losses `(batch,)` of a pair (losses, mask) `(batch, tokens)`; others as they are.

    ℓ_i = mean of ℓ_it over the tokens t whose mask is true. Of an example without any it is NaN.

    Example:
        >>> pair = (jnp.array([[1.0, 3.0, jnp.nan]]), jnp.array([[True, True, False]]))
        >>> example_losses(pair).tolist()
        [2.0]
    """
    if not is_pair(losses):
        return jnp.asarray(losses)
    values, mask = losses
    return jnp.sum(jnp.where(mask, values, 0), -1) / jnp.sum(mask, -1)


def is_pair(losses: Any) -> bool:
    """True for what a model of tokens returns."""
    return isinstance(losses, tuple) and len(losses) == 2


def check_pair(losses: Any, count: int) -> None:
    """Refuse losses of tokens, or a mask, that are not `(batch, tokens)` alike."""
    values, mask = losses
    if not all(isinstance(part, jax.ShapeDtypeStruct) for part in losses):
        raise InputError(
            f"model returned a pair of {type(values).__name__} and {type(mask).__name__}, but a pair must be "
            "arrays: losses of tokens (batch, tokens) and a mask of booleans; return such, or losses alone."
        )
    shaped = values.shape == mask.shape and values.ndim == 2 and values.shape[0] == count
    if not shaped or mask.dtype != bool or not jnp.issubdtype(values.dtype, jnp.floating):
        raise InputError(
            f"model returned losses {values.shape} of {values.dtype} and a mask {mask.shape} of {mask.dtype} "
            f"for a batch of {count}, but a pair must be floating-point losses ({count}, tokens) and a mask "
            "of booleans of the same shape, true where a token counts; return such."
        )
