"""Scaled dot-product attention, as PyTorch defines it on every backend."""

import math

import jax
import jax.numpy as jnp
from jax import Array

from lltc.errors import InputError


def scaled_dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Array:
    """``softmax(q kᵀ / √d + mask) v``; a row that is masked altogether gives 0, not NaN."""
    if dropout_p:
        raise InputError("attention drops out whatever the module's mode: give it dropout_p=0 in evaluation.")
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (jnp.repeat(x, groups, -3) for x in (key, value))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = jnp.einsum("...qd,...kd->...qk", query * scale, key)
    if is_causal:
        scores = jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, -jnp.inf)
    if attn_mask is None:
        return jnp.matmul(jax.nn.softmax(scores, -1), value)
    scores = jnp.where(attn_mask, scores, -jnp.inf) if attn_mask.dtype == bool else scores + attn_mask
    masked = jnp.isneginf(scores).all(-1, keepdims=True)
    weights = jnp.where(masked, 0.0, jax.nn.softmax(jnp.where(masked, 0.0, scores), -1))
    return jnp.matmul(weights, value)


ATTENTION = {"scaled_dot_product_attention": scaled_dot_product_attention}
