"""A reading tried in a process of its own: a file that ends its reader must not end the sweep."""

import os
import pickle
import resource
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from lltc.chains.memory import free_memory
from lltc.checkpoints import Checkpoint
from lltc.checkpoints.intake.files import file_size, is_file
from lltc.errors import CheckpointError

# What the process says, beside what the system says: on standard output, and by its exit status.
BEGUN = b"lltc: reading\n"
READ, OUT_OF_MEMORY = 0, 71
SHARE = 0.9
# An Equinox file cannot be read without its template, which may be of a class that only this process has.
UNTRIED = ("equinox",)
PATIENCE, BYTES_PER_SECOND = 300.0, 1e6


def try_reading(checkpoint: Checkpoint) -> None:
    """Read a checkpoint on a local disk in a process with bounded memory and time, and forget it.

    Where it is read, or refused as any reader may refuse it, nothing is said: whoever reads it next is told
    the same. Nor where no other process can have its loader.

    Raises:
        CheckpointError: the process was killed, ran out of nine tenths of the free memory, or took more than
            five minutes and a second for each megabyte.
    """
    if checkpoint.format in UNTRIED:
        return
    try:
        # What is read here is not fitted, so that there is nothing to turn.
        content = _pickler().dumps((replace(checkpoint, transpose=None), int(SHARE * free_memory())))
    except Exception:  # A loader is the user's, and so is what it says when it is to be copied.
        return
    command = [sys.executable, "-c", f"from {__name__} import answer; answer()"]
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "JAX_PLATFORMS": "cpu"}
    patience = PATIENCE + _bytes_on_disk(checkpoint.path) / BYTES_PER_SECOND
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, env=os.environ | paths, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        raise _refusal(checkpoint, f"took more than {patience:.0f} s") from None
    if done.returncode == READ or not done.stdout.startswith(BEGUN):
        return
    if done.returncode == OUT_OF_MEMORY:
        raise _refusal(checkpoint, "ran out of memory")
    how = f"by signal {-done.returncode}" if done.returncode < 0 else f"with status {done.returncode}"
    raise _refusal(checkpoint, f"was ended {how}")


def _pickler() -> ModuleType:
    """Return what copies a checkpoint, with closures where the library for them is there."""
    with suppress(ImportError):
        import cloudpickle

        return cloudpickle
    return pickle


def _bytes_on_disk(path: Path) -> int:
    with suppress(OSError, CheckpointError):
        return (
            sum(file_size(file) for file in path.rglob("*") if is_file(file))
            if path.is_dir()
            else file_size(path)
        )
    return 0


def _refusal(checkpoint: Checkpoint, what: str) -> CheckpointError:
    return CheckpointError(
        f"Cannot read checkpoint '{checkpoint.path}': a process of its own, which tried it first, {what}; "
        "delete it or copy it again."
    )


def answer() -> None:
    """In the other process: read the checkpoint on standard input, in the memory stated there, and end."""
    checkpoint, memory = pickle.load(sys.stdin.buffer)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    sys.stdout.buffer.write(BEGUN)
    sys.stdout.buffer.flush()
    status = READ
    try:
        checkpoint.load()
    except Exception as error:
        status = OUT_OF_MEMORY if isinstance(error.__cause__ or error, MemoryError) else READ
    # What a loader left to be done at the end, or threads of its own, must not keep the process.
    os._exit(status)
