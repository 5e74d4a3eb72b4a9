"""The database (OCDBT) in which Orbax keeps arrays: where each value lies, found without being led astray.

TensorStore decodes the index, node by node; how far a node may unpack is looked at before it does.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from lltc.checkpoints.formats.values import Value
from lltc.checkpoints.formats.zstd import unpacked_bound
from lltc.checkpoints.intake.budget import Budget

MANIFEST = "manifest.ocdbt"
_MANIFEST_MAGIC, _NODE_MAGIC = bytes.fromhex("0cdb3a2a"), bytes.fromhex("0cdb20de")
_NUMBERED = re.compile(r"manifest\.[0-9a-f]{16}")
_PLAIN, _ZSTD = b"\0\0", b"\0\1"
_HEADER, _CHECKSUM = 12, 4
_LOCATION = re.compile(r"(?:btreenode|value):([^:]*):([^:]*):([0-9]{1,18}):([0-9]{1,18})")
# A value of the index becomes a dict with its key, and a location as text.
_GROWTH = 16


def read_index(tensorstore: Any, folder: Path, budget: Budget) -> dict[bytes, Value]:
    """Return every value of the database in `folder` by its key.

    Raises:
        ValueError: the index is damaged, or of a kind that Orbax does not write.
    """
    if any(_NUMBERED.fullmatch(entry.name) for entry in folder.iterdir()):
        raise ValueError("its index is kept in numbered files, as Orbax does not write it")
    base = tensorstore.KvStore.open({"driver": "file", "path": f"{folder.resolve()}/"}).result()
    _check_unpacking(Value.of(folder / MANIFEST), _MANIFEST_MAGIC, budget)
    versions = tensorstore.ocdbt.dump(base).result()["versions"]
    root = versions[-1]["root"] if versions else {}
    values: dict[bytes, Value] = {}
    waiting = [root["location"]] if "location" in root else []
    visited = set(waiting)
    for location in waiting:
        _check_unpacking(_value_at(folder, location), _NODE_MAGIC, budget)
        for entry in tensorstore.ocdbt.dump(base, location).result()["entries"]:
            budget.count()
            if "inline_value" in entry:
                values[bytes(entry["key"])] = Value.of(bytes(entry["inline_value"]))
            elif "indirect_value" in entry:
                values[bytes(entry["key"])] = _value_at(folder, entry["indirect_value"])
            elif entry["location"] not in visited:
                visited.add(entry["location"])
                waiting.append(entry["location"])
    return values


def _check_unpacking(node: Value, magic: bytes, budget: Budget) -> None:
    """Book what a node of the index unpacks to, before it is unpacked."""
    content = node.read(budget)
    if content[:4] != magic or len(content) < _HEADER + 2 + _CHECKSUM:
        raise ValueError("its index is damaged")
    packing, body = content[_HEADER : _HEADER + 2], content[_HEADER + 2 : -_CHECKSUM]
    if packing not in (_PLAIN, _ZSTD):
        raise ValueError("its index is of a version that is not known")
    size = len(body)
    if packing == _ZSTD:
        with Value.of(body).opened() as read:
            size = unpacked_bound(read, size, budget.left())
    budget.take(_GROWTH * size, "its index")


def _value_at(folder: Path, location: str) -> Value:
    match = _LOCATION.fullmatch(location)
    if match is None:
        raise ValueError("its index names a place that is none")
    name = unquote(match[1], errors="strict") + unquote(match[2], errors="strict")
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/"):
        raise ValueError("its index names a file outside of the checkpoint")
    return Value(folder / name, int(match[3]), int(match[4]))
