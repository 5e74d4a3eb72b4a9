"""NumPy archives (.npz), read without ever unpickling."""

import json
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lltc.checkpoints.files import reading
from lltc.checkpoints.tree import flatten, nest, select_params
from lltc.errors import CheckpointError, InputError
from lltc.files import write_whole

_TAG = "__lltc__"
_FOREIGN = {"separator": None, "names": [], "dtypes": {}}


def read_npz(path: Path, params_key: str | None = None) -> Any:
    """Return the parameters of one .npz file as nested dicts of NumPy arrays.

    Names nest at "/" where any holds one, else at ".". Object arrays need unpickling and are refused.
    Types NumPy cannot name on disk (bfloat16, float8) survive in files of `save_npz`; elsewhere they are
    nameless bytes and are refused.
    """
    # NumPy leaves a damaged file open, so the handle is ours.
    with reading(path), path.open("rb") as handle:
        archive = np.load(handle, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise CheckpointError(
                f"Cannot read checkpoint '{path}': it is not a .npz archive; save it with save_npz."
            )
        with archive:
            arrays = {name: archive[name] for name in archive.files}
        tag = json.loads(str(arrays.pop(_TAG))) if _TAG in arrays else _FOREIGN
        if missing := sorted(set(tag["names"]) - arrays.keys()):
            raise CheckpointError(
                f"Cannot read checkpoint '{path}': its array '{missing[0]}' is lost; copy it again."
            )
        named = {name: _typed(path, name, array, tag["dtypes"].get(name)) for name, array in arrays.items()}
        tree = nest(named, tag["separator"])
    return select_params(tree, params_key, path)


def save_npz(path: str | Path, params: Any) -> Path:
    """Write `params` to a .npz file, whole or not at all, and return its path.

    The levels of the tree are joined with "/"; lists come back as dicts with the keys "0", "1", … unless
    a template is given to `Checkpoint.load`. bfloat16 and float8 survive.

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
    arrays = {name: np.asarray(leaf) for name, leaf in flatten(params).items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biufc" and not _is_extension(array.dtype):
            raise InputError(
                f"params holds '{name}', which is not an array of numbers; leave it out of params."
            )
    dtypes = {name: array.dtype.name for name, array in arrays.items() if _is_extension(array.dtype)}
    arrays |= {name: arrays[name].view(f"V{arrays[name].itemsize}") for name in dtypes}
    tag = np.array(json.dumps({"separator": "/", "names": list(arrays), "dtypes": dtypes}))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda handle: _write_zip(handle, {_TAG: tag, **arrays}))
    return path


def _is_extension(dtype: np.dtype) -> bool:
    # NumPy's mark of a type that another library registered, as ml_dtypes does bfloat16.
    return dtype.isbuiltin == 2


def _write_zip(handle: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    # np.savez takes the names as keywords and so fails on an array named "file".
    with zipfile.ZipFile(handle, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _typed(path: Path, name: str, array: np.ndarray, dtype: str | None) -> np.ndarray:
    if array.dtype.kind != "V":
        return array
    if dtype is None:
        raise CheckpointError(
            f"Cannot read checkpoint '{path}': array '{name}' is raw bytes whose type was not recorded, as "
            "happens to bfloat16; save it with lltc.checkpoints.save_npz, as safetensors or as float32."
        )
    import ml_dtypes

    return array.view(getattr(ml_dtypes, dtype))
