"""Several independent runs compared: stages matched in order, their sizes, and what changes with them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lltc.report import align
from lltc.report.wording import measured, number
from lltc.sweeps.result import Sweep
from lltc.transitions import Transition

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

Partners = frozenset[str]


class Stage(NamedTuple):
    """One transition as several runs show it.

    `transitions` and `partners` (what changes with it, as "fall of loss") are by run, for the runs that have
    it; `delta_llc ± delta_llc_se` is their inverse-variance mean, widened where they scatter more than their
    errors; `same_size` is the probability that equal sizes with these errors scatter as much (χ²).
    """

    transitions: dict[str, Transition]
    partners: dict[str, Partners]
    delta_llc: float
    delta_llc_se: float
    same_size: float

    @property
    def shared(self) -> tuple[str, ...]:
        """What changes with the stage in every run that has it."""
        return tuple(sorted(frozenset.intersection(*self.partners.values())))


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Several runs beside one another.

    `stages` are the transitions of the run that agrees best with the others (`reference`), each with those of
    the other runs that match it in order; `unmatched` are the rest, by run. `agreement` is 1 where all runs
    go through the same changes Δλ in the same order and 0 where none match; `partner_agreement` the mean
    share of partners that two runs have in common at a stage. `chance` and `partner_chance` are the
    probabilities of as much agreement if every run had its changes, or its stages their partners, in random
    order; NaN where there is nothing to compare.
    """

    sweeps: dict[str, Sweep]
    structure: str
    reference: str
    stages: tuple[Stage, ...]
    unmatched: dict[str, tuple[Transition, ...]]
    agreement: float
    chance: float
    partner_agreement: float
    partner_chance: float

    def __repr__(self) -> str:
        alike = "" if self.alike else "; their nβ or γ differ, so that sizes compare only roughly"
        lines = [
            f"Comparison({len(self.sweeps)} runs, {len(self.stages)} stages as in {self.reference!r}{alike})",
            f"sizes in order  agreement {number(self.agreement, 2)}  chance {number(self.chance, 2)}",
            f"what changes    agreement {number(self.partner_agreement, 2)}  chance "
            f"{number(self.partner_chance, 2)}",
        ]
        if self.stages:
            lines += ["", align([("stage", *HEAD), *self.rows()], left=(1, len(HEAD)))]
        left = [f"{run}: {len(found)}" for run, found in self.unmatched.items() if found]
        return "\n".join([*lines, *(["", "unmatched " + ", ".join(left)] if left else [])])

    @property
    def alike(self) -> bool:
        """True where all runs were swept at one nβ and one γ."""
        options = [swept.settings["options"] for swept in self.sweeps.values()]
        return len({(option["nbeta"], option["localization"]) for option in options}) == 1

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row of text a stage: number, Δλ, runs, same_size, shared partners."""
        return [
            (
                str(place),
                measured(stage.delta_llc, stage.delta_llc_se, sign=True),
                f"{len(stage.transitions)} of {len(self.sweeps)}",
                number(stage.same_size, 2),
                ", ".join(stage.shared) or "—",
            )
            for place, stage in enumerate(self.stages, 1)
        ]

    def to_dataset(self) -> "Dataset":
        """Return delta_llc, delta_llc_se, step_low, step_high over (stage, run); NaN where one lacks it."""
        from xarray import Dataset

        runs = list(self.sweeps)
        columns = {
            name: [
                [
                    getattr(stage.transitions[run], name) if run in stage.transitions else np.nan
                    for run in runs
                ]
                for stage in self.stages
            ]
            for name in ("delta_llc", "delta_llc_se", "step_low", "step_high")
        }
        shape = (len(self.stages), len(runs))
        return Dataset(
            {name: (("stage", "run"), np.array(rows).reshape(shape)) for name, rows in columns.items()},
            coords={"stage": np.arange(1, len(self.stages) + 1), "run": runs},
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the size of every stage in every run with its error; matplotlib axes in, axes out."""
        from lltc.report import plot_stages

        return plot_stages(self.stages, list(self.sweeps), ax=ax)

    def report(self, path: str | Path) -> Path:
        """Write one HTML page of all runs with the table of their stages; return its path."""
        from lltc.report import write_runs_report
        from lltc.sweeps.exhibits import exhibit, shared
        from lltc.sweeps.pages import comparison_tables

        shown = {name: exhibit(swept) for name, swept in self.sweeps.items()}
        settings = shared(self.sweeps.values())
        return write_runs_report(Path(path), shown, settings=settings, tables=comparison_tables(self))


HEAD = ("Δλ", "runs", "same size", "changes with it in all")
