"""Short hashes of what defines a sweep's numbers: the model as JAX sees it, data, settings, params."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal  # pyright: ignore[reportPrivateImportUsage]

from lltc.posterior.bytecode import describe_code
from lltc.posterior.checks import comparison
from lltc.posterior.data import Data
from lltc.posterior.tokens import example_losses
from lltc.types import LossFn, PyTree

SAMPLED_ROWS = 64


def fingerprint_model(model: LossFn, params: PyTree, data: Data) -> str:
    """Return a hash of the traced program of the losses and their gradient, closed-over arrays included.

    Comments, names and files may change without changing it; anything that changes the computation changes
    it. Only the shapes of `params` and of two examples matter, not their values.
    """
    batch = data.batch(np.arange(min(2, data.size)))
    against = comparison(model)

    def slope(params: PyTree, anchor: PyTree, batch: PyTree) -> list[jax.Array]:
        given = lambda p: against(p, anchor, batch) if against else model(p, batch)
        losses, pull = jax.vjp(lambda p: example_losses(given(p)), params)
        moved = jax.tree.leaves(pull(jax.numpy.ones_like(losses)))
        return [losses, *(leaf for leaf in moved if leaf.dtype != jax.dtypes.float0)]

    return _digest(_program(jax.make_jaxpr(slope)(params, params, batch)))


def fingerprint_function(function: Callable, params: PyTree) -> str:
    """Return a hash of `function(params)`: its traced program, or its code where JAX cannot trace it."""
    try:
        return _digest(_program(jax.make_jaxpr(function)(params)))
    except Exception:  # Whatever stops the trace, the function may still run outside it.
        return fingerprint_code(function)


def fingerprint_code(function: Callable) -> str:
    """Return a hash of a function's code and of the values it closes over."""
    return _digest(describe_code(function))


def fingerprint_data(data: Data) -> str:
    """Return a hash of all examples in memory, or of a source's length and 64 evenly spaced examples."""
    if data.in_memory:
        return fingerprint_params(data.arrays)
    rows = np.unique(np.linspace(0, data.size - 1, SAMPLED_ROWS).astype(int))
    return _digest([str(data.size).encode(), fingerprint_params(data.batch(rows)).encode()])


def fingerprint_params(params: PyTree) -> str:
    """Return a hash of a pytree's paths, shapes, types and values."""
    parts = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        parts += [jax.tree_util.keystr(path).encode(), _leaf_bytes(leaf)]
    return _digest(parts)


def fingerprint_leaves(params: PyTree) -> dict[str, str]:
    """Return a hash of every leaf of a pytree by its path; that of one value all over begins with "="."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {
        jax.tree_util.keystr(path): "=" * _is_uniform(leaf) + _digest([_leaf_bytes(leaf)])
        for path, leaf in leaves
    }


def _is_uniform(leaf: Any) -> bool:
    values = _as_array(leaf).ravel()
    return bool(values.size == 0 or (values == values[0]).all())


def fingerprint_settings(settings: dict[str, Any]) -> str:
    """Return a hash of a JSON-able dictionary, whatever the order of its keys; None is as good as absent."""
    return _digest([json.dumps(_present(settings), sort_keys=True).encode()])


def _present(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _present(item) for name, item in value.items() if item is not None}
    return value


def _program(traced: ClosedJaxpr) -> Iterator[bytes]:
    """Yield the text of a traced program and the bytes of the arrays it holds, wherever they are nested."""
    yield re.sub(r" at 0x[0-9a-fA-FX]+", "", str(traced.jaxpr)).encode()
    yield from _constants(traced)


def _constants(program: ClosedJaxpr | Jaxpr) -> Iterator[bytes]:
    if isinstance(program, ClosedJaxpr):
        yield from (_leaf_bytes(const) for const in program.consts)
        program = program.jaxpr
    for equation in program.eqns:
        yield from (_leaf_bytes(var.val) for var in equation.invars if isinstance(var, Literal))
        for value in jax.tree.leaves(equation.params, is_leaf=_is_program):
            if _is_program(value):
                yield from _constants(value)
            elif hasattr(value, "callback_func"):
                yield from describe_code(value.callback_func)


def _is_program(value: Any) -> bool:
    return isinstance(value, ClosedJaxpr | Jaxpr)


def _as_array(leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.ascontiguousarray(leaf)


def _leaf_bytes(leaf: Any) -> bytes:
    array = _as_array(leaf)
    return f"{array.dtype}{array.shape}".encode() + array.tobytes()


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:16]
