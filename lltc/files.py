"""Files that are whole or absent, and one process a folder."""

import os
import secrets
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from lltc.errors import InputError, printable

ATTEMPTS = 3
LOCK = ".lock"
MOST_TEXT = 1 << 26


class FolderError(InputError):
    """A folder that cannot be written: the work stops, what is finished stays."""


def write_whole(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write `content`, or let it write, to a temporary beside `path`; flush and rename it.

    `path` is whole or absent, whenever the process ends. Raises `FolderError` where the disk is full or the
    folder cannot be written.
    """
    for _ in range(ATTEMPTS):
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        try:
            _write(temporary, content)
            os.replace(temporary, path)
            _flush(path.parent)
            return
        except FileNotFoundError:
            continue  # Where locks do not reach other machines, a driver may take it for a leftover.
        except OSError as error:
            raise folder_error(path.parent, error) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    raise folder_error(path.parent, FileNotFoundError("it vanished"))


def read_file(path: Path, most: int = MOST_TEXT) -> bytes:
    """Return the content of a regular file of at most `most` bytes.

    Raises `OSError` for what is missing, longer, or no regular file: a pipe or a device would be waited for,
    or never end.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(f"{path.name} holds {size:,} bytes, more than {most:,}")
        return file.read()


def cache_folder(name: str) -> Path | None:
    """Return the folder `name` of lltc's cache, made when missing, or None where it cannot be written.

    It lies in `lltc` in XDG_CACHE_HOME or ~/.cache.
    """
    with suppress(OSError, RuntimeError):
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lltc" / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder if os.access(folder, os.W_OK) else None
    return None


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file to be read; anything else is an `OSError` before a byte of it is read."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path.name} is no regular file")
        yield file


def remove_leftovers(folder: Path) -> None:
    """Remove the temporaries of writers that were killed; those of living ones stay.

    A writer holds a lock on its temporary, which the kernel lets go when it dies.
    """
    for path in folder.glob(".*.tmp"):
        with suppress(OSError), open(path, "r+b") as file:
            if try_lock(file):
                path.unlink()


def try_lock(file: IO) -> bool | None:
    """Return whether the lock was free and is now held; None where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextmanager
def hold(folder: Path, refusal: Callable[[str], InputError]) -> Iterator[None]:
    """Be the only process that works in `folder`, made when missing.

    Another one is refused with `refusal(who holds it)`. The kernel lets go of the lock however the process
    ends. Where the file system has no locks, two processes are not told apart.
    """
    with _open_lock(folder) as file:
        if try_lock(file) is False:
            file.seek(0)
            holder = printable(file.read(1000).decode(errors="replace").strip())
            raise refusal(holder or "another process")
        with suppress(OSError):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield


def _open_lock(folder: Path) -> IO[bytes]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return open(folder / LOCK, "a+b", buffering=0)
    except OSError as error:
        raise folder_error(folder, error) from error


def folder_error(folder: Path, error: OSError) -> FolderError:
    """Return the sentence for a folder that cannot be written."""
    return FolderError(
        f"folder {str(folder)!r} cannot be written ({error.strerror or error}); make room there or mend it, "
        "then run the same command again: what is finished is kept."
    )


def _write(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    with open(path, "x+b") as file:
        try_lock(file)
        if callable(content):
            content(file)
        else:
            file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
