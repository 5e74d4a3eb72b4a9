"""Equinox: a module is its own params."""

from collections.abc import Mapping
from typing import Any

import jax

from lltc.errors import InputError
from lltc.models.adapter import Model
from lltc.models.batches import Selector, split_inputs
from lltc.models.libraries import require
from lltc.models.losses import Loss, resolve_loss


def equinox(
    module: Any,
    loss: str | Loss,
    *,
    state: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    inputs: Selector = None,
    targets: Selector = None,
) -> Model:
    """Make a model of an Equinox module that maps one example.

    ``params, static = partition(inference_mode(module), is_inexact_array)``; on call they are combined and
    mapped over the batch with ``jax.vmap``. The module itself is untouched.

    Args:
        module: the module; called as ``module(x)``, or ``module(x, state)`` when ``state`` is given.
        loss: "cross_entropy", "squared", or a function (outputs, batch) -> (batch,).
        state: the ``equinox.nn.State`` of a stateful module (batch normalisation), held constant.
        kwargs: keyword arguments of the module's call, shared by all examples.
        inputs: what enters the network (see ``split_inputs``), a pytree with a leading batch axis.
        targets: what the outputs are compared with (see ``split_targets``).

    Returns:
        A ``Model`` whose ``params`` are the module's floating arrays, the rest of its leaves being None.

    Raises:
        InputError: equinox is missing, or params do not hold as many arrays as the module.

    Example:
        >>> import equinox as eqx, jax, jax.numpy as jnp
        >>> model = equinox(eqx.nn.Linear(3, 1, key=jax.random.key(0)), "squared")
        >>> ones = jax.tree.map(jnp.ones_like, model.params)
        >>> model(ones, (jnp.ones((2, 3)), jnp.zeros((2, 1)))).tolist()
        [8.0, 8.0]
    """
    eqx = require("equinox", "equinox", "lltc[equinox]")
    template, static = eqx.partition(eqx.nn.inference_mode(module), eqx.is_inexact_array)
    structure, options = jax.tree.structure(template), dict(kwargs or {})

    def apply(params: Any, batch: Any) -> Any:
        leaves = jax.tree.leaves(eqx.filter(params, eqx.is_inexact_array))
        if len(leaves) != structure.num_leaves:
            raise InputError(
                f"params hold {len(leaves)} floating arrays where the module has {structure.num_leaves}: "
                "start from model.params and replace its arrays."
            )
        # By order, not by structure: a checkpoint made in training mode differs in its flags.
        network = eqx.combine(jax.tree.unflatten(structure, leaves), static)
        if state is None:
            return jax.vmap(lambda x: network(x, **options))(split_inputs(batch, inputs))
        return jax.vmap(lambda x: network(x, state, **options)[0])(split_inputs(batch, inputs))

    return Model(apply, resolve_loss(loss, targets), template)
