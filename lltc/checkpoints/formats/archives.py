"""Zip archives, as npz and PyTorch files are: members by their names, unpacked no further than announced."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from lltc.checkpoints.formats.npy import fill
from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.messages import printable

# Others need decoders that may take gigabytes for a few bytes, and no writer of checkpoints uses them.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def open_archive(handle: BinaryIO, budget: Budget) -> Iterator[zipfile.ZipFile]:
    """Yield the zip archive in `handle`.

    Raises:
        ValueError: two members share a name, or one is packed in a way that is not read.
    """
    with zipfile.ZipFile(handle) as archive:
        names: set[str] = set()
        for info in archive.infolist():
            budget.count()
            if info.filename in names:
                raise ValueError(f"it holds two members named '{printable(info.filename, 80)}'")
            if info.compress_type not in _METHODS:
                raise ValueError(f"it is packed by method {info.compress_type}, neither stored nor deflated")
            names.add(info.filename)
        yield archive


def read_member(archive: zipfile.ZipFile, name: str, budget: Budget) -> np.ndarray:
    """Return the bytes of the member `name` of an archive."""
    size = archive.getinfo(name).file_size
    budget.take(size, f"its member '{printable(name, 80)}'")
    content = np.empty(size, np.uint8)
    with archive.open(name) as stream:
        fill(stream, content)
    return content


@contextmanager
def open_member(archive: zipfile.ZipFile, name: str) -> Iterator[Any]:
    """Yield a member to be read; what is left unread, its checksum with it, makes it damaged."""
    with archive.open(name) as stream:
        yield stream
        if stream.read(1):
            raise ValueError(f"its member '{printable(name, 80)}' is longer than the array it holds")
