"""The finished sweep: its curve, markers, pictures and page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lltc.errors import InputError, shown
from lltc.estimates.record import LLCEstimate
from lltc.sweeps.jobs.observables import spread
from lltc.sweeps.page_data import exhibit, reported
from lltc.sweeps.page_tables import probe_table, sweep_tables
from lltc.sweeps.reading.critical import CriticalCheckpoint, choose_critical
from lltc.sweeps.reading.curve_markers import (
    DRIFT,
    REPEATED,
    Parting,
    find_partings,
    mark,
    mark_components,
    mark_observables,
)
from lltc.sweeps.reading.dictionary import Dictionary, make_dictionary
from lltc.sweeps.reading.repeats import find_repeats
from lltc.sweeps.store import folder as store
from lltc.sweeps.store.rows import read_rows, row_at
from lltc.sweeps.store.settings import SweepSettings
from lltc.transitions import Transition

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

    from lltc.checkpoints import Checkpoint
    from lltc.probes import Probe

NUMBERS = ("llc", "llc_se", "ess", "rhat", "step_size", "hot_cold_gap", "seconds", "num_draws")


@dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """The learning coefficient over training.

    `curve` is an `xarray.Dataset` over `step` with llc, llc_se, loss, status ("repeated" where another step
    has the same weights; no transition is marked from there), reason, diagnostics and one variable an
    observable, and with component_llc, component_llc_se and component_status over (`component`,
    `step`) where there are components; `transitions` are the markers; `settings` is what `sweep.json` holds.
    """

    out: Path
    settings: SweepSettings
    curve: "Dataset"
    transitions: tuple[Transition, ...]

    @classmethod
    def open(cls, out: str | Path) -> Self:
        """Rebuild a sweep from its folder, finished or not.

        Raises `InputError` when `out` is not a sweep's folder.
        """
        folder = Path(out)
        settings = store.read_settings(folder)
        curve = make_curve(read_rows(folder, settings), settings)
        return cls(folder, settings, curve, mark(curve))

    def __repr__(self) -> str:
        count = self.curve.sizes["step"]
        doubtful = int(np.sum(self.curve["status"].to_numpy() != "ok"))
        marked = len(self.transitions)
        return f"Sweep({str(self.out)!r}, {count} checkpoints, {doubtful} not ok, {marked} transitions)"

    @property
    def why_empty(self) -> str:
        """The first reason why there is not one estimate; nothing where there is one."""
        if np.any(self.curve["status"].to_numpy() != "failed"):
            return ""
        return str(self.curve["reason"].values[0]) if self.curve.sizes["step"] else "no checkpoint is done."

    @cached_property
    def observable_transitions(self) -> dict[str, tuple[Transition, ...]]:
        """The markers of the loss and of every observable, by name; `delta_llc` is in the observable's unit.

        Nothing tells their errors but their own roughness (`lltc.transitions.estimate_noise`): white noise
        makes no marker. The sampling error of a sub-loss plays no part, for the same examples are seen at
        every checkpoint.
        """
        return mark_observables(self.curve)

    @property
    def components(self) -> tuple[str, ...]:
        """The names of the components."""
        return tuple(self.settings.components)

    @cached_property
    def component_transitions(self) -> dict[str, tuple[Transition, ...]]:
        """The markers of every component's own learning coefficient, by name."""
        return mark_components(self.curve)

    @cached_property
    def partings(self) -> tuple[Parting, ...]:
        """Where the learning coefficients of two components part or merge, in step order."""
        return find_partings(self.curve)

    def dictionary(self) -> Dictionary:
        """Return what changes with each transition of the whole and of each component.

        A change goes with a transition where their markers share intervals between checkpoints; `chance` is
        the probability that the partner's changes would overlap it as much if they began anywhere on the
        circle of checkpoints, their lengths and distances kept. The checkpoints' own spacing is the clock:
        after log-spaced saving a shift is one of log step.
        """
        markers = (self.transitions, self.component_transitions, self.observable_transitions)
        return make_dictionary(self.curve["step"].to_numpy(), *markers)

    def estimate(self, step: float, component: str | None = None) -> LLCEstimate:
        """Return the whole estimate at `step`, or that of a component, chains included.

        Raises `InputError` where the curve has none there.
        """
        place = _whole(step)
        row = row_at(self.out, place, self.settings)
        part = row if row is None or component is None else row["components"].get(component)
        if part is None or part["status"] == "failed":
            of = "" if component is None else f" of component {component!r}"
            why = part["reason"] if part else "none was finished there with the sweep's settings"
            raise InputError(
                f"step={shown(step)} has no estimate{of}, but one of the curve is needed ({why}); pass "
                "another step, or run the sweep again."
            )
        return LLCEstimate.load(store.result_path(self.out, place, component))

    def critical_checkpoints(
        self, checkpoints: "str | PathLike[str] | Iterable[Checkpoint] | None" = None
    ) -> "tuple[CriticalCheckpoint, ...]":
        """Return the checkpoints that carry the constructions: one a plateau and one a transition.

        Of a plateau the middle one of its checkpoints whose status is ok; of a transition the one inside it
        whose llc is nearest the middle of the two levels, or the first after it where no checkpoint lies
        inside. Each has step, kind ("plateau" or "transition"), number and marker; given the `checkpoints`
        (their folder, or `find_checkpoints`' records), also path, and `load()` for the probes.
        """
        return choose_critical(self.curve, self.transitions, DRIFT, checkpoints)

    def plot(self, ax: "Axes | None" = None, **options: Any) -> "Axes":
        """Draw the curve with error bars and markers; matplotlib axes in, axes out.

        `swept.plot().figure.savefig("curve.svg")` writes it (or .pdf, .png); `options` are those of
        `lltc.report.plot_curve`: known, show_loss.
        """
        from lltc.report import plot_curve

        return plot_curve(self.curve, self.transitions, ax=ax, **options)

    def report(
        self,
        path: str | Path | None = None,
        *,
        known: Sequence = (),
        probes: "Mapping[str, Probe] | None" = None,
    ) -> Path:
        """Write one self-contained HTML page, by default `report.html` in the folder; return its path.

        `known` are plateaus known beforehand (step_low, step_high, llc, label); `probes`, by name, are shown
        each with its spectra and components.
        """
        from lltc.report import write_report

        where = Path(path) if path is not None else self.out / "report.html"
        settings, tables = reported(self.settings), sweep_tables(self)
        tables += [probe_table(name, probe) for name, probe in (probes or {}).items()]
        return write_report(where, exhibit(self), settings=settings, known=known, tables=tables)


def make_curve(rows: list[dict[str, Any]], settings: SweepSettings) -> "Dataset":
    """Return the curve made of stored rows, in step order."""
    from xarray import Dataset

    columns: dict[str, Any] = {name: [float(row.get(name, np.nan)) for row in rows] for name in NUMBERS}
    columns["loss"] = [float(row.get("init_loss", np.nan)) for row in rows]
    repeats = find_repeats(rows)
    columns["status"] = np.array(
        [REPEATED if int(row["step"]) in repeats else str(row["status"]) for row in rows], dtype=object
    )
    columns["reason"] = np.array(
        [repeats.get(int(row["step"])) or _reason(row) for row in rows], dtype=object
    )
    observed: dict[str, list[float]] = {}
    for name, current in settings.observables.items():
        observed |= spread(name, [_observed(row["observables"].get(name), current) for row in rows])
    columns |= observed
    curve = Dataset(
        {name: ("step", values) for name, values in columns.items()},
        coords={"step": [int(row["step"]) for row in rows]},
    )
    options = {name: value for name, value in settings.options.items() if value is not None}
    curve = curve.assign(_component_columns(rows, list(settings.components)))
    for name in observed.keys() & set(settings.sub_losses):
        curve[name].attrs["units"] = "nats"
    return curve.assign_attrs(options | {"observables": list(observed)})


def _whole(step: Any) -> int:
    """Return a step as a whole number, as markers have it as a float; -1, which is none, for all else."""
    try:
        return int(step) if int(step) == step else -1
    except (TypeError, ValueError, OverflowError):
        return -1


def _component_columns(rows: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Return the components' llc, llc_se and status `(component, step)`; nothing where there are none."""
    if not names:
        return {}
    nothing = {"llc": np.nan, "llc_se": np.nan, "status": "failed"}
    estimates = [[nothing | row["components"].get(name, {}) for row in rows] for name in names]
    dims, shape = ("component", "step"), (len(names), len(rows))
    columns: dict[str, Any] = {"component": ("component", names)}
    for value, kind in (("llc", float), ("llc_se", float), ("status", object)):
        array = np.array([[row[value] for row in each] for each in estimates], dtype=kind).reshape(shape)
        columns[f"component_{value}"] = (dims, array)
    return columns


def _reason(row: dict[str, Any]) -> str:
    """Return why a row has no estimate, or which of its components and observables failed."""
    parts = [
        f"component {name}: {part['reason']}"
        for name, part in row["components"].items()
        if part["status"] == "failed"
    ]
    errors = [observed.error for observed in row["observables"].values() if observed.error]
    return str(row["reason"]) if row["status"] == "failed" else "; ".join(parts + errors)


def _observed(observed: store.Observed | None, current: str) -> float | list[float]:
    return observed.value if observed is not None and observed.fingerprint == current else float("nan")
