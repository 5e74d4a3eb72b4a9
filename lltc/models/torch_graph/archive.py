"""A `.pt2` file as bytes others wrote: read within bounds, as JSON and numbers, never as a pickle.

`torch.export.save` stores its parts as they are, without compression, so that they fit into the file. An
array may show the same numbers again and again; what it takes is counted by the budget of the file.
"""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lltc.checkpoints.intake.arrays import as_view, checked_shape, num_bytes, number_type
from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.documents import parse_json
from lltc.errors import CheckpointError, InputError, printable
from lltc.files import open_regular

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
    """An open `.pt2` file: its zip archive, the folder that all its parts lie in, and what it may cost."""

    parts: zipfile.ZipFile
    root: str
    budget: Budget

    def read(self, name: str) -> bytes:
        """Return a part as bytes."""
        return self.parts.read(f"{self.root}{name}")

    def read_json(self, name: str) -> Any:
        """Return a part as JSON; a `ValueError` where it names something twice."""
        return parse_json(self.read(name), self.budget)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Yield the archive at `path`; whatever is wrong with it becomes one sentence.

    Raises:
        CheckpointError: it is missing, damaged, packed, beyond its budget, or no file of `torch.export.save`.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as parts:
            size = os.fstat(file.fileno()).st_size
            yield Archive(parts, _checked_root(parts, size), Budget(path, size))
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


class Stored(NamedTuple):
    """An array of the archive: its numbers, whether it is a trained parameter, and where it lies."""

    array: np.ndarray
    trained: bool
    place: tuple


def read_arrays(archive: Archive, folder: str, kind: str) -> dict[str, Stored]:
    """Return the arrays of one kind, "weights" or "constants", by name; shared bytes are shared memory."""
    described = archive.read_json(f"data/{folder}/model_{kind}_config.json")["config"]
    fetched: dict[str, bytes] = {}
    views: dict[tuple, np.ndarray] = {}
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
        place = (part, json.dumps([meta[key] for key in ("dtype", "sizes", "strides", "storage_offset")]))
        if place not in views:
            views[place] = _view(fetched[part], meta, archive.budget)
        arrays[name] = Stored(views[place], entry["is_param"] and meta["requires_grad"], place)
    return arrays


def as_dtype(number: Any) -> str:
    """Return the name of PyTorch's type of that number; a `ValueError` where it is none that is read."""
    if number not in DTYPES:
        raise ValueError(
            f"it holds values of PyTorch's type {printable(str(number), 40)}, which are not read"
        )
    return DTYPES[number]


def _view(content: bytes, meta: Mapping[str, Any], budget: Budget) -> np.ndarray:
    dtype = number_type(as_dtype(meta["dtype"]))
    offset, shape, strides = (_whole(meta[key]) for key in ("storage_offset", "sizes", "strides"))
    # A view may show a few bytes again and again, so what counts is the size it has to whoever copies it.
    budget.take(num_bytes(checked_shape(shape), dtype), "an array")
    return as_view(content, dtype, offset, shape, strides)


def _whole(stated: Any) -> Any:
    return [_whole(item) for item in stated] if isinstance(stated, list) else stated["as_int"]
