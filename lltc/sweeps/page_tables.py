"""The tables a page shows of components, of the dictionary, of probes and of several runs' stages."""

from lltc.probes import Probe, Stiffness
from lltc.report import Spectrum, Table, draw_spectra
from lltc.report.wording import measured, number
from lltc.sweeps.page_data import Swept
from lltc.sweeps.reading.dictionary import Dictionary, Entry, name_partner
from lltc.transitions import Transition

CHANCE = (
    "Overlap is the share of the intervals between checkpoints that both changes cover. Chance is the "
    "probability of as much overlap if the partner's changes began anywhere on the circle of checkpoints;"
    " of {tested} pairs tested, at most {expected} unrelated ones are expected at a chance of 0.05 or "
    "less."
)
PROBED = (
    "The learning coefficient changes by {change}, from {before} to {after} ({status}); {stiffened} "
    "directions stiffened and {softened} softened. The change amounts to {directions} directions, spread "
    "over {params} parameters. The weights moved by {inside} inside the changed directions and by {outside} "
    "outside."
)


def sweep_tables(swept: Swept) -> list[Table]:
    """Return the tables of one sweep: its components' transitions and partings, and its dictionary."""
    return [component_table(swept), parting_table(swept), dictionary_table(swept.dictionary())]


def component_table(swept: Swept) -> Table:
    """Return the transitions of the components."""
    rows = [
        (name, number(t.step_low, 7), number(t.step_high, 7), t.kind, _size(t), f"{t.probability:.2f}")
        for name, transitions in swept.component_transitions.items()
        for t in transitions
    ]
    head = ("component", "from step", "to step", "kind", "change of llc", "probability")
    return Table("Transitions of components", head, rows, words=(0, 3))


def parting_table(swept: Swept) -> Table:
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


def probe_table(name: str, probe: Probe) -> Table:
    """Return what a probe found: a summary, the spectra before and after, each component's part."""
    refined = any(part.refined for part in probe.by_component.values())
    rows = [
        (
            component,
            measured(part.delta_llc, part.delta_llc_se, sign=True),
            *(number(value, 3) for value in (part.stiffened, part.softened, part.moved)),
            *([measured(*part.refined, sign=True)] if part.refined else ["—"] * refined),
        )
        for component, part in probe.by_component.items()
    ]
    head = ("component", "change of llc", "stiffened", "softened", "moved", *["refined change"] * refined)
    bound = "at least " if probe.change.lower_bound else ""
    note = PROBED.format(
        change=measured(probe.delta_llc, probe.delta_llc_se, sign=True),
        before=number(probe.before.llc),
        after=number(probe.after.llc),
        status=f"{probe.before.status.name} → {probe.after.status.name}",
        stiffened=f"{bound}{number(probe.num_stiffened)}",
        softened=f"{bound}{number(probe.num_softened)}",
        directions=number(probe.participation, 2),
        params=number(probe.param_participation, 2),
        inside=number(probe.moved_inside, 3),
        outside=number(probe.moved_outside, 3),
    )
    if probe.examples is not None:
        most = ", ".join(str(k) for k in probe.examples.examples[probe.examples.most(10)])
        changed = probe.examples.num_changed
        note += f" {changed:,} of {len(probe.examples.examples):,} examples fluctuate differently by more "
        note += f"than four errors{f', most of all {most}' if changed else ''}."
    pair = (("before", probe.stiffness_before), ("after", probe.stiffness_after))
    picture = draw_spectra([_spectrum(*each) for each in pair], probe.after.localization)
    return Table(f"Probe {name}", head, rows, note=note, picture=picture)


def _spectrum(name: str, stiffness: Stiffness) -> Spectrum:
    label = f"{name}: {number(stiffness.num_stiff)} stiff"
    return Spectrum(label, stiffness.nbeta * stiffness.curvature, stiffness.stiff)


def _heading(entry: Entry) -> tuple[str, str]:
    return entry.structure, f"{entry.transition.kind} {_span(entry.transition)}"


def _size(transition: Transition) -> str:
    return measured(transition.delta_llc, transition.delta_llc_se, sign=True)


def _span(transition: Transition) -> str:
    return f"{number(transition.step_low, 7)}–{number(transition.step_high, 7)}"
