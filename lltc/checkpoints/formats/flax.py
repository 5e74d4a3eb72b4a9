"""Flax msgpack files, as `flax.serialization.to_bytes` and the old `save_checkpoint` write them."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lltc.checkpoints.formats.msgpack import parse_msgpack
from lltc.checkpoints.intake.arrays import as_array, checked_shape, is_number_type, number_type
from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.files import read_file, reading
from lltc.checkpoints.intake.selection import select_params
from lltc.checkpoints.intake.tree import keep_arrays

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
# Kinds below 0 are msgpack's own, as points in time are.
_OWN = 0
_CHUNKED = "__msgpack_chunked_array__"


def read_msgpack(path: Path, params_key: str | None, budget: Budget) -> Any:
    """Return the parameters of one Flax msgpack file as nested dicts of NumPy arrays.

    Lists come as dicts with the keys "0", "1", …, as Flax writes them; other leaves than numbers are
    left out. Neither Flax nor msgpack is needed.
    """
    with reading(path):
        tree = keep_arrays(unpack_msgpack(path, budget), as_number, budget)
        return select_params(tree, params_key, path)


def unpack_msgpack(path: Path, budget: Budget) -> Any:
    """Return the nested dicts and lists of one msgpack file, arrays as NumPy arrays."""
    with reading(path):
        tree = parse_msgpack(read_file(path, budget), partial(_decode, budget), budget)
        return _join_chunks(tree, budget)


def as_number(leaf: Any) -> np.ndarray | None:
    """Return an array or a number as an array, None for what is neither."""
    if not isinstance(leaf, (np.ndarray, bool, int, float, complex)):
        return None
    array = np.asarray(leaf)
    return array if is_number_type(array.dtype) else None


def _decode(budget: Budget, code: int, data: memoryview) -> Any:
    if code < _OWN:
        return None
    if code not in (_ARRAY, _COMPLEX, _SCALAR):
        raise ValueError(f"it holds values of an unknown kind ({code}), which Flax does not write")
    parts = parse_msgpack(data, lambda *_: None, budget)
    if code == _COMPLEX:
        real, imaginary = parts
        return complex(real, imaginary)
    shape, dtype, buffer = parts
    budget.take(len(buffer), "an array")
    # Within the file it lies wherever it lies, and processors like numbers at whole multiples of their size.
    return as_array(bytes(buffer), number_type(dtype), shape)


def _join_chunks(tree: Any, budget: Budget) -> Any:
    """Put arrays together that Flax split because they are larger than msgpack allows."""
    if isinstance(tree, list):
        return [_join_chunks(child, budget) for child in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.get(_CHUNKED) is not True:
        return {key: _join_chunks(child, budget) for key, child in tree.items()}
    pieces = [tree["chunks"][str(index)] for index in range(len(tree["chunks"]))]
    shape = checked_shape([tree["shape"][str(index)] for index in range(len(tree["shape"]))])
    if len({piece.dtype for piece in pieces}) != 1 or sum(piece.size for piece in pieces) != math.prod(shape):
        raise ValueError("the pieces of an array in it do not fit together")
    budget.take(sum(piece.nbytes for piece in pieces), "an array in pieces")
    return np.concatenate(pieces).reshape(shape)
