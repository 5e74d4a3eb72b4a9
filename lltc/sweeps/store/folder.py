"""The sweep's folder: `sweep.json` defines the numbers; each checkpoint has its own files.

A checkpoint has one result (netCDF4), or one failure (JSON) with the reason why it has none, the same once
more a component, and one file of observables (JSON) where there are any. All are written whole or not at all.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lltc.diagnostics.status import Status
from lltc.errors import InputError, printable
from lltc.estimates.netcdf import pack_tree
from lltc.estimates.record import LLCEstimate
from lltc.estimates.stored import check_result
from lltc.files import read_file, write_whole
from lltc.sweeps.store.settings import KINDS, SweepSettings, check_members, is_number, read_object

SETTINGS = "sweep.json"
RUNS = "runs.json"
MEASURED = ("llc", "llc_se", "ess", "rhat", "step_size", "hot_cold_gap", "seconds", "init_loss", "step")
# What a result may say besides.
TOLD = ("acceptance", "virial_share", "variance_left", "stiff_temperature", "nonfinite_share")


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


def failure_path(out: Path, step: int, component: str | None = None) -> Path:
    """Return where the reason lies why the checkpoint at `step`, or a component, has no estimate."""
    return result_path(out, step, component).with_suffix(".failed.json")


def observables_path(out: Path, step: int) -> Path:
    """Return where the observables of the checkpoint at `step` lie."""
    return out / f"step_{step:012d}.observables.json"


def write_settings(out: Path, settings: SweepSettings) -> None:
    """Write `sweep.json`; refuse settings that could not be read again, before any work rests on them."""
    try:
        text = settings.to_json()
        SweepSettings.from_json(text)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"settings of the sweep cannot be recorded ({printable(str(error), 200)}), but {SETTINGS} must "
            "hold them; pass plain numbers, texts, functions or arrays as options."
        ) from error
    write_whole(out / SETTINGS, text.encode())


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
    reading: dict[str, Any]


def write_runs(out: Path, names: Sequence[str], settings: SweepSettings) -> None:
    """Write `runs.json`."""
    runs = RunsSettings(list(names), settings.options, settings.data, settings.given, settings.reading)
    write_whole(out / RUNS, (json.dumps(asdict(runs), indent=2) + "\n").encode())


def recorded_runs(out: Path) -> RunsSettings | None:
    """Return what `runs.json` holds, or None where there is none that can be read."""
    try:
        content = read_object(read_file(out / RUNS))
        content.setdefault("reading", {})  # An older one lacks it.
        kinds = {name: KINDS[name] for name in ("options", "data", "given", "reading")} | {"runs": _are_names}
        check_members(content, kinds)
    except (OSError, ValueError):
        return None
    return RunsSettings(**{name: content[name] for name in kinds})


def _are_names(value: Any) -> bool:
    """True for names of sub-folders; one with a slash, or an empty one, would lead out of the folder."""
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        return False
    inside = all(name not in ("", ".", "..") and not {"/", "\0"} & {*name} for name in value)
    return inside and len(set(value)) == len(value)


def write_result(
    out: Path, step: int, estimate: LLCEstimate, identity: dict[str, str], component: str | None = None
) -> Path:
    """Write one estimate with its `identity`: the settings, their hash, the checkpoint's."""
    tree = estimate.to_datatree()
    tree.attrs |= {"step": step} | identity | ({} if component is None else {"component": component})
    path = result_path(out, step, component)
    write_whole(path, pack_tree(tree))
    failure_path(out, step, component).unlink(missing_ok=True)
    return path


def write_failure(
    out: Path, step: int, reason: str, configuration: str, component: str | None = None
) -> Path:
    """Record why there is no estimate; of the whole it stands in for an older result until one is written."""
    path = failure_path(out, step, component)
    write_whole(path, json.dumps({"step": step, "reason": reason, "configuration": configuration}).encode())
    return path


def write_observables(out: Path, step: int, checkpoint: str, values: Mapping[str, Observed]) -> None:
    """Write the observables of the checkpoint whose content has the hash `checkpoint`."""
    content = {
        "checkpoint": checkpoint,
        "values": {name: list(observed) for name, observed in values.items()},
    }
    write_whole(observables_path(out, step), json.dumps(content).encode())


def read_result(out: Path, step: int, component: str | None = None) -> dict[str, Any] | None:
    """Return the scalars and the identity of a result, or None where there is none that can be read."""
    try:
        return read_row(out, step, component)
    except (FileNotFoundError, InputError):
        return None


def read_row(out: Path, step: int, component: str | None = None) -> dict[str, Any]:
    """Return what a result file says of itself; raises `InputError` where it is damaged or says nonsense."""
    path = result_path(out, step, component)
    if not path.exists():
        raise FileNotFoundError(path)
    check_result(path)
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            attributes = {name: np.asarray(value) for name, value in file.attrs.items()}
            row = {name: value.item() for name, value in attributes.items() if value.size == 1}
            row["num_draws"] = file["posterior/llc"].shape[1]  # pyright: ignore[reportAttributeAccessIssue]
        _check_row(row, step)
    except (OSError, KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            f"result file '{path}' cannot be read ({printable(str(error), 200)}); run the sweep again, or "
            "remove it."
        ) from error
    return row


def _check_row(row: dict[str, Any], step: int) -> None:
    """Raise `ValueError` where a result's scalars are not those of an estimate at `step`."""
    wrong = [name for name in MEASURED if not isinstance(row.get(name), int | float)]
    wrong += [name for name in TOLD if not isinstance(row.get(name, 0), int | float)]
    wrong += [] if row.get("step") == step else ["step"]
    texts = ("configuration", "settings", "checkpoint", "budget")
    wrong += [name for name in texts if not isinstance(row.get(name), str)]
    if wrong or row.get("status") not in Status.__members__:
        raise ValueError(f"its {wrong[0] if wrong else 'status'} is no such value")
    for name in ("settings", "budget"):
        read_object(row[name])
    if not all(map(is_number, read_object(row["budget"]).values())):
        raise ValueError("its budget holds what is no number")


def read_failure(out: Path, step: int, component: str | None = None) -> dict[str, Any] | None:
    """Return why the checkpoint at `step`, or one of its components, has no estimate, or None."""
    try:
        content = read_object(read_file(failure_path(out, step, component)))
        check_members(content, {"reason": str, "configuration": str})
    except (OSError, ValueError):
        return None
    return {
        "step": step,
        "status": "failed",
        "reason": printable(content["reason"]),
        "configuration": content["configuration"],
    }


def read_observables(out: Path, step: int) -> tuple[str, dict[str, Observed]]:
    """Return the checkpoint's hash and what was observed there; nothing where that cannot be read."""
    try:
        content = read_object(read_file(observables_path(out, step)))
        check_members(content, {"checkpoint": str, "values": dict})
        return content["checkpoint"], {name: _observed(*each) for name, each in content["values"].items()}
    except (OSError, ValueError, TypeError):
        return "", {}


def _observed(fingerprint: Any, value: Any, error: Any = "") -> Observed:
    values = value if isinstance(value, list) else [value]
    if not (isinstance(fingerprint, str) and isinstance(error, str) and all(map(is_number, values))):
        raise ValueError("an observable is no number")
    return Observed(fingerprint, value, printable(error))
