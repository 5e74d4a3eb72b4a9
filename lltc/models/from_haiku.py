"""Haiku: transformed functions, with or without state."""

import inspect
from collections.abc import Mapping
from typing import Any

from lltc.errors import InputError
from lltc.models.adapter import Model
from lltc.models.batches import Selector, split_inputs
from lltc.models.libraries import require
from lltc.models.losses import Loss, resolve_loss
from lltc.models.statistics import split_statistics


def haiku(
    transformed: Any,
    loss: str | Loss,
    *,
    state: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    inputs: Selector = None,
    targets: Selector = None,
) -> Model:
    """Make a model of a Haiku transformed function.

    ``apply(params, batch) = transformed.apply(params, None, inputs(batch), **kwargs)``; with state,
    ``transformed.apply(params, state, None, inputs(batch), **kwargs)[0]``: the new state is thrown away.
    The random key is always None, so training mode must be off through ``kwargs``.

    Args:
        transformed: from ``hk.transform`` or ``hk.transform_with_state``, maybe without its rng argument.
        loss: "cross_entropy", "token_cross_entropy", "squared", or a function (outputs, batch) -> (batch,).
        state: the state of a ``transform_with_state``, held constant.
        kwargs: keyword arguments of the function, e.g. ``{"is_training": False}``.
        inputs: what enters the network (see ``split_inputs``).
        targets: what the outputs are compared with (see ``split_targets``).

    Returns:
        A ``Model`` whose params are Haiku's dict of dicts, or ``{"params": …, "batch_stats": …}`` with each
        checkpoint's own state, which never moves.

    Raises:
        InputError: haiku is missing, the state and the kind of transform do not fit, or the function wants a
            random key.

    Example:
        >>> import haiku as hk, jax, jax.numpy as jnp
        >>> network = hk.transform(lambda x: hk.Linear(1, w_init=jnp.ones)(x))
        >>> x, model = jnp.ones((2, 3)), haiku(network, "squared")
        >>> model(network.init(jax.random.key(0), x), (x, jnp.zeros((2, 1)))).tolist()
        [4.5, 4.5]
    """
    hk = require("haiku", "haiku", "lltc[haiku]")
    stateful = isinstance(transformed, hk.TransformedWithState)
    if not stateful and not isinstance(transformed, hk.Transformed):
        raise InputError(
            f"transformed must come from hk.transform or hk.transform_with_state; received "
            f"{type(transformed).__name__}: wrap the function with one of them."
        )
    if stateful and state is None:
        raise InputError("the transform has state: give the one to hold constant with state=.")
    if not stateful and state is not None:
        raise InputError(
            "state was given, but the transform has none: use hk.transform_with_state, or drop it."
        )
    options = dict(kwargs or {})
    rng = (None,) if "rng" in inspect.signature(transformed.apply).parameters else ()

    def apply(params: Any, batch: Any) -> Any:
        params, statistics = split_statistics(params)
        before = (state if statistics is None else statistics,) if stateful else ()
        try:
            outputs = transformed.apply(params, *before, *rng, split_inputs(batch, inputs), **options)
        except ValueError as error:
            if "non-None PRNGKey" not in str(error):
                raise
            raise InputError(
                "the function asks for a random key, as dropout does in training: switch it to evaluation "
                "with kwargs=, e.g. kwargs={'is_training': False}."
            ) from error
        return outputs[0] if stateful else outputs

    return Model(apply, resolve_loss(loss, targets))
