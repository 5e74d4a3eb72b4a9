"""Running statistics that come with each checkpoint, beside its weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lltc.errors import InputError

WEIGHTS, STATISTICS = "params", "batch_stats"


def split_statistics(params: Any) -> tuple[Any, Any]:
    """Return weights and running statistics of ``{"params": …, "batch_stats": …}``; None for those not given.

    Example:
        >>> split_statistics({"params": 1, "batch_stats": 2}), split_statistics({"w": 1})
        ((1, 2), ({'w': 1}, None))
    """
    if isinstance(params, Mapping) and set(params) == {WEIGHTS, STATISTICS}:
        return params[WEIGHTS], params[STATISTICS]
    return params, None


def in_order(given: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    """Return the arrays of ``given``, flat or nested, in the order of their paths ``names``.

    Example:
        >>> in_order({"norm": {"mean": 1.0}, "first/u": 2.0}, ["norm/mean", "first/u"])
        [1.0, 2.0]
    """
    leaves = jax.tree_util.tree_leaves_with_path(given)
    arrays = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    missing, unknown = sorted(set(names) - set(arrays)), sorted(set(arrays) - set(names))
    if missing or unknown:
        raise InputError(
            f"batch_stats do not fit the module: missing {missing[:8]}, unknown {unknown[:8]}; start from "
            "those of model.params."
        )
    return [arrays[name] for name in names]


def put_in_order(given: Any, own: Any) -> Any:
    """Return ``own`` with its arrays replaced by those of ``given``, in order; refuse others than those.

    Example:
        >>> put_in_order([jnp.ones(2)], {"mean": jnp.zeros(2)})["mean"].tolist()
        [1.0, 1.0]
    """
    leaves, structure = jax.tree.flatten(own)
    arrays = jax.tree.leaves(given)
    received, expected = ([jnp.shape(array) for array in each] for each in (arrays, leaves))
    if received != expected:
        raise InputError(
            f"batch_stats must hold arrays of the shapes {expected}, as the model the adapter was built from "
            f"does, and holds {received}: save the statistics of the same network."
        )
    return jax.tree.unflatten(structure, arrays)
