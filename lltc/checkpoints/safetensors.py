"""Safetensors: one file, or a folder with one file or with shards and their index."""

import json
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from lltc.checkpoints.files import reading
from lltc.checkpoints.shards import check_shards, split_index, weight_files
from lltc.checkpoints.tree import dtype_named, flatten, nest, select_params
from lltc.errors import CheckpointError, InputError
from lltc.files import write_whole

_SEPARATOR_KEY = "lltc.separator"
_DTYPES = {
    "BOOL": "bool",
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "C64": "complex64",
}


def read_safetensors(path: Path, params_key: str | None = None) -> Any:
    """Return the parameters of one safetensors checkpoint as nested dicts of NumPy arrays.

    Names nest at "/" where any holds one, else at ".". bfloat16 and float8 survive.
    """
    index, files = split_index(weight_files(path))
    named: dict[str, np.ndarray] = {}
    separator = None
    for file in files:
        arrays, separator = _read_file(file)
        named |= arrays
    check_shards(index, named)
    return select_params(nest(named, separator), params_key, path)


def save_safetensors(path: str | Path, params: Any) -> Path:
    """Write `params` to a .safetensors file, whole or not at all, and return its path.

    The levels of the tree are joined with "/"; lists come back as dicts with the keys "0", "1", … unless
    a template is given to `Checkpoint.load`. bfloat16 and float8 survive.

    Raises:
        InputError: `path` does not end in .safetensors, or a leaf has a type the format lacks.

    Example:
        >>> import tempfile, numpy as np
        >>> from lltc.checkpoints import open_checkpoint, save_safetensors
        >>> path = save_safetensors(tempfile.mkdtemp() + "/step_10.safetensors", {"bias": np.array([1.0])})
        >>> open_checkpoint(path).load()["bias"]
        array([1.])
    """
    from safetensors.numpy import save

    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(
            f"path is '{path}', but save_safetensors writes files whose name ends in .safetensors; rename it."
        )
    arrays = {name: np.array(leaf, order="C") for name, leaf in flatten(params).items()}
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES.values():
            raise InputError(
                f"params holds '{name}' of type {array.dtype}, which safetensors cannot store; "
                "convert it or leave it out of params."
            )
    payload = save(arrays, metadata={_SEPARATOR_KEY: "/"})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, payload)
    return path


def _read_file(path: Path) -> tuple[dict[str, np.ndarray], str | None]:
    from safetensors import deserialize

    with reading(path):
        payload = path.read_bytes()
        entries = deserialize(payload)
        header = json.loads(payload[8 : 8 + int.from_bytes(payload[:8], "little")])
        # The library hands the arrays out in an order of its own, another one each time.
        named = {name: _as_array(path, name, entry) for name, entry in sorted(entries, key=itemgetter(0))}
    return named, header.get("__metadata__", {}).get(_SEPARATOR_KEY)


def _as_array(path: Path, name: str, entry: dict[str, Any]) -> np.ndarray:
    if entry["dtype"] not in _DTYPES:
        raise CheckpointError(
            f"Cannot read checkpoint '{path}': array '{name}' has type {entry['dtype']}, which NumPy has no "
            f"match for; convert it to one of {', '.join(_DTYPES)}."
        )
    return np.frombuffer(entry["data"], dtype_named(_DTYPES[entry["dtype"]])).reshape(entry["shape"])
