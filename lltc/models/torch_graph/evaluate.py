"""Running a graph: each operator looked up in the table, each result cast to its recorded type."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from lltc.errors import InputError, first_line
from lltc.models.torch_graph.ops import find
from lltc.models.torch_graph.record import Graph, Input, Node, Ref, Region

Values = dict[str, Any]


def evaluate(graph: Graph, weights: Mapping[str, Any], args: tuple, kwargs: Mapping[str, Any]) -> Any:
    """Return the module's outputs, tuples and dicts of arrays.

    Args:
        graph: what to run.
        weights: the arrays by their names in the state_dict.
        args: the positional inputs.
        kwargs: the named inputs.

    Raises:
        InputError: the inputs are not of the kind of call the graph was made for, or an operator fails.
    """
    values: Values = {name: _canonical(array) for name, array in graph.constants.items()}
    values |= {name: weights[target] for name, target in graph.weights.items()}
    given = dict(zip(graph.names, args, strict=False)) | dict(kwargs)
    if len(args) > len(graph.names):
        raise InputError(f"the module takes {len(graph.names)} inputs and {len(args)} came: see inputs=.")
    _bind(graph.call, given, values, "inputs")
    _run(graph.nodes, values)
    return _fill(graph.outputs, values)


def is_known(op: str) -> bool:
    """Tell whether an operator or a region can be run."""
    return op in _REGIONS or find(op) is not None


def _canonical(array: np.ndarray) -> Array:
    """Return a constant as JAX holds it; the extremes of 64 bits become those of 32."""
    dtype = jax.dtypes.canonicalize_dtype(array.dtype)
    if dtype != array.dtype and np.issubdtype(dtype, np.integer):
        bounds, wide = np.iinfo(dtype), np.iinfo(array.dtype)
        extreme = (array == wide.min) | (array == wide.max)
        if ((array != np.clip(array, bounds.min, bounds.max)) & ~extreme).any():
            raise InputError(
                f"the module holds integers up to {int(np.abs(array[~extreme]).max())}, beyond the 32 bits "
                "that JAX keeps; use smaller ones, or set jax_enable_x64."
            )
        array = np.clip(array, bounds.min, bounds.max)
    return jnp.asarray(array, dtype)


def _bind(expected: Any, given: Any, values: Values, where: str) -> None:
    """Put what is given where the graph expects it."""
    if isinstance(expected, Input):
        values[expected.name] = _enter(expected, given, where)
    elif isinstance(expected, dict):
        needed = {name for name, item in expected.items() if item is not None}
        if not isinstance(given, Mapping) or not needed <= set(given) <= set(expected):
            names = sorted(given) if isinstance(given, Mapping) else type(given).__name__
            raise InputError(f"{where} must have the names {sorted(needed)} and have {names}: see inputs=.")
        for name, item in expected.items():
            _bind(item, given.get(name), values, f"{where}[{name!r}]")
    elif isinstance(expected, list | tuple):
        if not isinstance(given, list | tuple) or len(given) != len(expected):
            size = len(given) if isinstance(given, list | tuple) else type(given).__name__
            raise InputError(f"{where} must have {len(expected)} parts and have {size}: see inputs=.")
        for place, item in enumerate(expected):
            _bind(item, given[place], values, f"{where}[{place}]")


def _enter(expected: Input, given: Any, where: str) -> Array:
    shape = np.shape(given)
    lengths = zip(expected.shape, shape, strict=False)
    if len(shape) != len(expected.shape) or any(wanted not in (None, length) for wanted, length in lengths):
        wanted = tuple("batch" if length is None else length for length in expected.shape)
        raise InputError(
            f"{where} have the shape {shape}, where the graph was exported for {wanted}: export it once more."
        )
    array, wanted = jnp.asarray(given), jnp.dtype(expected.dtype)
    for kind in (jnp.complexfloating, jnp.inexact):
        if jnp.issubdtype(array.dtype, kind) and not jnp.issubdtype(wanted, kind):
            raise InputError(
                f"{where} are {array.dtype}, where the graph was exported for {expected.dtype}, which would "
                "cut them off: pass data of that type."
            )
    return _cast(array, expected.dtype)


def _run(nodes: Sequence[Node], values: Values) -> None:
    for node in nodes:
        results = _call(node, values)
        for name, dtype, result in zip(node.outputs, node.dtypes, results, strict=False):
            if name is not None:
                values[name] = result if dtype is None or result is None else _cast(result, dtype)


def _call(node: Node, values: Values) -> Sequence[Any]:
    args = [_fill(item, values) for item in node.args]
    kwargs = {name: _fill(item, values) for name, item in node.kwargs.items()}
    try:
        result = _function(node.op)(*args, **kwargs)
    except Exception as error:
        raise InputError(f"at {node.line}, in {node.op}: {first_line(error)}") from error
    return result if node.many else (result,)


def _function(op: str) -> Callable[..., Any]:
    function = _REGIONS.get(op) or find(op)
    if function is None:
        raise InputError("this operator is not evaluated; see docs/torch.md.")
    return function


def _run_region(region: Region, *operands: Any) -> Any:
    values = dict(zip(region.inputs, operands, strict=True))
    _run(region.nodes, values)
    return _fill(region.outputs, values)


def _set_gradient(enabled: bool, region: Region, *operands: Any) -> Any:
    """Run the body of `torch.no_grad()`: its results are constants to every derivative."""
    results = _run_region(region, *operands)
    return results if enabled else jax.tree.map(lax.stop_gradient, results)


def _autocast(device: str, dtype: str, enabled: bool, cache: bool, region: Region, *operands: Any) -> Any:
    """Run the body of `torch.autocast()`; the graph records the types it chose."""
    del device, dtype, enabled, cache
    return _run_region(region, *operands)


_REGIONS: dict[str, Callable[..., Any]] = {
    "higher_order.wrap_with_set_grad_enabled": _set_gradient,
    "higher_order.wrap_with_autocast": _autocast,
}


def _fill(item: Any, values: Values) -> Any:
    """Return an argument with values in the place of references."""
    if isinstance(item, Ref):
        return values[item.name]
    if isinstance(item, Region):
        return item
    if isinstance(item, dict):
        return {name: _fill(part, values) for name, part in item.items()}
    if isinstance(item, tuple):
        return tuple(_fill(part, values) for part in item)
    return [_fill(part, values) for part in item] if isinstance(item, list) else item


def _cast(result: Any, dtype: str) -> Array:
    wanted = jax.dtypes.canonicalize_dtype(jnp.dtype(dtype))
    if isinstance(result, Array) and result.dtype == wanted:
        return result
    if (
        isinstance(result, Array)
        and jnp.iscomplexobj(result)
        and not jnp.issubdtype(wanted, jnp.complexfloating)
    ):
        result = result.real
    return jnp.asarray(result).astype(wanted)
