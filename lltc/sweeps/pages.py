"""The tables a page shows of components, of the dictionary and of several runs' stages."""

from typing import TYPE_CHECKING

from lltc.report import Table
from lltc.report.wording import measured, number
from lltc.sweeps.comparison import HEAD, Comparison
from lltc.sweeps.dictionary import Dictionary, Entry, name_partner
from lltc.transitions import Transition

if TYPE_CHECKING:
    from lltc.sweeps.result import Sweep

CHANCE = (
    "Overlap is the share of the intervals between checkpoints that both changes cover. Chance is the "
    "probability of as much overlap if the partner's changes began anywhere on the circle of checkpoints;"
    " of {tested} pairs tested, at most {expected} unrelated ones are expected at a chance of .05 or "
    "less."
)
PERMUTED = (
    "Transitions are matched in order by their size, as in {reference}. Agreement of the sizes in their "
    "order is {agreement}; if every run had its changes in random order, as much would come about with "
    "probability {chance}. Of what changes with a stage two runs have {shared} in common, by chance with "
    "probability {partner_chance}. Same size is the probability that equal sizes with these errors "
    "scatter as much."
)


def sweep_tables(swept: "Sweep") -> list[Table]:
    """Return the tables of one sweep: its components' transitions and partings, and its dictionary."""
    return [component_table(swept), parting_table(swept), dictionary_table(swept.dictionary())]


def component_table(swept: "Sweep") -> Table:
    """Return the transitions of the components."""
    rows = [
        (name, number(t.step_low, 7), number(t.step_high, 7), t.kind, _size(t), f"{t.probability:.2f}")
        for name, found in swept.component_transitions.items()
        for t in found
    ]
    head = ("component", "from step", "to step", "kind", "change of llc", "probability")
    return Table("Transitions of components", head, rows, words=(0, 3))


def parting_table(swept: "Sweep") -> Table:
    """Return where two components' learning coefficients part or merge."""
    rows = [
        (" and ".join(p.components), p.kind, number(p.marker.step_low, 7), number(p.marker.step_high, 7))
        for p in swept.partings
    ]
    head = ("components", "they", "from step", "to step")
    return Table("Where components part and merge", head, rows, words=(0, 1))


def dictionary_table(dictionary: Dictionary) -> Table:
    """Return what changes with each transition."""
    first = {(e.structure, e.transition): k for k, e in reversed([*enumerate(dictionary.entries)])}
    rows = [
        (
            *(_heading(entry) if first[entry.structure, entry.transition] == place else ("", "")),
            name_partner(entry),
            f"{entry.change.kind} of {number(abs(entry.change.delta_llc), 3)}",
            _span(entry.change),
            f"{entry.overlap:.2f}",
            f"{entry.chance:.2g}",
        )
        for place, entry in enumerate(dictionary.entries)
    ]
    rows += [
        (c.structure, "all at once", name_partner(c), "", "", f"{c.overlap:.2f}", f"{c.chance:.2g}")
        for c in dictionary.companions
        if len(dictionary.structures[c.structure]) > 1
    ]
    head = ("structure", "transition", "with it changes", "by", "steps", "overlap", "chance")
    note = CHANCE.format(tested=dictionary.tested, expected=number(0.05 * dictionary.tested, 2))
    return Table("Dictionary", head, rows, words=(0, 1, 2, 3, 4), note=note)


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return the table of the stages of several runs."""
    note = PERMUTED.format(
        reference=comparison.reference,
        agreement=number(comparison.agreement, 2),
        chance=number(comparison.chance, 2),
        shared=number(comparison.partner_agreement, 2),
        partner_chance=number(comparison.partner_chance, 2),
    )
    if not comparison.alike:
        note += " The runs were swept at different nβ or γ: sizes compare only roughly."
    return [Table("Stages", ("stage", *HEAD), comparison.rows(), words=(0, len(HEAD)), note=note)]


def _heading(entry: Entry) -> tuple[str, str]:
    return entry.structure, f"{entry.transition.kind} {_span(entry.transition)}"


def _size(transition: Transition) -> str:
    return measured(transition.delta_llc, transition.delta_llc_se, sign=True)


def _span(transition: Transition) -> str:
    return f"{number(transition.step_low, 7)}–{number(transition.step_high, 7)}"
