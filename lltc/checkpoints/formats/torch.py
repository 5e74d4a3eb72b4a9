"""PyTorch files (.pt, .pth, .bin, .ckpt), read as weights only and without PyTorch.

A file of `torch.save` is a pickle that describes the tensors and, beside it, their bytes. The pickle is
followed as plain data (`opcodes`), the few functions by which PyTorch describes a tensor are understood, and
of the bytes only those of the parameters are read.
"""

import os
import zipfile
from collections import ChainMap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lltc.checkpoints.formats.archives import open_archive, read_member
from lltc.checkpoints.formats.npy import fill
from lltc.checkpoints.formats.opcodes import Global, Opaque, make_dict, read_opcodes
from lltc.checkpoints.formats.shards import check_shards, is_deepspeed, split_index, weight_files
from lltc.checkpoints.intake.arrays import (
    as_view,
    checked_length,
    checked_shape,
    is_number_type,
    num_bytes,
    number_type,
)
from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.files import open_file, reading
from lltc.checkpoints.intake.messages import printable
from lltc.checkpoints.intake.selection import select_params
from lltc.checkpoints.intake.tree import keep_arrays, map_leaves, nest
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


# Their fields are a file's, so neither is ever compared or hashed by them.
@dataclass(frozen=True, eq=False)
class _Storage:
    """A run of `size` numbers outside the pickle; `fetch` reads its bytes."""

    key: str
    dtype: str
    size: int
    fetch: Callable[["_Storage"], np.ndarray]


@dataclass(frozen=True, eq=False)
class _Tensor:
    """A view of a storage; offset, shape and strides count numbers of type `dtype`."""

    storage: _Storage
    dtype: str
    offset: Any
    shape: Any
    strides: Any


def read_torch(path: Path, params_key: str | None, budget: Budget) -> Any:
    """Return the parameters of one PyTorch state dict or training checkpoint as nested dicts of NumPy arrays.

    Names nest at "."; leaves that are no tensors or numbers are left out. A sharded model is put together by
    its index. Parameters inside a pickled module or another Python object are refused: they come out only
    by running the code the file names.
    """
    with ExitStack() as stack, reading(path):
        index, files = split_index(weight_files(path, budget))
        states = [_open_state(file, stack, budget) for file in files]
        state = states[0] if index is None else dict(ChainMap(*states))
        if is_deepspeed(files[0]):
            _check_module(path, state)
        tree = _nest_all(keep_arrays(state, partial(_keep, budget), budget), budget)
        check_shards(index, states, budget)
        params = select_params(tree, params_key, path)
        return map_leaves(partial(_as_array, path, budget), params)


def _check_module(path: Path, state: Any) -> None:
    """Refuse a file of DeepSpeed's that lacks the weights, or holds empty ones."""
    module = state.get("module") if isinstance(state, dict) else None
    tensors = list(_tensors(module))
    if not tensors or any(0 in checked_shape(tensor.shape) for tensor in tensors):
        raise CheckpointError(
            f"Cannot read checkpoint '{path}': its weights are not in it, as ZeRO stage 3 and pipelines keep "
            "them elsewhere; put them together with python zero_to_fp32.py, which DeepSpeed leaves beside it."
        )


def _tensors(tree: Any) -> Iterator["_Tensor"]:
    if isinstance(tree, dict):
        for child in tree.values():
            yield from _tensors(child)
    elif isinstance(tree, _Tensor):
        yield tree


def _open_state(path: Path, stack: ExitStack, budget: Budget) -> Any:
    with reading(path):
        handle = stack.enter_context(open_file(path))
        if zipfile.is_zipfile(handle):
            return _open_zip(stack.enter_context(open_archive(handle, budget)), budget)
        handle.seek(0)
        return _open_legacy(handle, budget)


def _open_zip(archive: zipfile.ZipFile, budget: Budget) -> Any:
    names = archive.namelist()
    root = next((name[: -len("data.pkl")] for name in names if name.endswith("/data.pkl")), None)
    if root is None:
        raise ValueError("it is a zip archive, but not one of torch.save")
    order = f"{root}byteorder"
    if order in names and bytes(read_member(archive, order, budget)) != b"little":
        raise ValueError("it was written on a big-endian machine")
    fetched: dict[str, np.ndarray] = {}

    def fetch(storage: _Storage) -> np.ndarray:
        # Tied weights are views of one storage, which is read once.
        if storage.key not in fetched:
            fetched[storage.key] = read_member(archive, f"{root}data/{storage.key}", budget)
        return fetched[storage.key]

    stream = BytesIO(read_member(archive, f"{root}data.pkl", budget))
    return read_opcodes(
        stream, call=partial(_call, budget), refer=lambda pid: _storage(pid, fetch), budget=budget
    )


class _Bounded:
    """A file from which no one can ask for more bytes than it has left, whatever length a pickle states."""

    def __init__(self, handle: BinaryIO):
        self.handle, self.size = handle, os.fstat(handle.fileno()).st_size
        self.tell, self.readline = handle.tell, handle.readline

    def read(self, length: int) -> bytes:
        return self.handle.read(max(0, min(length, self.size - self.tell())))


def _open_legacy(handle: BinaryIO, budget: Budget) -> Any:
    """Read the format of before PyTorch 1.6: five pickles, then every storage behind its length."""
    storages: dict[str, _Storage] = {}
    starts: dict[str, int] = {}
    fetched: dict[str, np.ndarray] = {}
    stream: Any = _Bounded(handle)

    def fetch(storage: _Storage) -> np.ndarray:
        if storage.key not in fetched:
            length, start = _storage_bytes(storage), starts[storage.key]
            if start + length > stream.size:
                raise ValueError("it ends before its last number")
            budget.take(length, "a tensor")
            handle.seek(start)
            fetched[storage.key] = np.empty(length, np.uint8)
            fill(handle, fetched[storage.key])
        return fetched[storage.key]

    def refer(pid: Any) -> _Storage:
        storage = _storage(pid, fetch)
        return storages.setdefault(storage.key, storage)

    if read_opcodes(stream, budget=budget) != _LEGACY_MAGIC:
        raise ValueError("it is not a file of torch.save")
    for _ in ("protocol", "system"):
        read_opcodes(stream, budget=budget)
    state = read_opcodes(stream, call=partial(_call, budget), refer=refer, budget=budget)
    keys = read_opcodes(stream, budget=budget)
    position = handle.tell()
    for key in keys:
        starts[key] = position + 8
        position += 8 + _storage_bytes(storages[key])
    return state


def _storage_bytes(storage: _Storage) -> int:
    return storage.size * number_type(storage.dtype).itemsize


def _storage(pid: Any, fetch: Callable[[_Storage], np.ndarray]) -> _Storage:
    kind, storage_type, key, _location, size, *view = pid
    if kind != "storage" or not isinstance(storage_type, Global) or not isinstance(key, str):
        raise ValueError("it refers to something other than numbers")
    if storage_type.name not in _STORAGES or any(view):
        raise ValueError(f"it keeps numbers in a {storage_type.name}, which cannot be read")
    return _Storage(key, _STORAGES[storage_type.name], checked_length(size, "a size"), fetch)


def _call(budget: Budget, name: str, args: tuple) -> Any:
    """Return what PyTorch would make of a call, where it describes weights, and an `Opaque` where not."""
    if name in _DICTS:
        pairs = args[0] if args and isinstance(args[0], list) else []
        budget.take(128 * len(pairs), "its pickle")
        return make_dict(pairs, budget)
    if name in _WRAPPERS:
        return args[0]
    if name == "torch._tensor._rebuild_from_type_v2" and args[1].name in _PLAIN:
        return _call(budget, args[0].name, args[2])
    if name in _TENSORS and isinstance(args[0], _Storage):
        storage, offset, shape, strides, *rest = args
        del rest[:2]  # whether it wants gradients, and its hooks
        dtype = rest.pop(0).name.removeprefix("torch.") if name.endswith("_v3") else storage.dtype
        # What is left marks a tensor as conjugated or negated on the fly.
        if not any(rest):
            return _Tensor(storage, dtype, offset, shape, strides)
    return Opaque(name, list(args))


def _keep(budget: Budget, leaf: Any) -> Any:
    if isinstance(leaf, (bool, int, float, complex)):
        number = np.asarray(leaf)
        # An integer of more than 64 bits, as random states hold, is no number to NumPy.
        return number if is_number_type(number.dtype) else None
    if isinstance(leaf, Opaque):
        return leaf if _holds_arrays(leaf, budget) else None
    return leaf if isinstance(leaf, _Tensor) else None


def _holds_arrays(opaque: Opaque, budget: Budget) -> bool:
    visited: set[int] = set()
    waiting: list[Any] = [opaque]
    while waiting:
        item = waiting.pop()
        if id(item) in visited:
            continue
        visited.add(id(item))
        numpy_array = isinstance(item, Global) and item.name == "numpy.ndarray"
        if numpy_array or isinstance(item, (_Tensor, _Storage)):
            return True
        if isinstance(item, (Opaque, dict, list, tuple, set)):
            parts = item.parts if isinstance(item, Opaque) else item
            budget.count(1 + len(parts))
            waiting += parts.values() if isinstance(parts, dict) else parts
    return False


def _nest_all(tree: Any, budget: Budget, depth: int = 0) -> Any:
    if isinstance(tree, list):
        return [_nest_all(child, budget, depth + 1) for child in tree]
    if not isinstance(tree, dict):
        return tree
    # A name's levels lie above what it names.
    levels = {key: max(key.count("."), key.count("/")) + 1 for key in tree}
    children = {key: _nest_all(child, budget, depth + levels[key]) for key, child in tree.items()}
    return nest(children, budget=budget, depth=depth)


def _as_array(path: Path, budget: Budget, leaf: Any) -> np.ndarray:
    if isinstance(leaf, Opaque):
        name = printable(leaf.name)
        raise CheckpointError(
            f"Cannot read checkpoint '{path}': its parameters lie inside a Python object ({name}), which "
            "only running its code would bring back; save model.state_dict() or safetensors instead."
        )
    if not isinstance(leaf, _Tensor):
        return leaf
    dtype = number_type(leaf.dtype)
    # A view may show a few bytes again and again, so what counts is the size it has to whoever copies it.
    budget.take(num_bytes(checked_shape(leaf.shape), dtype), "a tensor")
    return as_view(leaf.storage.fetch(leaf.storage), dtype, leaf.offset, leaf.shape, leaf.strides)
