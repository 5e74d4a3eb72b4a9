"""What the shell writes: never lost to an encoding, a closed pipe, a missing folder or a full disk."""

import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path

from lltc.files import folder_error


def prepare_streams() -> None:
    """Let standard output and error take any text, also where they are closed or not UTF-8."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def drop_stdout() -> None:
    """Point standard output nowhere, so that closing it at the end is no second error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def save(out: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make the file `out`, its folder made when missing; one sentence where that cannot be."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write(out)
    except OSError as error:
        raise folder_error(out.parent, error) from error


def print_and_save(text: object, out: Path | None, write: Callable[[Path], object]) -> None:
    """Print `text`, and save to `out` where it is given: a closed pipe must not cost what was computed."""
    try:
        print(text, flush=True)
    finally:
        if out is not None:
            save(out, write)
