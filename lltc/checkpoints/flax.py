"""Flax msgpack files, as `flax.serialization.to_bytes` and the old `save_checkpoint` write them."""

from pathlib import Path
from typing import Any

import numpy as np

from lltc.checkpoints.files import reading
from lltc.checkpoints.tree import dtype_named, keep_arrays, select_params
from lltc.errors import InputError

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_CHUNKED = "__msgpack_chunked_array__"


def read_msgpack(path: Path, params_key: str | None = None) -> Any:
    """Return the parameters of one Flax msgpack file as nested dicts of NumPy arrays.

    Lists come as dicts with the keys "0", "1", …, as Flax writes them; other leaves than numbers are
    left out. Flax itself is not needed.
    """
    tree = keep_arrays(unpack_msgpack(path), _as_array)
    return select_params(tree, params_key, path)


def unpack_msgpack(path: Path) -> Any:
    """Return the nested dicts and lists of one msgpack file, arrays as Flax encodes them."""
    try:
        import msgpack
    except ImportError as error:
        raise InputError(
            "Reading .msgpack checkpoints needs msgpack, which Orbax brings along; "
            "install it with: pip install msgpack"
        ) from error
    with reading(path):
        tree = msgpack.unpackb(path.read_bytes(), ext_hook=_decode, strict_map_key=False)
        return _join_chunks(tree)


def _decode(code: int, data: bytes) -> Any:
    import msgpack

    if code == _COMPLEX:
        return complex(*msgpack.unpackb(data))
    if code not in (_ARRAY, _SCALAR):
        raise ValueError(f"it holds values of an unknown kind ({code}), which Flax does not write")
    shape, dtype, buffer = msgpack.unpackb(data)
    return np.frombuffer(buffer, dtype_named(dtype)).reshape(shape)


def _join_chunks(tree: Any) -> Any:
    """Put arrays together that Flax split because they are larger than msgpack allows."""
    if isinstance(tree, list):
        return [_join_chunks(child) for child in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.get(_CHUNKED) is not True:
        return {key: _join_chunks(child) for key, child in tree.items()}
    pieces = [tree["chunks"][str(index)] for index in range(len(tree["chunks"]))]
    shape = [tree["shape"][str(index)] for index in range(len(tree["shape"]))]
    return np.concatenate(pieces).reshape(shape)


def _as_array(leaf: Any) -> np.ndarray | None:
    numeric = isinstance(leaf, (np.ndarray, np.generic, bool, int, float, complex))
    return np.asarray(leaf) if numeric else None
