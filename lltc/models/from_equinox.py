"""Equinox: a module is its own params."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax

from lltc.errors import InputError
from lltc.models.adapter import Model
from lltc.models.batches import Selector, split_inputs
from lltc.models.libraries import require
from lltc.models.losses import Loss, resolve_loss
from lltc.models.statistics import STATISTICS, WEIGHTS, in_order, put_in_order, split_statistics


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
        loss: "cross_entropy", "token_cross_entropy", "squared", or a function (outputs, batch) -> (batch,).
        state: the ``equinox.nn.State`` of a stateful module (batch or spectral normalisation).
        kwargs: keyword arguments of the module's call, shared by all examples.
        inputs: what enters the network (see ``split_inputs``), a pytree with a leading batch axis.
        targets: what the outputs are compared with (see ``split_targets``).

    Returns:
        A ``Model`` whose ``params`` are the module's floating arrays, the rest of its leaves being None. With
        a state they are ``{"params": …, "batch_stats": …}``, its arrays by the paths of what keeps them in
        the module, such as "norm/ema_state_index/0"; these never move and come from each checkpoint that
        ``tree_serialise_leaves`` wrote of (module, state). On call the module's arrays alone are also taken,
        with ``state`` held constant, and an ``equinox.nn.State`` as the ``batch_stats``.

    Raises:
        InputError: equinox is missing, the module and its state do not belong together, or params do not hold
            as many arrays as the module.

    Example:
        >>> import equinox as eqx, jax, jax.numpy as jnp
        >>> model = equinox(eqx.nn.Linear(3, 1, key=jax.random.key(0)), "squared")
        >>> ones = jax.tree.map(jnp.ones_like, model.params)
        >>> model(ones, (jnp.ones((2, 3)), jnp.zeros((2, 1)))).tolist()
        [8.0, 8.0]
    """
    eqx = require("equinox", "equinox", "lltc[equinox]")
    named = _name_state(eqx.nn, module, state)
    # What a module made in the old way keeps of its state is no weight.
    is_index = _is(eqx.nn.StateIndex)
    template, static = eqx.partition(eqx.nn.inference_mode(module), eqx.is_inexact_array, is_leaf=is_index)
    structure, options = jax.tree.structure(template), dict(kwargs or {})

    def apply(params: Any, batch: Any) -> Any:
        params, statistics = split_statistics(params)
        if isinstance(statistics, Mapping):
            statistics = in_order(statistics, list(named))
        held = state if statistics is None else put_in_order(statistics, state)
        if any(map(_is(eqx.nn.State), jax.tree.leaves(params, is_leaf=_is(eqx.nn.State)))):
            raise InputError(
                "params hold a State among the arrays that move: take model.params, or give "
                '{"params": module, "batch_stats": state}.'
            )
        leaves = jax.tree.leaves(eqx.filter(params, eqx.is_inexact_array, is_leaf=is_index))
        if len(leaves) != structure.num_leaves:
            raise InputError(
                f"params hold {len(leaves)} floating arrays where the module has {structure.num_leaves}: "
                "start from model.params and replace its arrays."
            )
        # By order, not by structure: a checkpoint made in training mode differs in its flags.
        network = eqx.combine(jax.tree.unflatten(structure, leaves), static)
        if held is None:
            return jax.vmap(lambda x: network(x, **options))(split_inputs(batch, inputs))
        return jax.vmap(lambda x: network(x, held, **options)[0])(split_inputs(batch, inputs))

    params = {WEIGHTS: template, STATISTICS: named} if named else template
    return Model(apply, resolve_loss(loss, targets), params)


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda node: isinstance(node, kind)


def _name_state(nn: Any, module: Any, state: Any) -> OrderedDict[str, Any]:
    """Return the arrays of a state by the paths of their keepers in the module, in the order of the state."""
    nodes = jax.tree_util.tree_leaves_with_path(module, is_leaf=_is(nn.StateIndex))
    keepers = [(path, node) for path, node in nodes if isinstance(node, nn.StateIndex)]
    if state is None and keepers:
        raise InputError(
            f"the module keeps a state ('{_joined(keepers[0][0])}') and state is None: make both with "
            "equinox.nn.make_with_state and pass state=."
        )
    if not isinstance(state, nn.State | None):
        raise InputError(
            f"state is a {type(state).__name__} and must be an equinox.nn.State: make it and the module with "
            "equinox.nn.make_with_state."
        )
    try:
        leaves, structure = jax.tree.flatten(state)
    except ValueError:
        raise InputError("state was used up by a call that returned a newer one: pass that.") from None
    places, names = jax.tree.unflatten(structure, range(len(leaves))), {}
    for path, keeper in keepers:
        try:
            inner = jax.tree_util.tree_leaves_with_path(places.get(keeper))
        except KeyError:
            raise InputError(
                f"state holds nothing for '{_joined(path)}' of the module: pass the State that "
                "equinox.nn.make_with_state made with this module."
            ) from None
        for below, at in inner:
            names.setdefault(at, _joined((*path, *below)))
    return OrderedDict((names.get(at, str(at)), leaf) for at, leaf in enumerate(leaves))


def _joined(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
