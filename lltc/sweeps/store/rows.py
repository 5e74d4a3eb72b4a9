"""The rows of a sweep: of what lies in its folder, what was made with its settings."""

from pathlib import Path
from typing import Any

from lltc.errors import InputError
from lltc.sweeps.store import folder as store
from lltc.sweeps.store.settings import SweepSettings


def read_components(out: Path, step: int, settings: SweepSettings, content: str) -> dict[str, dict[str, Any]]:
    """Return the components' rows made with these settings of the checkpoint with the hash `content`."""
    stored = {name: _component_row(out, step, settings, content, name) for name in settings.components}
    return {name: row for name, row in stored.items() if row is not None}


def _component_row(
    out: Path, step: int, settings: SweepSettings, content: str, name: str
) -> dict[str, Any] | None:
    """Return a component's result, or why it has none."""
    result, failure = store.read_result(out, step, name), store.read_failure(out, step, name)
    current = settings.configuration_of(name)
    if result and (result["configuration"], result["checkpoint"]) == (current, content):
        return result if result.get("component") == name else None
    return failure if failure and failure["configuration"] == current else None


def read_rows(out: Path, settings: SweepSettings) -> list[dict[str, Any]]:
    """Return a row for each checkpoint of the sweep that has one, in step order.

    Only rows made with the recorded settings count, and only of checkpoints whose content is still the one
    they were made from, as far as the last run could tell.
    """
    chosen = []
    for name, content in sorted(settings.checkpoints.items(), key=lambda item: int(item[0])):
        row = _row_of(out, int(name), content, settings)
        if row is not None:
            chosen.append(row | {"observables": store.read_observables(out, int(name))[1]})
    return chosen


def row_at(out: Path, step: int, settings: SweepSettings) -> dict[str, Any] | None:
    """Return the row of the checkpoint at `step` as `read_rows` has it, without observables, or None."""
    known = settings.checkpoints
    return _row_of(out, step, known[str(step)], settings) if str(step) in known else None


def _row_of(out: Path, step: int, content: str | None, settings: SweepSettings) -> dict[str, Any] | None:
    """Return the row of one checkpoint; a damaged result is one that failed, not one that is missing."""
    failure = store.read_failure(out, step)
    if failure and failure["configuration"] == settings.configuration:
        return failure | {"components": {}}
    try:
        result = store.read_row(out, step)
    except FileNotFoundError:
        return None
    except InputError as error:
        return {"step": step, "status": "failed", "reason": str(error), "components": {}}
    if result["configuration"] != settings.configuration or content not in (None, result["checkpoint"]):
        return None
    return result | {"components": read_components(out, step, settings, result["checkpoint"])}
