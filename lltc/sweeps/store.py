"""The sweep's folder: `sweep.json` defines the numbers; one file a checkpoint, renamed into place."""

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lltc.errors import InputError
from lltc.estimate import SCALARS, LLCEstimate

SETTINGS = "sweep.json"
FAILED = ".failed.json"


def result_path(out: Path, step: int) -> Path:
    """Return where the estimate of the checkpoint at `step` lies."""
    return out / f"step_{step:012d}.nc"


def failure_path(out: Path, step: int) -> Path:
    """Return where the reason lies why the checkpoint at `step` has no estimate."""
    return out / f"step_{step:012d}{FAILED}"


def write_settings(out: Path, settings: dict[str, Any]) -> None:
    """Write `sweep.json`."""
    write_atomically(out / SETTINGS, lambda path: path.write_text(json.dumps(settings, indent=2) + "\n"))


def read_settings(out: Path) -> dict[str, Any]:
    """Return what `sweep.json` holds; raises `InputError` where `out` is no sweep."""
    path = out / SETTINGS
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(
            f"out={str(out)!r} holds no {SETTINGS}, but a sweep's folder does; pass the folder given to "
            "lltc.sweep as out."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"out={str(out)!r} has an unreadable {SETTINGS} ({error}); move the folder away or sweep into "
            "another one."
        ) from None


def write_result(out: Path, step: int, estimate: LLCEstimate, identity: dict[str, Any]) -> Path:
    """Write one estimate with its `identity`: configuration and checkpoint hashes, observables."""
    tree = estimate.to_datatree()
    tree.attrs |= {"step": step} | identity
    path = result_path(out, step)
    write_atomically(path, lambda temporary: tree.to_netcdf(temporary, engine="h5netcdf"))
    failure_path(out, step).unlink(missing_ok=True)
    return path


def write_failure(out: Path, step: int, reason: str, identity: dict[str, Any]) -> None:
    """Record why a checkpoint has no estimate; an older result of it, made from other bytes, goes."""
    text = json.dumps({"step": step, "reason": reason} | identity)
    write_atomically(failure_path(out, step), lambda path: path.write_text(text))
    result_path(out, step).unlink(missing_ok=True)


def read_row(path: Path) -> dict[str, Any] | None:
    """Return the scalars and identity of a result or failure file, or None where it cannot be read."""
    if path.name.endswith(FAILED):
        try:
            return json.loads(path.read_text()) | {"status": "failed"}
        except (OSError, ValueError):
            return None
    import h5netcdf

    try:
        with h5netcdf.File(path, "r") as file:
            attributes = dict(file.attrs)
            row = {
                name: attributes[name]
                for name in ("step", "status", "configuration", "checkpoint", "observables", *SCALARS)
            }
            row["num_draws"] = file.groups["posterior"].dimensions["draw"].size
            return row
    except (OSError, KeyError, ValueError):
        return None


def rows(out: Path) -> list[dict[str, Any]]:
    """Return every readable row in step order."""
    found = [read_row(path) for path in [*out.glob("step_*.nc"), *out.glob(f"step_*{FAILED}")]]
    return sorted((row for row in found if row is not None), key=lambda row: int(row["step"]))


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Call `write` on a temporary beside `path`, flush and rename it: `path` is whole or absent."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        write(temporary)
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
