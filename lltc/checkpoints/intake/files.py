"""Bytes on disk: errors told as sentences, content fingerprints, writes that are whole or absent."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.messages import printable
from lltc.errors import CheckpointError, InputError

_CHUNK = 1 << 20
_SAMPLES, _SAMPLE = 16, 1 << 16
_FLAGS = ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY")
_OPEN = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in _FLAGS)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# What Python says of a structure that is not the one expected is no sentence.
_MISREAD = (KeyError, IndexError, TypeError, AttributeError)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a parser raises on a damaged file into one `CheckpointError` naming `path`."""
    try:
        yield
    except InputError:
        raise
    # A damaged file can make the parsers underneath raise almost anything.
    except Exception as error:
        raise CheckpointError(
            f"Cannot read checkpoint '{path}', it may be truncated or damaged: {_reason(error)}."
        ) from error


def _reason(error: Exception) -> str:
    lines = str(error).split(" [tensorstore_spec")[0].split(" [source locations")[0].splitlines()
    reason = printable(lines[0], 300).rstrip(". ") if lines else ""
    if isinstance(error, _MISREAD):
        return f"it is not laid out as its format wants ({type(error).__name__} {reason})"
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    return reason or type(error).__name__


def open_file(path: Path) -> BinaryIO:
    """Open a file to be read, and nothing else: a pipe, a device, a socket is refused before it is opened."""
    _check_regular(path, path.stat())
    handle = os.fdopen(os.open(os.fspath(path), _OPEN), "rb")
    try:
        _check_regular(path, os.fstat(handle.fileno()))
    except CheckpointError:
        handle.close()
        raise
    return handle


def read_file(path: Path, budget: Budget) -> bytes:
    """Return the bytes of a file, no more than it has when it is opened."""
    with open_file(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        budget.take(size, "its bytes")
        return handle.read(size)


def is_file(path: Path) -> bool:
    """Tell whether `path` can be opened as a file."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def file_size(path: Path) -> int:
    """Return the bytes of a file; a `CheckpointError` where `path` is none."""
    status = path.stat()
    _check_regular(path, status)
    return status.st_size


def _check_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no file")
    raise CheckpointError(
        f"Cannot read checkpoint '{path}': it is {kind}, not a file; delete it or copy the checkpoint again."
    )


def path_kind(path: Path) -> str | None:
    """Return "file" (or what stands in a file's place), "folder" or, where there is nothing, None.

    Raises:
        InputError: that cannot be seen.
    """
    try:
        # Other questions take a path that may not be looked at for one that is not there.
        if isinstance(path, Path):
            mode = path.stat().st_mode
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise OSError("it is a pipe, a device or a socket")
            return "folder" if stat.S_ISDIR(mode) else "file"
        return "folder" if path.is_dir() else "file" if path.exists() else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:
        # A link that leads round in a circle is a damaged file, not a folder that may not be seen.
        if getattr(error, "errno", None) == errno.ELOOP:
            return "file"
        raise _unreachable(path, error) from error


def list_folder(folder: Path) -> list[Path]:
    """Return what lies in `folder`, by name; an `InputError` where that cannot be seen."""
    try:
        return sorted(folder.iterdir(), key=lambda entry: entry.name)
    except Exception as error:
        raise _unreachable(folder, error) from error


def _unreachable(path: Path, error: Exception) -> InputError:
    reason = (
        (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0].rstrip(". ")
    )
    return InputError(f"path '{path}' cannot be looked at ({reason}); check the path and its permissions.")


def sample_files(root: Path, files: Iterable[Path]) -> str:
    """Return a hash of the names, sizes and evenly spaced pieces of `files`; equal files have equal ones."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.relative_to(root).as_posix()):
        with open_file(file) as handle:
            size = os.fstat(handle.fileno()).st_size
            digest.update(b"%s:%d:" % (os.fsencode(file.relative_to(root)), size))
            for place in range(_SAMPLES):
                handle.seek(place * max(0, size - _SAMPLE) // (_SAMPLES - 1))
                digest.update(handle.read(_SAMPLE))
    return digest.hexdigest()


def digest_files(root: Path, files: Iterable[Path]) -> str:
    """Return the SHA-256 (hex) over the names, relative to `root`, sizes and bytes of `files`."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.relative_to(root).as_posix()):
        # The sizes fence the pieces off, so that no two sets of files feed the same stream.
        name = file.relative_to(root).as_posix().encode(errors="surrogateescape")
        with open_file(file) as handle:
            digest.update(b"%d:%s%d:" % (len(name), name, os.fstat(handle.fileno()).st_size))
            while chunk := handle.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
