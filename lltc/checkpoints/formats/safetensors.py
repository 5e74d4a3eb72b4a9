"""Safetensors: one file, or a folder with one file or with shards and their index."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from lltc.checkpoints.formats.npy import fill
from lltc.checkpoints.formats.shards import check_shards, split_index, weight_files
from lltc.checkpoints.intake.arrays import as_array, checked_length, checked_shape, number_type
from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.containers import outline
from lltc.checkpoints.intake.documents import parse_json
from lltc.checkpoints.intake.files import open_file, reading
from lltc.checkpoints.intake.messages import printable
from lltc.checkpoints.intake.notes import describe
from lltc.checkpoints.intake.selection import select_params
from lltc.checkpoints.intake.tree import nest
from lltc.errors import CheckpointError, InputError
from lltc.files import write_whole

_SEPARATOR_KEY, _NOTE_KEY = "lltc.separator", "lltc.tree"
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


class Place(NamedTuple):
    """Where an array lies: its file, its name, type and shape there, and its bytes from `start` to `stop`."""

    file: Path
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
        files = weight_files(path, budget)
        places, metadata = find_arrays(files, budget)
        named = dict(read_arrays(places, budget))
        if _NOTE_KEY in metadata and len(files) == 1:
            tree = outline(parse_json(metadata[_NOTE_KEY].encode(), budget), named, budget)
        else:
            tree = nest(named, "/" if metadata.get(_SEPARATOR_KEY) == "/" else None, budget)
        return select_params(tree, params_key, path)


def save_safetensors(path: str | Path, params: Any) -> Path:
    """Write `params` to a .safetensors file, whole or not at all, and return its path.

    The levels of the tree are joined with "/", and what they were made of is noted beside them: lists,
    tuples, named tuples, dataclasses, None and Python's numbers come back as they are, arrays as NumPy's,
    bfloat16 and float8 included.

    Raises:
        InputError: `path` does not end in .safetensors, or a leaf has a type the format lacks.

    Example:
        >>> import tempfile, numpy as np
        >>> from lltc.checkpoints import open_checkpoint, save_safetensors
        >>> path = save_safetensors(tempfile.mkdtemp() + "/step_10.safetensors", {"bias": np.array([1.0])})
        >>> open_checkpoint(path).load()["bias"]
        array([1.])
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(
            f"path is '{path}', but save_safetensors writes files whose name ends in .safetensors; rename it."
        )
    leaves, note = describe(params)
    return write_arrays(path, leaves, {_SEPARATOR_KEY: "/", _NOTE_KEY: json.dumps(note)})


def write_arrays(path: Path, named: Mapping[str, Any], metadata: dict[str, str]) -> Path:
    """Write arrays by name to a .safetensors file, whole or not at all, and return its path.

    Raises:
        InputError: an array has a type the format lacks.
    """
    from safetensors.numpy import save

    arrays = {name: _native(np.asarray(leaf)) for name, leaf in named.items()}
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES.values():
            raise InputError(
                f"params holds '{name}' of type {array.dtype}, which safetensors cannot store; "
                "convert it or leave it out of params."
            )
    payload = save(arrays, metadata=metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, payload)
    return path


def _native(array: np.ndarray) -> np.ndarray:
    """Return an array whose bytes lie as the format wants them, in the order of a little-endian machine."""
    return np.array(array, dtype=array.dtype.newbyteorder("<"), order="C")


def find_arrays(files: tuple[Path, ...], budget: Budget) -> tuple[dict[str, Place], dict[str, Any]]:
    """Return where each array of one checkpoint lies, and the notes of its file; of the arrays none is read.

    Args:
        files: one file, or an index and its shards.
        budget: what is left of the limits.
    """
    index, files = split_index(files)
    shards: list[list[Place]] = []
    metadata: dict[str, Any] = {}
    for file in files:
        with reading(file):
            listed, metadata = _read_header(file, budget)
        shards.append(sorted(listed, key=attrgetter("name")))
    check_shards(index, [[place.name for place in shard] for shard in shards], budget)
    return {place.name: place for shard in shards for place in shard}, metadata


def read_arrays(places: Mapping[str, Place], budget: Budget) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays at `places` by their names, file by file."""
    by_file = lambda item: item[1].file
    for file, group in groupby(sorted(places.items(), key=by_file), by_file):
        with reading(file), open_file(file) as handle:
            for name, place in group:
                yield name, _read_array(handle, place, budget)


def _read_header(path: Path, budget: Budget) -> tuple[list[Place], dict[str, Any]]:
    with open_file(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        length = int.from_bytes(handle.read(8), "little")
        if not 0 < length <= min(size - 8, _MAX_HEADER):
            raise ValueError(f"it announces a header of {length} bytes, which it does not have")
        header = parse_json(handle.read(length), budget)
        metadata = header.pop(_METADATA, None) or {}
        places = [_place(path, name, entry, 8 + length, budget) for name, entry in header.items()]
        _check_places(places, 8 + length, size)
        return places, metadata


def _place(path: Path, name: str, entry: dict[str, Any], start: int, budget: Budget) -> Place:
    budget.count()
    if entry["dtype"] not in _DTYPES:
        raise CheckpointError(
            f"Cannot read checkpoint '{path}': array '{printable(name)}' has type "
            f"{printable(str(entry['dtype']), 40)}, which NumPy has no match for; convert it to one of "
            f"{', '.join(_DTYPES)}."
        )
    dtype, shape = number_type(_DTYPES[entry["dtype"]]), checked_shape(entry["shape"])
    first, last = (start + checked_length(offset, "an offset") for offset in entry["data_offsets"])
    return Place(path, name, dtype, shape, first, last)


def _check_places(places: list[Place], start: int, size: int) -> None:
    """Refuse arrays that overlap, leave bytes between them, or are not as long as their shapes want."""
    end = start
    for place in sorted(places, key=attrgetter("start", "stop")):
        if place.start != end or place.stop - place.start != place.dtype.itemsize * math.prod(place.shape):
            raise ValueError(f"array '{printable(place.name, 80)}' does not lie where it should")
        end = place.stop
    if end != size:
        raise ValueError(f"its arrays want {end - start} bytes, of which it has {size - start}")


def _read_array(handle: BinaryIO, place: Place, budget: Budget) -> np.ndarray:
    budget.take(place.stop - place.start, f"array '{printable(place.name, 80)}'")
    content = np.empty(place.stop - place.start, np.uint8)
    handle.seek(place.start)
    fill(handle, content)
    return as_array(content, place.dtype, place.shape)
