"""The sweep's folder: `sweep.json` defines the numbers; each checkpoint has its own files.

A checkpoint has one result (netCDF4), or one failure (JSON) with the reason why it has none, one result more
a component, and one file of observables (JSON) where there are any. All are written whole or not at all.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lltc.errors import InputError
from lltc.estimates.record import LLCEstimate
from lltc.files import read_file, write_whole
from lltc.sweeps.store.netcdf import pack_tree
from lltc.sweeps.store.settings import KINDS, SweepSettings, check_members, read_object

SETTINGS = "sweep.json"
RUNS = "runs.json"


class Observed(NamedTuple):
    """One observable at one checkpoint: its fingerprint, its number or vector, what went wrong."""

    fingerprint: str
    value: float | list[float]
    error: str = ""


def result_path(out: Path, step: int, component: str | None = None) -> Path:
    """Return where the estimate of the checkpoint at `step`, or of one of its components, lies."""
    if component is None:
        return out / f"step_{step:012d}.nc"
    return out / f"step_{step:012d}.{hashlib.sha256(component.encode()).hexdigest()[:12]}.nc"


def failure_path(out: Path, step: int) -> Path:
    """Return where the reason lies why the checkpoint at `step` has no estimate."""
    return out / f"step_{step:012d}.failed.json"


def observables_path(out: Path, step: int) -> Path:
    """Return where the observables of the checkpoint at `step` lie."""
    return out / f"step_{step:012d}.observables.json"


def write_settings(out: Path, settings: SweepSettings) -> None:
    """Write `sweep.json`."""
    write_whole(out / SETTINGS, settings.to_json().encode())


def read_settings(out: Path) -> SweepSettings:
    """Return what `sweep.json` holds; raises `InputError` where `out` is no sweep."""
    try:
        return SweepSettings.from_json(read_file(out / SETTINGS))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"out={str(out)!r} holds no {SETTINGS}, but a sweep's folder does; pass the folder given to "
            "lltc.sweep as out."
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"out={str(out)!r} has an unreadable {SETTINGS} ({error}); move the folder away or sweep into "
            "another one."
        ) from None


def recorded_settings(out: Path) -> SweepSettings | None:
    """Return what `sweep.json` holds, or None where there is none that can be read."""
    try:
        return read_settings(out)
    except InputError:
        return None


@dataclass(frozen=True)
class RunsSettings:
    """The names of several runs, and what fixed their common nβ and γ, as `runs.json` holds it."""

    runs: list[str]
    options: dict[str, Any]
    data: str
    given: dict[str, Any]


def write_runs(out: Path, names: Sequence[str], settings: SweepSettings) -> None:
    """Write `runs.json`."""
    runs = RunsSettings(list(names), settings.options, settings.data, settings.given)
    write_whole(out / RUNS, (json.dumps(asdict(runs), indent=2) + "\n").encode())


def recorded_runs(out: Path) -> RunsSettings | None:
    """Return what `runs.json` holds, or None where there is none that can be read."""
    try:
        content = read_object(read_file(out / RUNS))
        kinds = {name: KINDS[name] for name in ("options", "data", "given")} | {"runs": _are_names}
        check_members(content, kinds)
    except (OSError, ValueError):
        return None
    return RunsSettings(**{name: content[name] for name in kinds})


def _are_names(value: Any) -> bool:
    """True for names of sub-folders; one with a slash, or none, would lead out of the folder."""
    return isinstance(value, list) and all(
        isinstance(name, str) and name not in ("", ".", "..") and "/" not in name and "\0" not in name
        for name in value
    )


def write_result(
    out: Path, step: int, estimate: LLCEstimate, identity: dict[str, str], component: str | None = None
) -> Path:
    """Write one estimate with its `identity`: the settings, their hash, the checkpoint's."""
    tree = estimate.to_datatree()
    tree.attrs |= {"step": step} | identity | ({} if component is None else {"component": component})
    path = result_path(out, step, component)
    write_whole(path, pack_tree(tree))
    failure_path(out, step).unlink(missing_ok=True)
    return path


def write_failure(out: Path, step: int, reason: str, configuration: str) -> Path:
    """Record why a checkpoint has no estimate; it stands in for an older result until one is written."""
    path = failure_path(out, step)
    write_whole(path, json.dumps({"step": step, "reason": reason, "configuration": configuration}).encode())
    return path


def write_observables(out: Path, step: int, checkpoint: str, values: Mapping[str, Observed]) -> None:
    """Write the observables of the checkpoint whose content has the hash `checkpoint`."""
    content = {"checkpoint": checkpoint, "values": {name: list(found) for name, found in values.items()}}
    write_whole(observables_path(out, step), json.dumps(content).encode())


def read_result(out: Path, step: int, component: str | None = None) -> dict[str, Any] | None:
    """Return the scalars and the identity of a result, or None where there is none that can be read."""
    path = result_path(out, step, component)
    if not path.exists():
        return None
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found = {name: np.asarray(value) for name, value in file.attrs.items()}
            row = {name: value.item() for name, value in found.items() if value.size == 1}
            row["num_draws"] = file["posterior/llc"].shape[1]  # pyright: ignore[reportAttributeAccessIssue]
            return (
                row
                if {"step", "status", "llc", "configuration", "settings", "checkpoint"} <= set(row)
                else None
            )
    except (OSError, KeyError, ValueError):
        return None


def read_failure(out: Path, step: int) -> dict[str, Any] | None:
    """Return why the checkpoint at `step` has no estimate, or None."""
    try:
        return json.loads(failure_path(out, step).read_text()) | {"status": "failed"}
    except (OSError, ValueError, TypeError):
        return None


def read_observables(out: Path, step: int) -> tuple[str, dict[str, Observed]]:
    """Return the checkpoint's hash and what was observed there; nothing where that cannot be read."""
    try:
        content = json.loads(observables_path(out, step).read_text())
        return content["checkpoint"], {name: Observed(*found) for name, found in content["values"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return "", {}


def read_components(out: Path, step: int, settings: SweepSettings, content: str) -> dict[str, dict[str, Any]]:
    """Return the components' results made with these settings of the checkpoint with the hash `content`."""
    found = {name: read_result(out, step, name) for name in settings.components}
    return {
        name: row
        for name, row in found.items()
        if row
        and (row["configuration"], row["checkpoint"]) == (settings.configuration_of(name), content)
        and row.get("component") == name
    }


def rows(out: Path, settings: SweepSettings) -> list[dict[str, Any]]:
    """Return a row for each checkpoint of the sweep that has one, in step order.

    Only rows made with the recorded settings count, and only of checkpoints whose content is still the one
    they were made from, as far as the last run could tell.
    """
    kept = []
    for name, content in sorted(settings.checkpoints.items(), key=lambda item: int(item[0])):
        step = int(name)
        failure, result = read_failure(out, step), read_result(out, step)
        if failure and failure.get("configuration") == settings.configuration:
            row = failure | {"components": {}}
        elif (
            result
            and result["configuration"] == settings.configuration
            and content in (None, result["checkpoint"])
        ):
            row = result | {"components": read_components(out, step, settings, result["checkpoint"])}
        else:
            continue
        kept.append(row | {"observables": read_observables(out, step)[1]})
    return kept
