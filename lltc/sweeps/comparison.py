"""Several independent runs compared: stages matched in order, their sizes, and what changes with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lltc.errors import InputError
from lltc.report import Table, align
from lltc.report.wording import measured, number
from lltc.sweeps.page_data import exhibit, shared
from lltc.sweeps.reading.dictionary import WHOLE
from lltc.sweeps.reading.matching import agreement, chance_of_order, find_reference, match_in_order
from lltc.sweeps.reading.stages import Partners, Stage, compare_partners, make_stage
from lltc.sweeps.record import Sweep
from lltc.transitions import Transition

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset


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
            f"sizes in order  {_told(self.agreement, self.chance)}",
            f"what changes    {_told(self.partner_agreement, self.partner_chance)}",
        ]
        if self.stages:
            lines += ["", align([("stage", *HEAD), *self.rows()], left=(1, len(HEAD)))]
        left = [f"{run}: {len(transitions)}" for run, transitions in self.unmatched.items() if transitions]
        return "\n".join([*lines, *(["", "unmatched " + ", ".join(left)] if left else [])])

    @property
    def alike(self) -> bool:
        """True where all runs were swept at one nβ and one γ."""
        return len({swept.settings.posterior for swept in self.sweeps.values()}) == 1

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

        shown = {name: exhibit(swept) for name, swept in self.sweeps.items()}
        settings = shared(self.sweeps.values())
        return write_runs_report(Path(path), shown, settings=settings, tables=comparison_tables(self))


HEAD = ("Δλ", "runs", "same size", "changes with it in all")


def compare(sweeps: Mapping[str, Sweep] | Sequence[Sweep], *, structure: str = WHOLE) -> Comparison:
    """Compare independent runs: their transitions matched in order, Δλ, and what changes with each.

    Two runs are matched one to one, in order, so that the summed similarity min(|Δλ|)/max(|Δλ|) is largest;
    changes of opposite sign, or whose sizes differ by more than a factor of two, do not match. The agreement
    of two runs is twice that sum over the number of their transitions. Both nulls are permutations: `chance`
    reorders the Δλ of every run but one and matches anew, `partner_chance` reorders in every run but one
    which stage has which partners; all orders are tried where they are few (2000), else 2000 drawn ones. So
    few stages bound it from below: two runs with three stages each give 1/6 at best.

    Args:
        sweeps: two or more sweeps by name (such as `lltc.Runs`), or in a list.
        structure: "llc", or the name of a component whose transitions are compared instead.

    Returns:
        A `Comparison` with `stages`, `agreement`, `plot`, `report` and `to_dataset`.

    Raises:
        InputError: for fewer than two sweeps, or a component that one of them does not have.

    Example:
        >>> from lltc.sweeps.reading.matching import agreement
        >>> agreement([[1.6, 1.4, 1.2], [1.6, 1.4, 1.2]])
        1.0
    """
    named = _name(sweeps)
    transitions = {run: _transitions(run, swept, structure) for run, swept in named.items()}
    sizes = [[t.delta_llc for t in each] for each in transitions.values()]
    names = list(named)
    best = find_reference(sizes)
    matched = [dict(match_in_order(sizes[best], other)) for other in sizes]
    partners = {run: _partners(swept, transitions[run], structure) for run, swept in named.items()}
    stages = tuple(
        make_stage(
            {names[k]: pairs[place] for k, pairs in enumerate(matched) if place in pairs},
            transitions,
            partners,
        )
        for place in range(len(sizes[best]))
    )
    used = {run: set(matched[k].values()) for k, run in enumerate(names)}
    unmatched = {
        run: tuple(t for k, t in enumerate(each) if k not in used[run]) for run, each in transitions.items()
    }
    score = lambda orders: agreement([[run[i] for i in o] for run, o in zip(sizes, orders, strict=True)])
    return Comparison(
        named,
        structure,
        names[best],
        stages,
        unmatched,
        agreement(sizes),
        chance_of_order([len(run) for run in sizes], score),
        *compare_partners(stages, names),
    )


def _name(sweeps: Any) -> dict[str, Sweep]:
    """Return sweeps by name; those in a list are called after their folders, numbered where equal."""
    if isinstance(sweeps, Mapping):
        named = {str(name): swept for name, swept in sweeps.items()}
    else:
        folders = [swept.out.name for swept in sweeps]
        unique = len(set(folders)) == len(folders)
        named = {
            name if unique else f"{name} {place}": swept
            for place, (name, swept) in enumerate(zip(folders, sweeps, strict=True), 1)
        }
    if len(named) < 2:
        raise InputError(
            f"sweeps holds {len(named)}, but a comparison needs two or more; pass a list or lltc.Runs."
        )
    return named


def _transitions(run: str, swept: Sweep, structure: str) -> tuple[Transition, ...]:
    if structure == WHOLE:
        return swept.transitions
    if structure not in swept.component_transitions:
        raise InputError(
            f"structure={structure!r} is no component of run {run!r}, which has "
            f"{', '.join(swept.components) or 'none'}; pass 'llc' or one that all runs have."
        )
    return swept.component_transitions[structure]


def _partners(swept: Sweep, transitions: Sequence[Transition], structure: str) -> list[Partners]:
    dictionary = swept.dictionary()
    return [
        frozenset(f"{entry.change.kind} of {entry.partner}" for entry in dictionary.of(transition, structure))
        for transition in transitions
    ]


def _told(agreement: float, chance: float) -> str:
    if np.isnan(agreement):
        return "nothing to compare"
    return f"agreement {number(agreement, 2)}  chance {number(chance, 2)}"


MATCHED = "Transitions are matched in order by their size, as in {reference}."
PERMUTED = (
    "Agreement of the sizes in their order is {agreement}; if every run had its changes in random order, as "
    "much would come about with probability {chance}."
)
SHARED = "Of what changes with a stage two runs have {shared} in common, by chance with probability {chance}."
UNSHARED = "No two runs have a stage in common with which anything changes."
SCATTER = "Same size is the probability that equal sizes with these errors scatter as much."
UNLIKE = "The runs were swept at different nβ or γ: sizes compare only roughly."


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return the table of the stages of several runs."""
    agreement, chance, shared, partner_chance = (
        number(value, 2)
        for value in (
            comparison.agreement,
            comparison.chance,
            comparison.partner_agreement,
            comparison.partner_chance,
        )
    )
    note = [MATCHED.format(reference=comparison.reference)]
    note += [] if np.isnan(comparison.agreement) else [PERMUTED.format(agreement=agreement, chance=chance)]
    unshared = np.isnan(comparison.partner_agreement)
    note += [UNSHARED if unshared else SHARED.format(shared=shared, chance=partner_chance), SCATTER]
    note += [] if comparison.alike else [UNLIKE]
    return [Table("Stages", ("stage", *HEAD), comparison.rows(), words=(0, len(HEAD)), note=" ".join(note))]
