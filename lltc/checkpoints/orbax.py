"""Orbax folders, of the manager, the checkpointers and v1, read into NumPy.

Orbax's own loaders rebuild arrays on the devices they were saved from, need an event loop of their own
(which a notebook already occupies), and leave half-finished reads behind on a damaged folder. The format
on disk is simple and versioned: `_METADATA` lists the names, TensorStore holds the arrays. Reading those
two needs neither the devices nor the loop, and fetches the parameters alone.
"""

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lltc.checkpoints.files import reading
from lltc.checkpoints.flax import unpack_msgpack
from lltc.checkpoints.steps import parse_step
from lltc.checkpoints.tree import keep_arrays, map_leaves, select_params
from lltc.errors import CheckpointError, InputError

_METADATA = "_METADATA"
_MARKS = (_METADATA, "_CHECKPOINT_METADATA", "manifest.ocdbt", "orbax.checkpoint")
# Before it had metadata, Orbax kept the tree, and what was small, in one msgpack file.
_AGGREGATE = "checkpoint"
_PLACEHOLDER = "PLACEHOLDER://"
_SEQUENCE_KEY = 1


class _StoredArray(NamedTuple):
    """Where one array lies: its zarr driver, its key-value store, and whether blocks of zeros are absent."""

    driver: str
    store: dict[str, Any]
    zeros_left_out: bool

    @classmethod
    def named(cls, item: Path, name: str, metadata: dict[str, Any]) -> "_StoredArray":
        folder: dict[str, Any] = {"driver": "file", "path": f"{item.resolve()}/"}
        if (item / "manifest.ocdbt").is_file():
            store = {"driver": "ocdbt", "base": folder, "path": f"{name}/"}
        else:
            store = folder | {"path": f"{folder['path']}{name}/"}
        return cls(
            driver="zarr3" if metadata.get("use_zarr3") else "zarr",
            store=store,
            zeros_left_out=not metadata.get("store_array_data_equal_to_fill_value", False),
        )


def is_orbax(entries: Iterable[Path]) -> bool:
    """Tell whether a folder with these `entries` is one Orbax checkpoint (not a folder of several)."""
    names = {entry.name for entry in entries}
    if not names.isdisjoint(_MARKS):
        return True
    # TensorFlow, too, writes a file named so, beside its .index files.
    if _AGGREGATE in names and not any(name.endswith(".index") for name in names):
        return True
    return any(parse_step(item.name) is None for item in _items(entries))


def read_orbax(path: Path, params_key: str | None = None) -> Any:
    """Return the parameters of one Orbax checkpoint as nested dicts and lists of NumPy arrays.

    The items of a composite checkpoint are the first level of the tree; a single item is the tree.
    Arrays come whole, however many devices they were saved from; leaves that are not arrays are left out.
    """
    with reading(path):
        names = _names(path)
    params = select_params(names, params_key, path)
    tensorstore = _import_tensorstore()
    with reading(path):
        # All are opened before any is waited for.
        pending = map_leaves(partial(_open, tensorstore), params)
        return map_leaves(_fetch, pending)


def _items(entries: Iterable[Path]) -> list[Path]:
    folders = [entry for entry in entries if "orbax-checkpoint-tmp" not in entry.name and entry.is_dir()]
    return [folder for folder in folders if (folder / _METADATA).is_file()]


def _names(path: Path) -> Any:
    if (path / _METADATA).is_file() or (path / _AGGREGATE).is_file():
        return _item_names(path)
    items = _items(sorted(path.iterdir()))
    if not items:
        raise CheckpointError(
            f"Cannot read checkpoint '{path}': it has no {_METADATA} file, which lists the arrays of an "
            "Orbax checkpoint; it is incomplete, delete it or copy it again."
        )
    trees = {item.name: _item_names(item) for item in items}
    return next(iter(trees.values())) if len(trees) == 1 else trees


def _item_names(item: Path) -> Any:
    metadata = json.loads((item / _METADATA).read_text()) if (item / _METADATA).is_file() else {}
    if (item / _AGGREGATE).is_file():
        return keep_arrays(unpack_msgpack(item / _AGGREGATE), partial(_aggregated, item, metadata))
    root: dict[str, Any] = {}
    sequences: set[tuple[str, ...]] = set()
    for entry in metadata["tree_metadata"].values():
        value = entry["value_metadata"]
        # Empty containers and strings hold no array.
        if value.get("skip_deserialize") or value["value_type"] == "string":
            continue
        keys = tuple(str(key["key"]) for key in entry["key_metadata"])
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
    return np.asarray(leaf) if isinstance(leaf, (np.ndarray, bool, int, float, complex)) else None


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


def _fetch(leaf: Any) -> np.ndarray:
    return leaf if isinstance(leaf, np.ndarray) else np.asarray(leaf.result().read().result())


def _import_tensorstore() -> Any:
    try:
        import tensorstore
    except ImportError as error:
        raise InputError(
            "Reading Orbax checkpoints needs TensorStore, which Orbax brings along; "
            "install it with: pip install orbax-checkpoint"
        ) from error
    return tensorstore
