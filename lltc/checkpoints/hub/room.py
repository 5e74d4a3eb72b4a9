"""Downloads that are deleted again: so many folders on disk, none of them one that is being read."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:
    fcntl = None


_ATTEMPTS = 20


@contextmanager
def occupied(folder: Path) -> Iterator[Path]:
    """Make `folder` and keep it from being deleted by `make_room`, here or in another process."""
    handle = _hold(folder)
    try:
        yield folder
    finally:
        os.close(handle)


def make_room(folder: Path, keep: int) -> None:
    """Delete what lies beside `folder` so that, with it, the `keep` folders used last remain.

    One that is being read stays, and counts.
    """
    os.utime(folder)
    used = {other: _last_use(other) for other in folder.parent.iterdir() if other != folder}
    others = sorted((other for other in used if used[other]), key=lambda other: used[other], reverse=True)
    for other in others[keep - 1 :]:
        with suppress(OSError):
            _delete(other)


def _last_use(folder: Path) -> int:
    """Return when a folder was used last, 0 for what is none, or no longer there: others make room too."""
    with suppress(OSError):
        status = folder.stat()
        return status.st_mtime_ns if stat.S_ISDIR(status.st_mode) else 0
    return 0


def _hold(folder: Path) -> int:
    for attempt in range(_ATTEMPTS):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # Another process has just made room of it.
        if fcntl is not None:
            with suppress(OSError):  # A file system without locks.
                fcntl.flock(handle, fcntl.LOCK_SH)
        # Between the two it may have been deleted, and the lock be on what is no longer there. Some file
        # systems never say that two looks are at one folder.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), folder.stat()) or attempt == _ATTEMPTS - 1:
                return handle
        os.close(handle)
    raise FileNotFoundError(f"'{folder}' is deleted as often as it is made")


def _delete(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(handle)
