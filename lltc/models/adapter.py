"""One record for every framework: how to run the network, and how to score it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
from jax import Array

from lltc.errors import InputError


@dataclass(frozen=True)
class Model:
    """A network and its loss as one pure callable, ``model(params, batch) -> losses``.

    ``model(params, batch) = loss(apply(params, batch), batch)``

    Hashable and compared by its two functions, so it can be a static argument of ``jax.jit``: the same object
    never compiles twice. Build it once and keep it, since two adapters of one module are different objects.
    Write one by hand for a network with several inputs, or to sweep checkpoints whose batch statistics differ
    (let ``params`` hold the statistics, and restrict the moved parameters to the weights).

    Attributes:
        apply: ``apply(params, batch) -> outputs``, (batch, ...).
        loss: ``loss(outputs, batch) -> losses``, (batch,), in nats; a scalar mean is accepted, and a
            pair (losses, mask) of tokens, (batch, tokens) both.
        params: the weights the module carries, for frameworks that keep them inside (else None); a starting
            point and the template that loaded checkpoints must fit. Not part of equality or hash.
        has_outputs: False where ``apply`` gives the losses that a module computes itself.

    Raises:
        InputError: on call, if the loss gives more than one number an example.

    Example:
        >>> model = Model(lambda w, batch: batch[0] * w, lambda f, batch: 0.5 * (f - batch[1]) ** 2)
        >>> model(2.0, (jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0]))).tolist()
        [0.5, 4.5]
    """

    apply: Callable[[Any, Any], Any]
    loss: Callable[[Any, Any], Array]
    params: Any = field(default=None, compare=False, repr=False)
    has_outputs: bool = field(default=True, repr=False)

    def __call__(self, params: Any, batch: Any) -> Any:
        """Per-example losses, (batch,), in nats; or losses of tokens and their mask, (batch, tokens) both."""
        losses = self.loss(self.apply(params, batch), batch)
        if isinstance(losses, tuple):
            return losses
        if jnp.ndim(losses) > 1:
            raise InputError(
                f"loss must give one number an example, shape (batch,), and gave {jnp.shape(losses)}: "
                "average or sum over the other axes inside the loss."
            )
        return losses
