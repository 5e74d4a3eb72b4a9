"""Files that are whole or absent, and one driver a folder."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lltc.errors import InputError, printable
from lltc.files import (
    folder_error,
    try_lock,
)

LOCK = ".lock"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Be the only driver of `folder`, made when missing; a second one is refused with a sentence.

    The kernel lets go of the lock however the process ends. Where the file system has no locks, two drivers
    are not told apart.
    """
    with _open_lock(folder) as file:
        if try_lock(file) is False:
            file.seek(0)
            holder = printable(file.read(1000).decode(errors="replace").strip())
            raise InputError(
                f"out={str(folder)!r} is being swept by {holder or 'another process'}, but a "
                "folder takes one sweep at a time; wait for it to end, or pass another out."
            )
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
