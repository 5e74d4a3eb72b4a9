"""Packed chunks of arrays: that they unpack to what they should and no more, before they are unpacked."""

import zlib

from lltc.checkpoints.formats.zstd import Read, unpacked_bound
from lltc.checkpoints.intake.budget import Budget

PACKINGS = ("zstd", "gzip", "zlib", "blosc")
_PIECE = 1 << 16
_ZLIB_OR_GZIP = 47


def check_unpacking(packing: str, read: Read, size: int, unpacked: int, budget: Budget) -> None:
    """Refuse `size` packed bytes that unpack to more than the `unpacked` ones of their chunk.

    zstd tells a bound alone; what it leaves open is booked.

    Raises:
        ValueError: they do, or are damaged.
        CheckpointError: the bound is more than is left of `budget`.
    """
    if packing == "zstd":
        bound = unpacked_bound(read, size, unpacked + budget.left())
        budget.take(max(0, bound - unpacked), "a packed array")
    elif packing == "blosc":
        _check_blosc(read(0, 16), size, unpacked)
    else:
        _check_zlib(read, size, unpacked)


def _check_blosc(header: bytes, size: int, unpacked: int) -> None:
    if len(header) < 16 or int.from_bytes(header[12:16], "little") > size:
        raise ValueError("its packed numbers end early")
    if int.from_bytes(header[4:8], "little") > unpacked:
        raise ValueError("its packed numbers are more than it announces")


def _check_zlib(read: Read, size: int, unpacked: int) -> None:
    """Unpack piece by piece, letting go of each, and stop where there is too much."""
    total, stream = 0, zlib.decompressobj(_ZLIB_OR_GZIP)
    for position in range(0, size, _PIECE):
        waiting = read(position, min(_PIECE, size - position))
        while waiting and not stream.eof:
            total += len(stream.decompress(waiting, _PIECE))
            waiting = stream.unconsumed_tail
            if total > unpacked:
                raise ValueError("its packed numbers are more than it announces")
        if stream.eof and (waiting or stream.unused_data):
            raise ValueError("its packed numbers go on behind their end")
