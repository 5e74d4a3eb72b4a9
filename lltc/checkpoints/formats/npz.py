"""NumPy archives (.npz), read without ever unpickling."""

import json
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lltc.checkpoints.formats.archives import open_archive, open_member
from lltc.checkpoints.formats.npy import read_header, read_numbers, read_text
from lltc.checkpoints.intake.arrays import number_type
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

_TAG, _NOTE = "__lltc__", "tree"
_FOREIGN = {"separator": None, "names": [], "dtypes": {}}
_SUFFIX = ".npy"


def read_npz(path: Path, params_key: str | None, budget: Budget) -> Any:
    """Return the parameters of one .npz file as nested dicts of NumPy arrays.

    Names nest at "/" where any holds one, else at ".". Only numbers are read; object arrays, which need
    unpickling, text and dates are refused. Types NumPy cannot name on disk (bfloat16, float8) survive in
    files of `save_npz`; elsewhere they are nameless bytes and are refused.
    """
    with reading(path), open_file(path) as handle:
        if handle.read(2) != b"PK":
            raise CheckpointError(
                f"Cannot read checkpoint '{path}': it is not a .npz archive; save it with save_npz."
            )
        with open_archive(handle, budget) as archive:
            members = _members(archive)
            tag = _read_tag(archive, members.pop(_TAG), budget) if _TAG in members else _FOREIGN
            if missing := sorted(set(tag["names"]) - members.keys()):
                raise CheckpointError(
                    f"Cannot read checkpoint '{path}': its array '{missing[0]}' is lost; copy it again."
                )
            arrays = {name: _read_array(archive, member, budget) for name, member in members.items()}
        named = {name: _typed(path, name, array, tag["dtypes"].get(name)) for name, array in arrays.items()}
        noted = tag.get(_NOTE)
        tree = outline(noted, named, budget) if noted is not None else nest(named, tag["separator"], budget)
        return select_params(tree, params_key, path)


def save_npz(path: str | Path, params: Any) -> Path:
    """Write `params` to a .npz file, whole or not at all, and return its path.

    The levels of the tree are joined with "/", and what they were made of is noted beside them: lists,
    tuples, named tuples, dataclasses, None and Python's numbers come back as they are, arrays as NumPy's,
    bfloat16 and float8 included.

    Raises:
        InputError: `path` does not end in .npz, or a leaf is not an array of numbers.

    Example:
        >>> import tempfile, numpy as np
        >>> from lltc.checkpoints import open_checkpoint, save_npz
        >>> path = save_npz(tempfile.mkdtemp() + "/step_10.npz", {"dense": {"bias": np.array([1.0, 2.0])}})
        >>> open_checkpoint(path).load()["dense"]["bias"]
        array([1., 2.])
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(f"path is '{path}', but save_npz writes files whose name ends in .npz; rename it.")
    leaves, note = describe(params)
    arrays = {name: np.asarray(leaf) for name, leaf in leaves.items()}
    dtypes = {name: array.dtype.name for name, array in arrays.items() if is_extension(array.dtype)}
    arrays |= {name: arrays[name].view(f"V{arrays[name].itemsize}") for name in dtypes}
    tag = np.array(json.dumps({"separator": "/", "names": list(arrays), "dtypes": dtypes, _NOTE: note}))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda handle: write_zip(handle, {_TAG: tag, **arrays}))
    return path


def is_extension(dtype: np.dtype) -> bool:
    """Tell whether another library registered `dtype` with NumPy, as ml_dtypes does bfloat16."""
    return dtype.isbuiltin == 2


def write_zip(handle: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    """Write `arrays` as np.savez does, which itself takes the names as keywords and fails on "file"."""
    with zipfile.ZipFile(handle, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}{_SUFFIX}", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _members(archive: zipfile.ZipFile) -> dict[str, str]:
    """Return the member of each array by the array's name."""
    names = archive.namelist()
    members = {name.removesuffix(_SUFFIX): name for name in names}
    if len(members) < len(names):
        raise ValueError("it holds two members of one name")
    return members


def _read_tag(archive: zipfile.ZipFile, member: str, budget: Budget) -> dict[str, Any]:
    """Return what `save_npz` noted of the arrays: their names, and types that NumPy has no name for."""
    with open_member(archive, member) as stream:
        text = read_text(stream, read_header(stream), budget)
    tag = parse_json(text.encode(), budget)
    names, dtypes, separator = tag["names"], tag["dtypes"], tag["separator"]
    if not (isinstance(names, list) and isinstance(dtypes, dict) and separator in (None, "/", ".")):
        raise ValueError("its list of names is damaged")
    return tag


def _read_array(archive: zipfile.ZipFile, member: str, budget: Budget) -> np.ndarray:
    with open_member(archive, member) as stream:
        return read_numbers(stream, read_header(stream), budget, member.removesuffix(_SUFFIX))


def _typed(path: Path, name: str, array: np.ndarray, dtype: str | None) -> np.ndarray:
    if array.dtype.kind != "V":
        return array
    if dtype is None:
        raise CheckpointError(
            f"Cannot read checkpoint '{path}': array '{printable(name)}' is raw bytes whose type was not "
            "recorded, as happens to bfloat16; save it with lltc.checkpoints.save_npz, as safetensors or as "
            "float32."
        )
    narrow = number_type(dtype)
    if narrow.itemsize != array.itemsize or not is_extension(narrow):
        raise ValueError(f"array '{printable(name, 80)}' cannot be of type {dtype}")
    return array.view(narrow)
