"""A `.pt2` file as bytes others wrote: read within bounds, as JSON and numbers, never as a pickle.

`torch.export.save` stores its parts as they are, without compression. So a file makes no more of itself than
its own size: that the parts fit into it, and each array into its part, is checked in Python's integers.
"""

import json
import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from lltc.errors import CheckpointError, InputError, printable
from lltc.files import open_regular

MOST_JSON = 1 << 27
_MOST_AXES = 64
# PyTorch's numbers of its types.
DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    34: "uint32",
    35: "uint64",
}


class Archive(NamedTuple):
    """An open `.pt2` file: its zip archive, and the folder that all its parts lie in."""

    parts: zipfile.ZipFile
    root: str

    def read(self, name: str) -> bytes:
        """Return a part as bytes."""
        return self.parts.read(f"{self.root}{name}")

    def read_json(self, name: str) -> Any:
        """Return a part as JSON; a `ValueError` where it is too long, or names something twice."""
        if self.parts.getinfo(f"{self.root}{name}").file_size > MOST_JSON:
            raise ValueError(f"its part '{printable(name, 80)}' is longer than {MOST_JSON:,} bytes")
        return json.loads(self.read(name), object_pairs_hook=unique)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Yield the archive at `path`; whatever is wrong with it becomes one sentence.

    Raises:
        CheckpointError: it is missing, damaged, packed, or no file of `torch.export.save`.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as parts:
            yield Archive(parts, _checked_root(parts, os.fstat(file.fileno()).st_size))
    except InputError:
        raise
    # A damaged file can make what reads it raise almost anything.
    except Exception as error:
        raise CheckpointError(
            f"Cannot read '{path}' as a file of torch.export.save: {_reason(error)}; export the module once "
            "more with python -m lltc.export."
        ) from error


def _checked_root(parts: zipfile.ZipFile, size: int) -> str:
    names = [info.filename for info in parts.infolist()]
    if len(set(names)) < len(names):
        raise ValueError("two of its parts have one name")
    if any(info.compress_type != zipfile.ZIP_STORED for info in parts.infolist()):
        raise ValueError("its parts are compressed")
    if sum(info.file_size for info in parts.infolist()) > size:
        raise ValueError("its parts are longer than it is")
    root = next((name.partition("/")[0] + "/" for name in names if name.endswith("/archive_format")), None)
    if root is None or parts.read(f"{root}archive_format") != b"pt2":
        raise ValueError("it has not the layout of PyTorch 2.9 and later")
    if f"{root}byteorder" in names and parts.read(f"{root}byteorder") != b"little":
        raise ValueError("it was written on a big-endian machine")
    return root


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it nests too deep"
    lines = str(error).splitlines()
    reason = printable(lines[0], 300).rstrip(". ") if lines else type(error).__name__
    if isinstance(error, KeyError | IndexError | TypeError | AttributeError | StopIteration):
        return f"it is not laid out as its format wants ({type(error).__name__} {reason})"
    return getattr(error, "strerror", None) or reason


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the table of these pairs; a `ValueError` where two have one name."""
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a table in it names something twice")
    return table


class Stored(NamedTuple):
    """An array of the archive: whether it is a trained parameter, and where its numbers lie."""

    array: np.ndarray
    trained: bool
    place: tuple


def read_arrays(archive: Archive, folder: str, kind: str) -> dict[str, Stored]:
    """Return the arrays of one kind, "weights" or "constants", by name; shared bytes are shared memory."""
    described = archive.read_json(f"data/{folder}/model_{kind}_config.json")["config"]
    fetched: dict[str, bytes] = {}
    arrays = {}
    for name, entry in described.items():
        if entry["use_pickle"]:
            raise ValueError(
                f"its array '{printable(name, 80)}' is pickled, which only running code brings back"
            )
        part = entry["path_name"]
        if part not in fetched:
            fetched[part] = archive.read(f"data/{folder}/{part}")
        meta = entry["tensor_meta"]
        arrays[name] = Stored(
            _view(fetched[part], meta),
            entry["is_param"] and meta["requires_grad"],
            (part, json.dumps([meta[key] for key in ("dtype", "sizes", "strides", "storage_offset")])),
        )
    return arrays


def as_dtype(number: Any) -> str:
    """Return the name of PyTorch's type of that number; a `ValueError` where it is none that is read."""
    if number not in DTYPES:
        raise ValueError(
            f"it holds values of PyTorch's type {printable(str(number), 40)}, which are not read"
        )
    return DTYPES[number]


def _view(content: bytes, meta: dict[str, Any]) -> np.ndarray:
    name = as_dtype(meta["dtype"])
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    shape = [as_length(size["as_int"]) for size in meta["sizes"]]
    strides = [as_length(stride["as_int"]) for stride in meta["strides"]]
    offset = as_length(meta["storage_offset"]["as_int"])
    if len(shape) != len(strides) or len(shape) > _MOST_AXES:
        raise ValueError("an array in it has more lengths than strides, or fewer")
    if 0 in shape:
        return np.zeros(shape if math.prod(size or 1 for size in shape) < 1 << 40 else [0], dtype)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if (last + 1) * dtype.itemsize > len(content) or math.prod(shape) > max(len(content), 1 << 28):
        raise ValueError("an array in it reaches beyond its own numbers")
    flat = np.frombuffer(content, np.uint8)
    # NumPy counts on truth values being 0 or 1.
    if dtype == np.bool_ and flat.max() > 1:
        raise ValueError("it holds a truth value that is neither 0 nor 1")
    steps = [stride * dtype.itemsize for stride in strides]
    return np.ndarray(shape, dtype, flat, offset * dtype.itemsize, steps)


def as_length(number: Any) -> int:
    """Return a length of an array; a `ValueError` where it is none."""
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << 62:
        raise ValueError("it states a length that is no whole number from 0 to 2^62")
    return number
