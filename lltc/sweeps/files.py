"""Files that are whole or absent, and one driver a folder."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lltc.errors import InputError

LOCK = ".lock"
ATTEMPTS = 3


class FolderError(InputError):
    """The sweep's folder cannot be written: the sweep stops, what is finished stays."""


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to a temporary beside `path`, flush and rename it: `path` is whole or absent.

    Raises `FolderError` where the disk is full or the folder cannot be written.
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
            raise _folder_error(path.parent, error) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    raise _folder_error(path.parent, FileNotFoundError("it vanished"))


def remove_leftovers(folder: Path) -> None:
    """Remove the temporaries of writers that were killed; those of living ones stay.

    A writer holds a lock on its temporary, which the kernel lets go when it dies.
    """
    for path in folder.glob(".*.tmp"):
        with suppress(OSError), open(path, "r+b") as file:
            if _try_lock(file):
                path.unlink()


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Be the only driver of `folder`, made when missing; a second one is refused with a sentence.

    The kernel lets go of the lock however the process ends. Where the file system has no locks, two drivers
    are not told apart.
    """
    with _open_lock(folder) as file:
        if _try_lock(file) is False:
            file.seek(0)
            raise InputError(
                f"out={str(folder)!r} is being swept by {file.read().strip() or 'another process'}, but a "
                "folder takes one sweep at a time; wait for it to end, or pass another out."
            )
        with suppress(OSError):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        yield


def _open_lock(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return open(folder / LOCK, "a+")
    except OSError as error:
        raise _folder_error(folder, error) from error


def _write(path: Path, content: bytes) -> None:
    with open(path, "xb") as file:
        _try_lock(file)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _try_lock(file: IO) -> bool | None:
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


def _folder_error(folder: Path, error: OSError) -> FolderError:
    return FolderError(
        f"out={str(folder)!r} cannot be written ({error.strerror or error}); make room there or mend it, "
        "then run the same sweep again: what is finished is kept."
    )
