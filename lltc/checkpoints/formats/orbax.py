"""Orbax folders, of the manager, the checkpointers and v1, read into NumPy.

Orbax's own loaders rebuild arrays on the devices they were saved from, need an event loop of their own
(which a notebook already occupies), and leave half-finished reads behind on a damaged folder. The format
on disk is simple and versioned: `_METADATA` lists the names, TensorStore holds the arrays. Reading those
two needs neither the devices nor the loop, and fetches the parameters alone.

TensorStore makes room for whatever an array announces, so that is looked at before it is asked to.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from lltc.checkpoints.formats.flax import as_number, unpack_msgpack
from lltc.checkpoints.formats.ocdbt import MANIFEST, read_index
from lltc.checkpoints.formats.values import Value
from lltc.checkpoints.formats.zarr import check_array
from lltc.checkpoints.intake.arrays import is_number_type
from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.containers import outline
from lltc.checkpoints.intake.documents import read_json
from lltc.checkpoints.intake.files import file_size, is_file, reading
from lltc.checkpoints.intake.messages import printable
from lltc.checkpoints.intake.selection import select_params
from lltc.checkpoints.intake.steps import parse_step
from lltc.checkpoints.intake.tree import keep_arrays, map_leaves
from lltc.errors import CheckpointError, InputError

_METADATA, _CHECKPOINT_METADATA = "_METADATA", "_CHECKPOINT_METADATA"
_MARKS = (_METADATA, _CHECKPOINT_METADATA, MANIFEST, "orbax.checkpoint")
# Before it had metadata, Orbax kept the tree, and what was small, in one msgpack file.
_AGGREGATE = "checkpoint"
# Where `Saver` notes what the tree was made of.
NOTE = "lltc.tree"
_PLACEHOLDER = "PLACEHOLDER://"
_SEQUENCE_KEY = 1


class _StoredArray(NamedTuple):
    """Where one array lies: its zarr driver, its key-value store, and whether blocks of zeros are absent."""

    item: Path
    name: str
    driver: str
    store: dict[str, Any]
    zeros_left_out: bool

    @classmethod
    def named(cls, item: Path, name: str, metadata: dict[str, Any]) -> "_StoredArray":
        if name.startswith("/") or ".." in PurePosixPath(name).parts or "\0" in name:
            raise ValueError(f"it names the array '{printable(name, 80)}', which does not lie in it")
        folder: dict[str, Any] = {"driver": "file", "path": f"{item.resolve()}/"}
        if is_file(item / MANIFEST):
            store = {"driver": "ocdbt", "base": folder, "path": f"{name}/"}
        else:
            store = folder | {"path": f"{folder['path']}{name}/"}
        return cls(
            item,
            name,
            driver="zarr3" if metadata.get("use_zarr3") else "zarr",
            store=store,
            zeros_left_out=not metadata.get("store_array_data_equal_to_fill_value", False),
        )


def is_orbax(entries: Collection[Path]) -> bool:
    """Tell whether a folder with these `entries` is one Orbax checkpoint (not a folder of several)."""
    names = {entry.name for entry in entries}
    if not names.isdisjoint(_MARKS):
        return True
    # TensorFlow, too, writes a file named so, beside its .index files.
    aggregate = any(entry.name == _AGGREGATE and is_file(entry) for entry in entries)
    if aggregate and not any(name.endswith(".index") for name in names):
        return True
    return any(parse_step(item.name) is None for item in _items(entries))


def orbax_files(folder: Path) -> list[Path]:
    """Return the files below `folder`; a `CheckpointError` where something else than a file or folder is."""
    files: list[Path] = []
    folders = [folder]
    visited = {_identity(folder)}
    for current in folders:
        for entry in current.iterdir():
            if not entry.exists():
                continue
            if not entry.is_dir():
                file_size(entry)
                files.append(entry)
            elif (identity := _identity(entry)) not in visited:
                visited.add(identity)
                folders.append(entry)
    return files


def read_orbax(path: Path, params_key: str | None, budget: Budget) -> Any:
    """Return the parameters of one Orbax checkpoint as nested dicts and lists of NumPy arrays.

    The items of a composite checkpoint are the first level of the tree; a single item is the tree.
    Arrays come whole, however many devices they were saved from; leaves that are not arrays are left out.
    """
    with reading(path):
        params = select_params(_noted(path, _names(path, budget), budget), params_key, path)
    tensorstore = _import_tensorstore()
    with reading(path):
        finders: dict[Path, Callable[[str], Value | None]] = {}
        for leaf in _stored_arrays(params):
            if leaf.item not in finders:
                finders[leaf.item] = _finder(tensorstore, leaf.item, budget)
            check_array(leaf.name, leaf.driver, finders[leaf.item], budget)
        # All are opened before any is waited for.
        pending = map_leaves(partial(_open, tensorstore), params)
        return map_leaves(_fetch, pending)


def _noted(path: Path, tree: Any, budget: Budget) -> Any:
    """Return the tree with the containers that `Saver` noted, where it did."""
    if not is_file(path / _CHECKPOINT_METADATA):
        return tree
    note = (read_json(path / _CHECKPOINT_METADATA, budget).get("custom_metadata") or {}).get(NOTE)
    if note is None:
        return tree
    arrays = dict(_named(tree))
    if note["names"] is not None:
        arrays = {name: arrays[str(number)] for number, name in enumerate(note["names"])}
    return outline(note["tree"], arrays, budget)


def _named(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, (dict, list)):
        for key, child in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _named(child, (*path, str(key)))
    else:
        yield "/".join(path), tree


def _identity(folder: Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _stored_arrays(tree: Any) -> Iterator[_StoredArray]:
    if isinstance(tree, (dict, list)):
        for child in tree.values() if isinstance(tree, dict) else tree:
            yield from _stored_arrays(child)
    elif isinstance(tree, _StoredArray):
        yield tree


def _finder(tensorstore: Any, item: Path, budget: Budget) -> Callable[[str], Value | None]:
    """Return what finds a value of an item's store by its key, None where there is none."""
    if is_file(item / MANIFEST):
        index = read_index(tensorstore, item, budget)
        return lambda key: index.get(key.encode())
    return lambda key: Value.of(item / key) if (item / key).exists() else None


def _items(entries: Iterable[Path]) -> list[Path]:
    folders = [entry for entry in entries if "orbax-checkpoint-tmp" not in entry.name and entry.is_dir()]
    return [folder for folder in folders if is_file(folder / _METADATA)]


def _names(path: Path, budget: Budget) -> Any:
    if is_file(path / _METADATA) or is_file(path / _AGGREGATE):
        return _item_names(path, budget)
    items = _items(sorted(path.iterdir()))
    if not items:
        raise CheckpointError(
            f"Cannot read checkpoint '{path}': it has no {_METADATA} file, which lists the arrays of an "
            "Orbax checkpoint; it is incomplete, delete it or copy it again."
        )
    trees = {item.name: _item_names(item, budget) for item in items}
    return next(iter(trees.values())) if len(trees) == 1 else trees


def _item_names(item: Path, budget: Budget) -> Any:
    metadata = read_json(item / _METADATA, budget) if is_file(item / _METADATA) else {}
    if is_file(item / _AGGREGATE):
        tree = unpack_msgpack(item / _AGGREGATE, budget)
        return keep_arrays(tree, partial(_aggregated, item, metadata), budget)
    root: dict[str, Any] = {}
    sequences: set[tuple[str, ...]] = set()
    for entry in metadata["tree_metadata"].values():
        value = entry["value_metadata"]
        # Empty containers and strings hold no array.
        if value.get("skip_deserialize") or value["value_type"] == "string":
            continue
        keys = tuple(str(key["key"]) for key in entry["key_metadata"])
        budget.check_depth(len(keys))
        budget.count(len(keys))
        sequences |= {
            keys[:depth]
            for depth, key in enumerate(entry["key_metadata"])
            if key["key_type"] == _SEQUENCE_KEY
        }
        node = root
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        node[keys[-1]] = _StoredArray.named(item, ".".join(keys), metadata)
    return _with_lists(root, sequences, ())


def _aggregated(item: Path, metadata: dict[str, Any], leaf: Any) -> Any:
    if isinstance(leaf, str) and leaf.startswith(_PLACEHOLDER):
        return _StoredArray.named(item, leaf.removeprefix(_PLACEHOLDER), metadata)
    return as_number(leaf)


def _with_lists(tree: Any, sequences: set[tuple[str, ...]], prefix: tuple[str, ...]) -> Any:
    if not isinstance(tree, dict):
        return tree
    children = {key: _with_lists(child, sequences, (*prefix, key)) for key, child in tree.items()}
    indices = [str(index) for index in range(len(children))]
    if prefix in sequences and set(children) == set(indices):
        return [children[index] for index in indices]
    return children


def _open(tensorstore: Any, leaf: Any) -> Any:
    if not isinstance(leaf, _StoredArray):
        return leaf
    spec = {
        "driver": leaf.driver,
        "kvstore": leaf.store,
        # Without this a lost block of values is read as zeros.
        "fill_missing_data_reads": leaf.zeros_left_out,
    }
    return tensorstore.open(spec, open=True, read=True)


def _fetch(leaf: Any) -> Any:
    if leaf is None or isinstance(leaf, (bool, int, float, complex)):
        return leaf
    array = leaf if isinstance(leaf, np.ndarray) else np.asarray(leaf.result().read().result())
    if not is_number_type(array.dtype):
        raise ValueError(f"it holds values of type {array.dtype}, which are not read")
    return array


def _import_tensorstore() -> Any:
    try:
        import tensorstore
    except ImportError as error:
        raise InputError(
            "Reading Orbax checkpoints needs TensorStore, which Orbax brings along; "
            "install it with: pip install orbax-checkpoint"
        ) from error
    return tensorstore
