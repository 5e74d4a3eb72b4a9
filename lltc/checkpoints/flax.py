"""Flax msgpack files, as `flax.serialization.to_bytes` and the old `save_checkpoint` write them."""

from pathlib import Path
from typing import Any

import numpy as np

from lltc.checkpoints.files import reading
from lltc.checkpoints.tree import keep_arrays, select_params
from lltc.errors import InputError


def read_msgpack(path: Path, params_key: str | None = None) -> Any:
    """Return the parameters of one Flax msgpack file as nested dicts of NumPy arrays.

    Lists come as dicts with the keys "0", "1", …, as Flax writes them; other leaves than numbers are
    left out.
    """
    try:
        from flax.serialization import msgpack_restore
    except ImportError as error:
        raise InputError(
            "Reading .msgpack checkpoints needs Flax; install it with: pip install flax"
        ) from error
    with reading(path):
        tree = keep_arrays(msgpack_restore(path.read_bytes()), _as_array)
    return select_params(tree, params_key, path)


def _as_array(leaf: Any) -> np.ndarray | None:
    numeric = isinstance(leaf, (np.ndarray, np.generic, bool, int, float, complex))
    return np.asarray(leaf) if numeric else None
