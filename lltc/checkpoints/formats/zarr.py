"""Arrays of zarr, versions 2 and 3: what they announce, looked at before TensorStore makes room for it."""

import itertools
import math
import re
from collections.abc import Callable, Iterator
from operator import mod
from typing import Any, NamedTuple

import numpy as np

from lltc.checkpoints.formats.packing import PACKINGS, check_unpacking
from lltc.checkpoints.formats.values import Value
from lltc.checkpoints.intake.arrays import checked_shape, num_bytes, number_type
from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.documents import parse_json
from lltc.checkpoints.intake.messages import printable

_FILES = {"zarr": ".zarray", "zarr3": "zarr.json"}
_MAX_METADATA = 1 << 20
_MAX_DEPTH = 16
_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}
_SPELLED = re.compile(r"[<>|]([biufc])([0-9]{1,2})", re.ASCII)
# The chains of codecs that Orbax and zarr write: to bytes, packed at most once, with a checksum or without.
_CHAIN = re.compile(rf"(transpose )?bytes (?:({'|'.join(PACKINGS)}) )?(crc32c )?")
_CHECKSUM = 4
# By the name of each way to name chunks: what stands ahead of the numbers, and what between them.
_ENCODINGS = {"default": ("c", "/"), "v2": ("", ".")}


class Grid(NamedTuple):
    """An array in chunks; `packing` is how a chunk is packed, `inner` the shape of the chunks in a shard."""

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype
    packing: str | None
    trailer: int
    inner: tuple[int, ...] | None
    index_at_end: bool
    name_chunk: Callable[[tuple[int, ...]], str]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many chunks there are along each dimension."""
        return tuple(-(-length // part) for length, part in zip(self.shape, self.chunk, strict=True))


def check_array(name: str, driver: str, find: Callable[[str], Value | None], budget: Budget) -> None:
    """Book what the array `name` takes once it is read, its chunks unpacked.

    Raises:
        CheckpointError: that is more than is left of `budget`.
        ValueError: it holds no numbers, or is damaged.
    """
    metadata = find(f"{name}/{_FILES[driver]}")
    if metadata is None or metadata.size > _MAX_METADATA:
        raise ValueError(f"array '{printable(name, 80)}' has no readable {_FILES[driver]}")
    grid = _GRIDS[driver](_shallow(parse_json(metadata.read(budget), budget)))
    padded = [count * part for count, part in zip(grid.counts, grid.chunk, strict=True)]
    budget.take(num_bytes(padded, grid.dtype), f"array '{printable(name, 80)}'")
    budget.count(1 + math.prod(grid.counts))
    for place in itertools.product(*map(range, grid.counts)):
        if (chunk := find(f"{name}/{grid.name_chunk(place)}")) is not None:
            _check_chunk(grid, chunk, budget)


def _check_chunk(grid: Grid, chunk: Value, budget: Budget) -> None:
    size = num_bytes(grid.inner or grid.chunk, grid.dtype)
    with chunk.opened() as read:
        for start, length in [(0, chunk.size)] if grid.inner is None else _shards(grid, chunk, budget):
            if grid.packing is not None:
                check_unpacking(
                    grid.packing,
                    lambda position, count, start=start: read(start + position, count),
                    length - grid.trailer,
                    size,
                    budget,
                )


def _shards(grid: Grid, shard: Value, budget: Budget) -> Iterator[tuple[int, int]]:
    """Return where the chunks within a shard lie: their offsets and lengths."""
    inner = grid.inner or ()
    number = math.prod(outer // part for outer, part in zip(grid.chunk, inner, strict=True))
    budget.count(number)
    size = 16 * number + _CHECKSUM
    with shard.opened() as read:
        index = read(shard.size - size if grid.index_at_end else 0, size)
    if len(index) < size or shard.size < size:
        raise ValueError("its numbers end early")
    for offset, length in np.frombuffer(index, "<u8", 2 * number).reshape(-1, 2).tolist():
        # A chunk of nothing but zeros has all bits set for its place.
        if offset == length == (1 << 64) - 1:
            continue
        if offset + length > shard.size or length < grid.trailer:
            raise ValueError("its numbers end early")
        yield offset, length


def _shallow(document: Any) -> Any:
    level = [document]
    for _ in range(_MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return document
    raise ValueError("the description of an array in it nests too deep")


def _children(item: Any) -> list[Any]:
    return list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else []


def _zarr2_grid(document: Any) -> Grid:
    shape, chunk = checked_shape(document["shape"]), _parts(document["chunks"])
    packer, filters = document["compressor"], document.get("filters")
    if len(shape) != len(chunk) or document["zarr_format"] != 2 or filters or not _flat(packer):
        raise ValueError("the description of an array in it is not Orbax's")
    spelled = _SPELLED.fullmatch(document["dtype"])
    dtype = number_type(f"{_KINDS[spelled[1]]}{_bits(*spelled.groups())}" if spelled else document["dtype"])
    name_chunk = _chunk_names("", document.get("dimension_separator", "."))
    return Grid(shape, chunk, dtype, _packing(packer and packer["id"]), 0, None, True, name_chunk)


def _bits(kind: str, num_bytes: str) -> str:
    return "" if (kind, num_bytes) == ("b", "1") else str(8 * int(num_bytes))


def _zarr3_grid(document: Any) -> Grid:
    shape, codecs = checked_shape(document["shape"]), document["codecs"]
    chunk = _parts(document["chunk_grid"]["configuration"]["chunk_shape"])
    encoding, shard = document["chunk_key_encoding"], {}
    if len(shape) != len(chunk) or document["zarr_format"] != 3 or encoding["name"] not in _ENCODINGS:
        raise ValueError("the description of an array in it is not Orbax's")
    if len(codecs) == 1 and codecs[0]["name"] == "sharding_indexed":
        shard = codecs[0]["configuration"]
        codecs = shard["codecs"]
    chain = _CHAIN.fullmatch("".join(f"{codec['name']} " for codec in codecs))
    if chain is None:
        raise ValueError("an array in it is packed in a way that is not known")
    prefix, separator = _ENCODINGS[encoding["name"]]
    return Grid(
        shape,
        chunk,
        number_type(document["data_type"]),
        packing=chain[2],
        trailer=_CHECKSUM if chain[3] else 0,
        inner=_inner_parts(shard, chunk) if shard else None,
        index_at_end=shard.get("index_location", "end") == "end",
        name_chunk=_chunk_names(prefix, encoding.get("configuration", {}).get("separator", separator)),
    )


def _inner_parts(shard: Any, chunk: tuple[int, ...]) -> tuple[int, ...]:
    inner = _parts(shard["chunk_shape"])
    names = [codec["name"] for codec in shard["index_codecs"]]
    if len(inner) != len(chunk) or any(map(mod, chunk, inner)) or names != ["bytes", "crc32c"]:
        raise ValueError("the shards of an array in it are not Orbax's")
    return inner


def _flat(packer: Any) -> bool:
    return packer is None or (isinstance(packer, dict) and not any(map(_children, packer.values())))


def _packing(name: str | None) -> str | None:
    if name is not None and name not in PACKINGS:
        raise ValueError(f"an array in it is packed by {printable(str(name), 40)}, which is not known")
    return name


def _parts(lengths: Any) -> tuple[int, ...]:
    parts = checked_shape(lengths)
    if 0 in parts:
        raise ValueError("an array in it is cut into parts of no length")
    return parts


def _chunk_names(prefix: str, separator: str) -> Callable[[tuple[int, ...]], str]:
    if separator not in (".", "/"):
        raise ValueError("the parts of an array in it have names that are not known")
    start = [prefix] if prefix else []
    # Without dimensions there is one chunk, which version 2 still gives a number.
    return lambda place: separator.join([*start, *map(str, place)]) or "0"


_GRIDS = {"zarr": _zarr2_grid, "zarr3": _zarr3_grid}
