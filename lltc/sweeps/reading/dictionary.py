"""The dictionary between structure and ability: what changes with each transition, beyond chance or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lltc.report import align
from lltc.report.wording import number, sentence
from lltc.transitions import Transition

if TYPE_CHECKING:
    from xarray import Dataset

WHOLE = "llc"
RARE = 0.05
Kind = Literal["observable", "component"]
Markers = Mapping[str, Sequence[Transition]]
Gaps = NDArray[np.bool_]


class Entry(NamedTuple):
    """A `transition` of `structure` and the `change` of a `partner` that goes with it.

    `overlap` is the share that both have in common of the intervals between checkpoints that either covers;
    `chance` the probability that the partner's changes would overlap this transition as much by chance.
    """

    structure: str
    transition: Transition
    partner: str
    kind: Kind
    change: Transition
    overlap: float
    chance: float


class Companion(NamedTuple):
    """A `partner` whose changes, all together, overlap all transitions of `structure`, as in `Entry`."""

    structure: str
    partner: str
    kind: Kind
    overlap: float
    chance: float


@dataclass(frozen=True, repr=False)
class Dictionary:
    """What changes with each transition of the whole's learning coefficient ("llc") and of each component's.

    `entries` are in the order of structures and transitions, of one transition the least likely by chance
    first; `tested` counts all pairs of a transition and a partner, so that of unrelated pairs at most
    `0.05 tested` are expected with a `chance` of 0.05 or less. `companions` are the partners of all
    transitions of a structure at once, the least likely by chance first.
    """

    structures: dict[str, tuple[Transition, ...]]
    entries: tuple[Entry, ...]
    companions: tuple[Companion, ...]
    tested: int

    def of(self, transition: Transition, structure: str = WHOLE) -> tuple[Entry, ...]:
        """Return what changes with one transition."""
        return tuple(e for e in self.entries if (e.structure, e.transition) == (structure, transition))

    def __repr__(self) -> str:
        count = sum(map(len, self.structures.values()))
        rare = sum(entry.chance <= RARE for entry in self.entries)
        lines = [
            f"Dictionary({count} transitions, {self.tested} pairs: {rare} with a chance of {RARE:g} or less, "
            f"at most {RARE * self.tested:.2g} expected of unrelated ones)"
        ]
        for name, entries in self.structures.items():
            for transition in entries:
                rows = [describe(entry) for entry in self.of(transition, name)]
                lines += [f"{name}: {sentence(transition)}", *_indented(rows, left=(0, 1, 2))]
            rows = [describe_companion(c) for c in self.companions if c.structure == name]
            lines += [f"{name}: all transitions at once", *_indented(rows, left=(0,))] if rows else []
        return "\n".join(lines)

    def to_dataset(self) -> "Dataset":
        """Return the entries over the dimension `entry`."""
        from xarray import Dataset

        columns = {
            "structure": [e.structure for e in self.entries],
            "step_low": [e.transition.step_low for e in self.entries],
            "step_high": [e.transition.step_high for e in self.entries],
            "delta_llc": [e.transition.delta_llc for e in self.entries],
            "delta_llc_se": [e.transition.delta_llc_se for e in self.entries],
            "partner": [e.partner for e in self.entries],
            "kind": [e.kind for e in self.entries],
            "partner_step_low": [e.change.step_low for e in self.entries],
            "partner_step_high": [e.change.step_high for e in self.entries],
            "change": [e.change.delta_llc for e in self.entries],
            "overlap": [e.overlap for e in self.entries],
            "chance": [e.chance for e in self.entries],
        }
        return Dataset({name: ("entry", values) for name, values in columns.items()})

    def to_csv(self, path: str | Path) -> None:
        """Write the entries, one a row."""
        self.to_dataset().to_dataframe().to_csv(path, index=False)


def describe(entry: Entry) -> tuple[str, ...]:
    """Return an entry as the texts of a row: partner, its change, where, overlap, chance."""
    change = entry.change
    return (
        name_partner(entry),
        f"{change.kind} of {number(abs(change.delta_llc), 3)}",
        f"steps {number(change.step_low, 7)} to {number(change.step_high, 7)}",
        f"overlap {entry.overlap:.2f}",
        f"chance {entry.chance:.2g}",
    )


def describe_companion(companion: Companion) -> tuple[str, ...]:
    """Return a companion as the texts of a row: partner, overlap, chance."""
    return (name_partner(companion), f"overlap {companion.overlap:.2f}", f"chance {companion.chance:.2g}")


def name_partner(entry: Entry | Companion) -> str:
    """Return the partner's name, told apart where it is a component."""
    return f"component {entry.partner}" if entry.kind == "component" else entry.partner


def _indented(rows: Sequence[Sequence[str]], *, left: tuple[int, ...]) -> list[str]:
    return [f"  {line}" for line in align(rows, left=left).split("\n")] if rows else ["  nothing else"]


def make_dictionary(
    steps: Sequence[float] | NDArray,
    transitions: Sequence[Transition],
    components: Markers,
    observables: Markers,
) -> Dictionary:
    """Return what changes with each transition; see `lltc.Sweep.dictionary`."""
    structures = {WHOLE: tuple(transitions)} | {name: tuple(marked) for name, marked in components.items()}
    grid = np.asarray(steps, dtype=float)
    entries: list[Entry] = []
    companions: list[Companion] = []
    tested = 0
    for structure, marked in structures.items():
        others = {name: markers for name, markers in components.items() if name != structure}
        partners = [*_partners("component", others), *_partners("observable", observables)]
        for transition in marked:
            each = [_entry(grid, structure, transition, *partner) for partner in partners]
            present = [entry for entry in each if entry is not None]
            entries += sorted(present, key=lambda entry: (entry.chance, -entry.overlap, entry.partner))
            tested += len(partners)
        whole = [_companion(grid, structure, marked, *partner) for partner in partners]
        rest = [companion for companion in whole if companion is not None]
        companions += sorted(rest, key=lambda companion: (companion.chance, companion.partner))
    return Dictionary(structures, tuple(entries), tuple(companions), tested)


def _partners(kind: Kind, markers: Markers) -> list[tuple[Kind, str, Sequence[Transition]]]:
    return [(kind, name, marked) for name, marked in markers.items()]


def _entry(
    steps: NDArray,
    structure: str,
    transition: Transition,
    kind: Kind,
    partner: str,
    markers: Sequence[Transition],
) -> Entry | None:
    """Return the partner's change that overlaps a transition most, or None where none does."""
    if not markers:
        return None
    here = gaps_of(transition, steps)
    there = np.array([gaps_of(change, steps) for change in markers])
    shares = overlaps(here, there)
    best = int(np.argmax(shares))
    if shares[best] == 0:
        return None
    chance = chance_of(here, there)
    return Entry(structure, transition, partner, kind, markers[best], float(shares[best]), chance)


def _companion(
    steps: NDArray,
    structure: str,
    transitions: Sequence[Transition],
    kind: Kind,
    partner: str,
    markers: Sequence[Transition],
) -> Companion | None:
    """Return how far all changes of a partner cover all transitions, or None where they do not touch."""
    if not transitions or not markers:
        return None
    here, there = (np.any([gaps_of(m, steps) for m in marked], axis=0) for marked in (transitions, markers))
    share = float(overlaps(here, there))
    return Companion(structure, partner, kind, share, chance_of(here, there[None])) if share else None


def gaps_of(marker: Transition, steps: NDArray) -> Gaps:
    """Return which intervals between neighbouring `steps` a marker covers, `(len(steps) - 1,)`."""
    return (steps[:-1] >= marker.step_low) & (steps[1:] <= marker.step_high)


def overlaps(here: Gaps, there: Gaps) -> NDArray[np.float64]:
    """Return the intersection with `here` over the union, of each of several sets of intervals `(…, m)`."""
    return (here & there).sum(-1) / np.maximum((here | there).sum(-1), 1)


def chance_of(here: Gaps, there: Gaps) -> float:
    """Return the probability that changes `there` `(change, m)` overlap `here` as much by chance.

    Null: the changes keep their lengths and distances, but the first begins at any of the m intervals with
    equal probability, on a circle. The m shifts are all tried, so 1/m is the least there is.

    Example:
        >>> here, there = np.eye(4, dtype=bool)[1], np.eye(4, dtype=bool)[[1]]
        >>> chance_of(here, there)
        0.25
    """
    overlap = overlaps(here, there).max()
    # How many intervals each shift has in common is a circular correlation.
    spectrum = np.fft.rfft(here) * np.conj(np.fft.rfft(there))
    both = np.rint(np.fft.irfft(spectrum, len(here)))
    shifted = both / np.maximum(here.sum() + there.sum(-1, keepdims=True) - both, 1)
    return float(np.mean(shifted.max(0) >= overlap - 1e-12))
