"""Safetensors: one file, or a folder with one file or with shards and their index."""

import math
import os
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from lltc.checkpoints.formats.npy import fill
from lltc.checkpoints.formats.shards import check_shards, split_index, weight_files
from lltc.checkpoints.intake.arrays import as_array, checked_length, checked_shape, number_type
from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.documents import parse_json
from lltc.checkpoints.intake.files import open_file, reading
from lltc.checkpoints.intake.messages import printable
from lltc.checkpoints.intake.tree import flatten, nest, select_params
from lltc.errors import CheckpointError, InputError
from lltc.files import write_whole

_SEPARATOR_KEY = "lltc.separator"
_METADATA = "__metadata__"
# The format's own bound.
_MAX_HEADER = 100_000_000
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


class _Entry(NamedTuple):
    """Where one array lies in the file, from `start` to `stop` behind the header."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


def read_safetensors(path: Path, params_key: str | None, budget: Budget) -> Any:
    """Return the parameters of one safetensors checkpoint as nested dicts of NumPy arrays.

    Names nest at "/" where any holds one, else at ".". bfloat16 and float8 survive.
    """
    with reading(path):
        index, files = split_index(weight_files(path, budget))
        named: dict[str, np.ndarray] = {}
        separator = None
        for file in files:
            arrays, separator = _read_file(file, budget)
            named |= arrays
        check_shards(index, named, budget)
        return select_params(nest(named, separator, budget), params_key, path)


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


def _read_file(path: Path, budget: Budget) -> tuple[dict[str, np.ndarray], str | None]:
    with reading(path), open_file(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        length = int.from_bytes(handle.read(8), "little")
        if not 0 < length <= min(size - 8, _MAX_HEADER):
            raise ValueError(f"it announces a header of {length} bytes, which it does not have")
        header = parse_json(handle.read(length), budget)
        metadata = header.pop(_METADATA, {})
        separator = metadata.get(_SEPARATOR_KEY)
        entries = [_entry(path, name, entry, budget) for name, entry in header.items()]
        _check_places(entries, size - 8 - length)
        entries.sort(key=itemgetter(0))
        arrays = {entry.name: _read_array(handle, 8 + length, entry, budget) for entry in entries}
        return arrays, "/" if separator == "/" else None


def _entry(path: Path, name: str, entry: dict[str, Any], budget: Budget) -> _Entry:
    budget.count()
    if entry["dtype"] not in _DTYPES:
        raise CheckpointError(
            f"Cannot read checkpoint '{path}': array '{printable(name)}' has type "
            f"{printable(str(entry['dtype']), 40)}, which NumPy has no match for; convert it to one of "
            f"{', '.join(_DTYPES)}."
        )
    start, stop = (checked_length(place, "an offset") for place in entry["data_offsets"])
    return _Entry(name, number_type(_DTYPES[entry["dtype"]]), checked_shape(entry["shape"]), start, stop)


def _check_places(entries: list[_Entry], size: int) -> None:
    """Refuse arrays that overlap, leave bytes between them, or are not as long as their shapes want."""
    end = 0
    for entry in sorted(entries, key=itemgetter(3, 4)):
        if entry.start != end or entry.stop - entry.start != entry.dtype.itemsize * math.prod(entry.shape):
            raise ValueError(f"array '{printable(entry.name, 80)}' does not lie where it should")
        end = entry.stop
    if end != size:
        raise ValueError(f"its arrays want {end} bytes, of which it has {size}")


def _read_array(handle: BinaryIO, start: int, entry: _Entry, budget: Budget) -> np.ndarray:
    budget.take(entry.stop - entry.start, f"array '{printable(entry.name, 80)}'")
    content = np.empty(entry.stop - entry.start, np.uint8)
    handle.seek(start + entry.start)
    fill(handle, content)
    return as_array(content, entry.dtype, entry.shape)
