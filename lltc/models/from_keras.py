"""Keras 3 on its JAX backend, through ``stateless_call``."""

from collections.abc import Sequence
from typing import Any

from lltc.errors import InputError
from lltc.models.adapter import Model
from lltc.models.batches import Selector, split_inputs
from lltc.models.libraries import require
from lltc.models.losses import Loss, resolve_loss
from lltc.models.statistics import put_in_order, split_statistics


def keras(model: Any, loss: str | Loss, *, inputs: Selector = None, targets: Selector = None) -> Model:
    """Make a model of a built Keras 3 model.

    ``apply(params, batch) = model.stateless_call(params, fixed, inputs(batch), training=False)[0]``, where
    ``fixed`` are the values the non-trainable variables have now (batch statistics, frozen layers, seeds);
    they stay constant and the Keras model is untouched.

    Args:
        model: the Keras model, already built.
        loss: "cross_entropy" or "token_cross_entropy" (the last layer must give logits, no softmax),
            "squared", or a function (outputs, batch) -> (batch,).
        inputs: what enters the network (see ``split_inputs``).
        targets: what the outputs are compared with (see ``split_targets``).

    Returns:
        A ``Model`` whose ``params`` are the list of trainable arrays, in the order of
        ``model.trainable_variables``, or ``{"params": …, "batch_stats": …}`` with each checkpoint's
        non-trainable arrays, in their order, which never move.

    Raises:
        InputError: keras is missing, its backend is not JAX, the model is not built, or params are not a list
            of as many arrays.

    Example:
        >>> import os
        >>> os.environ["KERAS_BACKEND"] = "jax"
        >>> import keras as keras3, jax.numpy as jnp
        >>> layer = keras3.layers.Dense(1, kernel_initializer="ones")
        >>> model = keras(keras3.Sequential([keras3.layers.Input((3,)), layer]), "squared")
        >>> model(model.params, (jnp.ones((2, 3)), jnp.zeros((2, 1)))).tolist()
        [4.5, 4.5]
    """
    library = require("keras", "keras", "lltc[keras]")
    backend = library.backend.backend()
    if backend != "jax":
        raise InputError(
            f"keras runs on the backend {backend!r} and lltc needs 'jax': set the environment variable "
            "KERAS_BACKEND=jax before keras is first imported."
        )
    if not model.built:
        raise InputError(
            "the Keras model has no weights yet: call model.build(input_shape) or run it once first."
        )
    start = [variable.value for variable in model.trainable_variables]
    fixed = [variable.value for variable in model.non_trainable_variables]

    def apply(params: Any, batch: Any) -> Any:
        params, statistics = split_statistics(params)
        held = fixed if statistics is None else put_in_order(statistics, fixed)
        if not isinstance(params, Sequence) or len(params) != len(start):
            raise InputError(
                f"params must be a list of the model's {len(start)} trainable arrays; received "
                f"{type(params).__name__} of {len(params)}: start from the adapter's params."
            )
        outputs, _ = model.stateless_call(list(params), held, split_inputs(batch, inputs), training=False)
        return outputs

    return Model(apply, resolve_loss(loss, targets), start)
