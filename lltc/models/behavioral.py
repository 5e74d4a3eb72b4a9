"""The behavioral loss: how far a network's outputs have moved from a checkpoint's own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from jax import Array

from lltc.errors import InputError
from lltc.models.adapter import Model

KINDS = ("squared", "kl")
# Beyond this, exp(excess) nears float32's end; below it, probabilities too small for float32 cannot matter.
_LARGE_EXCESS = 60.0


@dataclass(frozen=True)
class Behavioral:
    """A distance between the outputs of two params on one batch, taken as a loss.

    Every checkpoint is a minimum of its own behavioral loss: the loss and its gradient are zero there, so the
    local learning coefficient is never negative, also in the middle of training.

    Attributes:
        apply: ``apply(params, batch) -> outputs``, (batch, ...).
        kind: "squared" or "kl".
        loss: the task's loss (params, batch) -> (batch,), reported as the checkpoint's loss; or None.
        params: what loaded checkpoints must fit, where an adapter brings it along; not part of equality.
    """

    apply: Callable[[Any, Any], Array]
    kind: str
    loss: Callable[[Any, Any], Array] | None = None
    params: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"kind must be one of {list(KINDS)}; received {self.kind!r}.")
        if not callable(self.apply):
            raise InputError(
                f"apply must be a function (params, batch) -> outputs; received {type(self.apply).__name__}: "
                "an adapter's is model.apply."
            )
        if self.loss is not None and not callable(self.loss):
            raise InputError(
                f"loss must be a function (params, batch) -> (batch,), such as an adapter's model, or None; "
                f"received {self.loss!r}."
            )

    def against(self, params: Any, anchor_params: Any, batch: Any) -> Array:
        """Distance of each example's outputs from the anchor's, (batch,); no gradient to the anchor."""
        outputs = jnp.asarray(self.apply(params, batch))
        anchor = jax.lax.stop_gradient(jnp.asarray(self.apply(anchor_params, batch)))
        return _half_squared(outputs, anchor) if self.kind == "squared" else _mean_kl(outputs, anchor)

    def __call__(self, *_: Any) -> NoReturn:
        """Refuse: there is nothing to compare with."""
        raise InputError(
            "a Behavioral loss needs the checkpoint it is measured against: call "
            "against(params, anchor_params, batch), or give it to the estimator, which does."
        )


def behavioral(
    apply: Callable[[Any, Any], Array] | Model,
    kind: str,
    *,
    loss: Callable[[Any, Any], Array] | None = None,
) -> Behavioral:
    """Make the behavioral loss of a network.

    - "squared": ``ℓ_i(w) = ½ ‖f_w(x_i) - f_w*(x_i)‖²``, summed over all axes but the first;
    - "kl": ``ℓ_i(w) = KL( softmax f_w*(x_i) ‖ softmax f_w(x_i) )``, classes on the last axis; for sequences,
      (batch, ..., classes), the mean over the positions.

    Both are exactly zero, with zero gradient, where ``f_w = f_w*``, and keep their relative precision near
    it in float32.

    Args:
        apply: ``apply(params, batch) -> outputs``; or an adapter's model, whose ``apply``, loss and params
            are taken.
        kind: "squared" or "kl".
        loss: the task's per-example loss, only to be reported beside the checkpoint; default that of an
            adapter's model.

    Returns:
        A ``Behavioral``, hashable and compared by its fields.

    Raises:
        InputError: an unknown kind, or an apply or loss that cannot be called.

    Source:
        Bushnaq et al. 2024, "Using degeneracy in the loss landscape for mechanistic interpretability"
        (arXiv:2405.10927), which introduces the behavioral loss.

    Example:
        >>> distance = behavioral(lambda w, batch: w * batch, "squared")
        >>> distance.against(3.0, 1.0, jnp.array([[1.0], [2.0]])).tolist()
        [2.0, 8.0]
    """
    if isinstance(apply, Model):
        if not apply.has_outputs:
            raise InputError(
                'apply is a model with the loss "own", which gives losses and no outputs to compare; make it '
                'with another loss, such as "causal_lm".'
            )
        return Behavioral(apply.apply, kind, loss or apply, apply.params)
    return Behavioral(apply, kind, loss)


def _half_squared(outputs: Array, anchor: Array) -> Array:
    if outputs.ndim < 1:
        raise InputError(
            "apply must give outputs of shape (batch, ...) and gave a scalar: keep the batch axis."
        )
    return 0.5 * jnp.square(outputs - anchor).reshape(outputs.shape[0], -1).sum(axis=1)


def _mean_kl(logits: Array, anchor: Array) -> Array:
    if logits.ndim < 2:
        raise InputError(
            f'kind "kl" takes logits (batch, ..., classes) and apply gave {logits.shape}: '
            'put the classes last, or use kind "squared".'
        )
    return _kl_from_anchor(logits, anchor).reshape(logits.shape[0], -1).mean(axis=1)


def _kl_from_anchor(logits: Array, anchor: Array) -> Array:
    """KL(p* ‖ p) over the last axis as log E*[exp(c)], c the logits' change minus its mean under p*.

    As E*[c] = 0 this is log1p(E*[exp(c) - 1 - c]): every term is positive, so nothing cancels however small.
    """
    masked = jnp.isneginf(anchor)
    change = jnp.where(masked, 0.0, logits - jnp.where(masked, 0.0, anchor))
    log_anchor = jax.nn.log_softmax(anchor, axis=-1)
    p_anchor = jnp.exp(log_anchor)
    excess = change - jnp.sum(p_anchor * change, axis=-1, keepdims=True)
    large = jnp.max(excess, axis=-1, keepdims=True) > _LARGE_EXCESS
    small = jnp.sum(p_anchor * _exp_remainder(jnp.where(large, 0.0, excess)), axis=-1)
    far = jax.nn.logsumexp(log_anchor + jnp.where(large, excess, 0.0), axis=-1)
    return jnp.where(large[..., 0], far, jnp.log1p(small))


@jax.custom_jvp
def _exp_remainder(c: Array) -> Array:
    """``exp(c) - 1 - c``, to full relative precision: its series near zero, the difference elsewhere."""
    near = jnp.abs(c) < 0.5
    x = jnp.where(near, c, 0.0)
    series = jnp.ones_like(x)
    for k in range(14, 2, -1):
        series = 1.0 + x / k * series
    return jnp.where(near, 0.5 * x * x * series, jnp.expm1(c) - c)


_exp_remainder.defjvps(lambda tangent, _, c: jnp.expm1(c) * tangent)
