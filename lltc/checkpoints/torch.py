"""PyTorch files (.pt, .pth, .bin, .ckpt), read as weights only and without PyTorch.

A file of `torch.save` is a pickle that describes the tensors and, beside it, their bytes. The pickle is
followed as plain data (`opcodes`), the few functions by which PyTorch describes a tensor are understood, and
of the bytes only those of the parameters are read.
"""

import zipfile
from collections import ChainMap
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lltc.checkpoints.files import reading
from lltc.checkpoints.opcodes import Global, Opaque, read_opcodes
from lltc.checkpoints.shards import check_shards, split_index, weight_files
from lltc.checkpoints.tree import dtype_named, keep_arrays, map_leaves, nest, select_params
from lltc.errors import CheckpointError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
    "torch.ComplexDoubleStorage": "complex128",
    "torch.ComplexFloatStorage": "complex64",
    "torch.storage.UntypedStorage": "uint8",
}
_DICTS = ("collections.OrderedDict", "collections.defaultdict", "builtins.dict")
_TENSORS = tuple(f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3"))
_WRAPPERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
_PLAIN = ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer")


@dataclass(frozen=True)
class _Storage:
    """A run of `size` numbers outside the pickle; `fetch` reads its bytes."""

    key: str
    dtype: str
    size: int
    fetch: Callable[["_Storage"], bytes]


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage; offset, shape and strides count numbers of type `dtype`."""

    storage: _Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(path: Path, params_key: str | None = None) -> Any:
    """Return the parameters of one PyTorch state dict or training checkpoint as nested dicts of NumPy arrays.

    Names nest at "."; leaves that are no tensors or numbers are left out. A sharded model is put together by
    its index. Parameters inside a pickled module or another Python object are refused: they come out only
    by running the code the file names.
    """
    index, files = split_index(weight_files(path))
    with ExitStack() as stack:
        states = [_open_state(file, stack) for file in files]
        with reading(path):
            state = states[0] if index is None else dict(ChainMap(*states))
            tree = _nest_all(keep_arrays(state, _keep))
        check_shards(index, state)
        params = select_params(tree, params_key, path)
        with reading(path):
            return map_leaves(partial(_as_array, path), params)


def _open_state(path: Path, stack: ExitStack) -> Any:
    with reading(path):
        handle = stack.enter_context(path.open("rb"))
        if zipfile.is_zipfile(handle):
            return _open_zip(stack.enter_context(zipfile.ZipFile(handle)))
        handle.seek(0)
        return _open_legacy(handle)


def _open_zip(archive: zipfile.ZipFile) -> Any:
    names = archive.namelist()
    root = next((name[: -len("data.pkl")] for name in names if name.endswith("/data.pkl")), None)
    if root is None:
        raise ValueError("it is a zip archive, but not one of torch.save")
    if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
        raise ValueError("it was written on a big-endian machine")
    fetch = cache(lambda storage: archive.read(f"{root}data/{storage.key}"))
    stream = BytesIO(archive.read(f"{root}data.pkl"))
    return read_opcodes(stream, call=_call, refer=lambda pid: _storage(pid, fetch))


def _open_legacy(handle: BinaryIO) -> Any:
    """Read the format of before PyTorch 1.6: five pickles, then every storage behind its length."""
    storages: dict[str, _Storage] = {}
    starts: dict[str, int] = {}

    @cache
    def fetch(storage: _Storage) -> bytes:
        handle.seek(starts[storage.key])
        content = handle.read(_num_bytes(storage))
        if len(content) < _num_bytes(storage):
            raise ValueError("it ends before its last number")
        return content

    def refer(pid: Any) -> _Storage:
        storage = _storage(pid, fetch)
        return storages.setdefault(storage.key, storage)

    if read_opcodes(handle) != _LEGACY_MAGIC:
        raise ValueError("it is not a file of torch.save")
    for _ in ("protocol", "system"):
        read_opcodes(handle)
    state = read_opcodes(handle, call=_call, refer=refer)
    keys = read_opcodes(handle)
    position = handle.tell()
    for key in keys:
        starts[key] = position + 8
        position += 8 + _num_bytes(storages[key])
    return state


def _num_bytes(storage: _Storage) -> int:
    return storage.size * _dtype(storage.dtype).itemsize


def _storage(pid: Any, fetch: Callable[[_Storage], bytes]) -> _Storage:
    kind, storage_type, key, _location, size, *view = pid
    if kind != "storage" or storage_type.name not in _STORAGES or any(view):
        raise ValueError(f"it keeps numbers in a {storage_type.name}, which cannot be read")
    return _Storage(key, _STORAGES[storage_type.name], size, fetch)


def _call(name: str, args: tuple) -> Any:
    """Return what PyTorch would make of a call, where it describes weights, and an `Opaque` where not."""
    if name in _DICTS:
        return dict(args[0]) if args and isinstance(args[0], list) else {}
    if name in _WRAPPERS:
        return args[0]
    if name == "torch._tensor._rebuild_from_type_v2" and args[1].name in _PLAIN:
        return _call(args[0].name, args[2])
    if name in _TENSORS and isinstance(args[0], _Storage):
        storage, offset, shape, strides, *rest = args
        del rest[:2]  # whether it wants gradients, and its hooks
        dtype = rest.pop(0).name.removeprefix("torch.") if name.endswith("_v3") else storage.dtype
        # What is left marks a tensor as conjugated or negated on the fly.
        if not any(rest):
            return _Tensor(storage, dtype, offset, shape, strides)
    return Opaque(name, list(args))


def _keep(leaf: Any) -> Any:
    if isinstance(leaf, (bool, int, float, complex)):
        return np.asarray(leaf)
    return leaf if isinstance(leaf, _Tensor) or (isinstance(leaf, Opaque) and _holds_arrays(leaf)) else None


def _holds_arrays(opaque: Opaque) -> bool:
    seen: set[int] = set()
    waiting: list[Any] = [opaque]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        numpy_array = isinstance(item, Global) and item.name == "numpy.ndarray"
        if numpy_array or isinstance(item, (_Tensor, _Storage)):
            return True

        waiting += item.parts if isinstance(item, Opaque) else []
        waiting += item.values() if isinstance(item, dict) else []
        waiting += item if isinstance(item, (list, tuple, set)) else []
    return False


def _nest_all(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_nest_all(child) for child in tree]
    return nest({key: _nest_all(child) for key, child in tree.items()}) if isinstance(tree, dict) else tree


def _dtype(name: str) -> np.dtype:
    try:
        return dtype_named(name)
    except TypeError as error:
        raise ValueError(f"it holds numbers of type {name}, which NumPy has no match for") from error


def _as_array(path: Path, leaf: Any) -> np.ndarray:
    if isinstance(leaf, Opaque):
        raise CheckpointError(
            f"Cannot read checkpoint '{path}': its parameters lie inside a Python object ({leaf.name}), "
            "which only running its code would bring back; save model.state_dict() or safetensors instead."
        )
    if not isinstance(leaf, _Tensor):
        return leaf
    dtype = _dtype(leaf.dtype)
    return np.ndarray(
        leaf.shape,
        dtype,
        buffer=leaf.storage.fetch(leaf.storage),
        offset=leaf.offset * dtype.itemsize,
        strides=[stride * dtype.itemsize for stride in leaf.strides],
    )
