"""The panels of a page's figure, from the top, as plain JSON values."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lltc.report.exhibit import Part

LLC_HEIGHT, CHANGE_HEIGHT, LOSS_HEIGHT, OBSERVABLE_HEIGHT, LANE_HEIGHT = 400, 56, 150, 110, 18
COMPONENT_HEIGHT = 240


def list_panels(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """The panels: llc, changes' probabilities, components, loss, observables; of several runs first lanes.

    A lane holds the markers of one run.
    """
    panels: list[dict[str, Any]] = [
        {"kind": "llc", "title": "Local learning coefficient", "axis": "y", "height": LLC_HEIGHT}
    ]
    if len(parts) > 1 and any(part.transitions for part in parts):
        lanes = {"kind": "lanes", "title": "Transitions of each run", "axis": "y2"}
        panels.insert(0, {**lanes, "height": LANE_HEIGHT * len(parts)})
    if len(parts) == 1 and parts[0].changes is not None and np.isfinite(parts[0].changes).any():
        title = "Probability of a change, each interval"
        panels.append({"kind": "change", "title": title, "axis": "y2", "height": CHANGE_HEIGHT})
    if len(parts) == 1 and parts[0].members:
        panel = {"kind": "components", "title": "Learning coefficient of each component, alone moving"}
        panels.append({**panel, "axis": f"y{len(panels) + 1}", "height": COMPONENT_HEIGHT})
    drawn = [("loss", "Loss (nats)", LOSS_HEIGHT)]
    drawn += [(name, name, OBSERVABLE_HEIGHT) for name in observed(parts)]
    for name, title, height in drawn:
        panels.append(value_panel(gather(parts, name), name, title, height, f"y{len(panels) + 1}"))
    return panels


def observed(parts: Sequence[Part]) -> list[str]:
    """The names of the observables of all runs."""
    return list(dict.fromkeys(name for part in parts for name in part.columns.observables))


def gather(parts: Sequence[Part], name: str) -> np.ndarray:
    """The finite values of the loss or of an observable, of all runs."""
    columns = [part.columns for part in parts]
    values = [c.loss if name == "loss" else c.observables.get(name, np.empty(0)) for c in columns]
    every = np.concatenate(values)
    return every[np.isfinite(every)]


def value_panel(values: np.ndarray, name: str, title: str, height: int, axis: str) -> dict[str, Any]:
    """A panel of plain values, logarithmic where they span a decade above 0."""
    log = bool(len(values) and values.min() > 0 and values.max() / values.min() > 10)
    panel = {"kind": "value", "title": f"{title}, log scale" if log else title, "name": name, "axis": axis}
    return {**panel, "height": height, "log": log, "ticks": log_ticks(values) if log else None}


def log_ticks(values: np.ndarray) -> list[float]:
    """Labels of a logarithmic axis: at most about five of 1, 2, 5 times, or of, the powers of ten."""
    low, high = float(values.min()), float(values.max())
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    stride = math.ceil(math.log10(high / low) / 4)
    for parts in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{part}e{k}") for k in powers for part in parts if len(parts) > 1 or k % stride == 0]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= 5:
            break
    return ticks
