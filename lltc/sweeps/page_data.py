"""What a page shows of a sweep: its curve and markers, thinned chains, each checkpoint's error budget."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lltc.chains.rungs import is_hot
from lltc.estimates.stored import check_result
from lltc.report import Exhibit
from lltc.report.wording import measured, minus, number
from lltc.sweeps.reading.curve_markers import measured_only
from lltc.sweeps.reading.dictionary import Dictionary
from lltc.sweeps.store import folder as store
from lltc.sweeps.store.settings import SweepSettings
from lltc.transitions import Transition, change_probabilities

if TYPE_CHECKING:
    from xarray import Dataset

CHAIN_POINTS = 200
UNREPORTED = ("checkpoints", "given", "configuration", "sub_losses", "format")
HASHED = ("observables", "components", "along_chains")
BUDGET = {
    "monte_carlo": "error: Monte Carlo",
    "equilibration": "error: hot–cold gap",
    "spread": "error: unexplored",
    "heat": "error: minibatch heat",
    "step_size": "error: step size",
    "anchor": "error: anchor",
    "rounding": "error: rounding",
}
SHARES = {
    "acceptance": "moves accepted",
    "virial_share": "virial met",
    "variance_left": "left by control variates",
}
MEASURED = ("component_llc", "component_llc_se")
COUNTED = 0.1  # share of the error from which a part of it is worth a line


class Swept(Protocol):
    """What a page asks of a sweep; see `lltc.Sweep`."""

    @property
    def out(self) -> Path:
        """Return the sweep's folder."""
        ...

    @property
    def settings(self) -> SweepSettings:
        """Return what `sweep.json` holds."""
        ...

    @property
    def curve(self) -> "Dataset":
        """Return the curve over `step`."""
        ...

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """Return the markers."""
        ...

    @property
    def component_transitions(self) -> Any:
        """Return the components' markers by name."""
        ...

    @property
    def observable_transitions(self) -> Any:
        """Return the observables' markers by name."""
        ...

    @property
    def partings(self) -> Any:
        """Return where components part or merge."""
        ...

    def dictionary(self) -> Dictionary:
        """Return what changes with each transition."""
        ...


def exhibit(swept: Swept) -> Exhibit:
    """Return what a page shows of a sweep."""
    chains: dict[int, np.ndarray] = {}
    details: dict[int, dict[str, str]] = {}
    for step, status in zip(swept.curve["step"].values, swept.curve["status"].values, strict=True):
        row = None if status == "failed" else store.read_result(swept.out, int(step))
        if row is not None:
            chains[int(step)] = read_chains(store.result_path(swept.out, int(step)))
            details[int(step)] = describe(row)
    for step, told in describe_components(swept.curve).items():
        details[step] = details.get(step, {}) | told
    hot = is_hot(int(swept.settings.options["num_chains"])).tolist()
    marks, of_components = swept.observable_transitions, swept.component_transitions
    changes = read_changes(swept)
    return Exhibit(swept.curve, swept.transitions, changes, chains, hot, details, marks, of_components)


def describe_components(curve: "Dataset") -> dict[int, dict[str, str]]:
    """Return the components' learning coefficients at every checkpoint, as text."""
    if "component" not in curve.dims:
        return {}
    tables = {name: curve.sel(component=name) for name in curve["component"].values.tolist()}
    return {
        int(step): {
            f"llc of {name}": minus(measured(*(float(table[c].values[k]) for c in MEASURED)))
            for name, table in tables.items()
        }
        for k, step in enumerate(curve["step"].values)
    }


def reported(settings: SweepSettings) -> dict[str, Any]:
    """Return the settings that a reader of the page wants to see."""
    reported = {name: value for name, value in asdict(settings).items() if name not in UNREPORTED}
    return reported | {name: ", ".join(reported.get(name) or ()) for name in HASHED if name in reported}


def shared(sweeps: Iterable[Swept]) -> dict[str, Any]:
    """Return the settings that all runs have in common; each has a key of its own."""
    first, *others = (reported(swept.settings) for swept in sweeps)
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def read_chains(path: Path) -> np.ndarray:
    """Return the thinned chains `(chain, draw)` of a result file, without reading the rest of it."""
    import h5py

    check_result(path)
    with h5py.File(path, "r", locking=False) as file:
        draws: Any = file["posterior/llc"]
        return np.asarray(draws[:, :: max(1, draws.shape[1] // CHAIN_POINTS)])


def read_changes(swept: Swept) -> np.ndarray:
    """Return the probability of a change in each interval of the curve; NaN where there is no estimate."""
    steps, llc, se = (swept.curve[name].to_numpy() for name in ("step", "llc", "llc_se"))
    return change_probabilities(steps, measured_only(llc, se), se)


def describe(row: dict[str, Any]) -> dict[str, str]:
    """Return the numbers of a result that tell how far to trust it, as text."""
    told = {"hot − cold": number(row["hot_cold_gap"], 2)} if "hot_cold_gap" in row else {}
    told["draws a chain"] = f"{row['num_draws']:,}"
    told |= {title: f"{row[name]:.0%}" for name, title in SHARES.items() if row.get(name, np.nan) < np.inf}
    if "stiff_temperature" in row:
        told["stiff temperature"] = number(row["stiff_temperature"], 3)
    if row.get("nonfinite_share", 0) > 0:
        told["warm-up steps undone"] = f"{row['nonfinite_share']:.2%}"
    budget = json.loads(row.get("budget", "{}"))
    for name, value in budget.items():
        if value > COUNTED * row["llc_se"]:
            told[BUDGET.get(name, f"error: {name}")] = number(value, 2)
    return {name: minus(text) for name, text in told.items()}
