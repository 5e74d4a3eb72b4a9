"""Short hashes of what defines a sweep's numbers: the model as JAX sees it, data, settings, params."""

import hashlib
import json
import re
from functools import partial
from typing import Any

import jax
import numpy as np

from lltc.data import Data
from lltc.posterior import Model

PyTree = Any
SAMPLED_ROWS = 64


def fingerprint_model(model: Model, params: PyTree, data: Data) -> str:
    """Return a hash of the model's traced program on `params` and two examples, closed-over arrays included.

    Comments, names and files may change without changing it; anything that changes the computation changes
    it.
    """
    batch = data.batch(np.arange(min(2, data.size)))
    call = partial(model.against, params) if hasattr(model, "against") else model  # pyright: ignore[reportFunctionMemberAccess]
    traced = jax.make_jaxpr(call)(params, batch)
    program = re.sub(r" at 0x[0-9a-f]+", "", str(traced.jaxpr))
    return _digest([program.encode(), *(_leaf_bytes(const) for const in traced.consts)])


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


def fingerprint_settings(settings: dict[str, Any]) -> str:
    """Return a hash of a JSON-able dictionary, whatever the order of its keys."""
    return _digest([json.dumps(settings, sort_keys=True).encode()])


def _leaf_bytes(leaf: Any) -> bytes:
    if isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.ascontiguousarray(leaf)
    return f"{array.dtype}{array.shape}".encode() + array.tobytes()


def _digest(parts: list[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:16]
