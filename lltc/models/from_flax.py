"""Flax: linen modules, whose variables live outside, and nnx modules, which carry them."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import Array

from lltc.errors import InputError
from lltc.models.adapter import Model
from lltc.models.batches import Selector, split_inputs
from lltc.models.libraries import require
from lltc.models.losses import Loss, resolve_loss
from lltc.models.statistics import split_statistics


def flax_linen(
    module: Any,
    loss: str | Loss,
    *,
    collections: Mapping[str, Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    inputs: Selector = None,
    targets: Selector = None,
) -> Model:
    """Make a model of a ``flax.linen`` module.

    ``apply(params, batch) = module.apply({"params": params, **collections}, inputs(batch), **kwargs)``

    Nothing is mutable and no random key is given: dropout and batch normalisation must be switched to
    evaluation through ``kwargs``.

    Args:
        module: the linen module.
        loss: "cross_entropy", "token_cross_entropy", "squared", or a function (outputs, batch) -> (batch,).
        collections: the other variables, held constant, e.g. ``{"batch_stats": variables["batch_stats"]}``.
        kwargs: keyword arguments of the module's call, e.g. ``{"train": False}``.
        inputs: what enters the network (see ``split_inputs``).
        targets: what the outputs are compared with (see ``split_targets``).

    Returns:
        A ``Model`` whose params are ``variables["params"]``, or ``{"params": …, "batch_stats": …}`` with the
        running statistics of each checkpoint, which never move.

    Raises:
        InputError: flax is missing, params hold whole variables, or the module runs in training mode.

    Example:
        >>> import flax.linen as nn, jax, jax.numpy as jnp
        >>> module, x = nn.Dense(1, kernel_init=nn.initializers.ones), jnp.ones((2, 3))
        >>> model = flax_linen(module, "squared")
        >>> model(module.init(jax.random.key(0), x)["params"], (x, jnp.zeros((2, 1)))).tolist()
        [4.5, 4.5]
    """
    errors = require("flax.errors", "flax_linen", "lltc[flax]")
    constant, options = dict(collections or {}), dict(kwargs or {})
    if "params" in constant:
        raise InputError(
            'collections holds "params": leave it out, the weights are given to the model on call.'
        )

    def apply(params: Any, batch: Any) -> Any:
        params, statistics = split_statistics(params)
        variables = constant if statistics is None else constant | {"batch_stats": statistics}
        if isinstance(params, Mapping) and "params" in params:
            raise InputError(
                f'params holds whole variables {list(params)}: give variables["params"] as params '
                "and the rest as collections= of the adapter."
            )
        try:
            return module.apply({"params": params, **variables}, split_inputs(batch, inputs), **options)
        except (errors.InvalidRngError, errors.ModifyScopeVariableError) as error:
            raise InputError(
                f"the module {type(module).__name__} runs in training mode (it asks for a random key or "
                "updates its statistics): switch it to evaluation with kwargs=, e.g. kwargs={'train': False}."
            ) from error

    return Model(apply, resolve_loss(loss, targets))


def flax_nnx(
    module: Any,
    loss: str | Loss,
    *,
    kwargs: Mapping[str, Any] | None = None,
    inputs: Selector = None,
    targets: Selector = None,
) -> Model:
    """Make a model of a ``flax.nnx`` module.

    A copy of the module is put in evaluation mode and split; its ``nnx.Param`` state becomes the params, all
    else (batch statistics, random keys) stays constant. The module itself is untouched.

    Args:
        module: the nnx module.
        loss: "cross_entropy", "token_cross_entropy", "squared", or a function (outputs, batch) -> (batch,).
        kwargs: keyword arguments of the module's call.
        inputs: what enters the network (see ``split_inputs``).
        targets: what the outputs are compared with (see ``split_targets``).

    Returns:
        A ``Model`` whose ``params`` are a nested dict of arrays with string keys (a list's item 0 is
        ``"0"``), which every checkpoint format writes and reads alike. On call it takes that dict, an
        ``nnx.State``, its pure dict, or the dict with a ``value`` level that Orbax makes of a state; also
        ``{"params": …, "batch_stats": …}`` with the ``nnx.BatchStat`` state of each checkpoint, which never
        moves.

    Raises:
        InputError: flax is missing, or params do not have the module's names.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> model = flax_nnx(nnx.Linear(3, 1, kernel_init=nnx.initializers.ones, rngs=nnx.Rngs(0)), "squared")
        >>> model(model.params, (jnp.ones((2, 3)), jnp.zeros((2, 1)))).tolist()
        [4.5, 4.5]
    """
    nnx = require("flax.nnx", "flax_nnx", "lltc[flax]")
    frozen = nnx.clone(module)
    frozen.eval()
    graphdef, state, averages, rest = nnx.split(frozen, nnx.Param, nnx.BatchStat, ...)
    fill, fill_averages, options = _fill_by_name(state), _fill_by_name(averages), dict(kwargs or {})

    def apply(params: Any, batch: Any) -> Any:
        params, statistics = split_statistics(params)
        held = averages if statistics is None else fill_averages(statistics)
        # Merging copies, so what a call writes to the module is thrown away with it.
        copy = nnx.merge(graphdef, fill(params), held, rest, copy=True)
        return copy(split_inputs(batch, inputs), **options)

    return Model(apply, resolve_loss(loss, targets), _string_keys(nnx.to_pure_dict(state)))


def _fill_by_name(state: Any) -> Callable[[Any], Any]:
    """Return a function that puts any tree with the state's names into the state's structure."""
    named, structure = _named_leaves(state)
    names = [name for name, _ in named]

    def fill(params: Any) -> Any:
        given = dict(_named_leaves(params)[0])
        if set(given) != set(names):
            missing, unknown = sorted(set(names) - set(given)), sorted(set(given) - set(names))
            raise InputError(
                f"params do not fit the module: missing {missing}, unknown {unknown}; "
                "start from model.params, or give nnx.state(module, nnx.Param), and running statistics as "
                '{"params": …, "batch_stats": nnx.state(module, nnx.BatchStat)}.'
            )
        return jax.tree.unflatten(structure, [given[name] for name in names])

    return fill


def _named_leaves(tree: Any) -> tuple[list[tuple[str, Array]], Any]:
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    return [(_name(path), leaf) for path, leaf in leaves], structure


def _name(path: tuple) -> str:
    parts = jax.tree_util.keystr(path, simple=True, separator="/")
    return parts.removesuffix("/value")


def _string_keys(tree: Any) -> Any:
    if not isinstance(tree, Mapping):
        return tree
    return {str(key): _string_keys(value) for key, value in tree.items()}
