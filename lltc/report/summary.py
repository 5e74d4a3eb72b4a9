"""The words of a page around its figure: the lead, the large numbers, the key and the notes."""

import html
from collections.abc import Sequence
from typing import Any

from lltc.report.exhibit import Part
from lltc.report.wording import measured, minus, number


def write_lead(parts: Sequence[Part]) -> str:
    """The sentence under the heading."""
    count = sum(len(part.columns.steps) for part in parts)
    marked = sum(len(part.transitions) for part in parts)
    low = min(part.columns.steps[0] for part in parts)
    high = max(part.columns.steps[-1] for part in parts)
    first, last = number(low, 7), number(high, 7)
    where = f"from step {first} to {last}" if high > low else f"at step {first}"
    runs = f"{len(parts)} runs, " if len(parts) > 1 else ""
    checkpoints = f"{runs}{count} checkpoint{'s' if count != 1 else ''}"
    counted = {0: "no transition is marked", 1: "one transition is marked"}
    return minus(f"{checkpoints} {where}; {counted.get(marked, f'{marked} transitions are marked')}.")


def write_figures(parts: Sequence[Part]) -> str:
    """The few numbers that stand large at the top."""
    bad = sum(int((~part.columns.good).sum()) for part in parts)
    count = sum(len(part.columns.steps) for part in parts)
    entries = single_figures(parts[0]) if len(parts) == 1 else common_figures(parts)
    entries.append(("bad" if bad else "", "checkpoints not ok", f"{bad} of {count}"))
    return "".join(f'<div class="{k}"><dt>{a}</dt><dd>{minus(b)}</dd></div>' for k, a, b in entries)


def single_figures(part: Part) -> list[tuple[str, str, str]]:
    """The last llc, the largest change and the last loss of one run."""
    columns, entries = part.columns, []
    if columns.good.any():
        last = int(columns.good.nonzero()[0][-1])
        value = measured(columns.llc[last], columns.llc_se[last])
        entries.append(("", f"llc at step {number(columns.steps[last], 7)}", value))
    if part.transitions:
        largest = max(part.transitions, key=lambda t: abs(t.delta_llc))
        entries.append(("", "largest change", measured(largest.delta_llc, largest.delta_llc_se, sign=True)))
    entries.append(("", "last loss", number(columns.loss[-1])))
    return entries


def common_figures(parts: Sequence[Part]) -> list[tuple[str, str, str]]:
    """The spread over the runs of the last llc, and of the number of transitions."""
    last = [float(part.columns.llc[part.columns.good][-1]) for part in parts if part.columns.good.any()]
    marked = [len(part.transitions) for part in parts]
    spread = f"{min(marked)}" if min(marked) == max(marked) else f"{min(marked)} to {max(marked)}"
    entries = (
        [("", "last llc of the runs", f"{number(min(last), 4)} to {number(max(last), 4)}")] if last else []
    )
    return [*entries, ("", "transitions a run", spread)]


def write_key(parts: Sequence[Part], known: Sequence[Any]) -> str:
    """The key of the figure: only what is on it."""
    kinds = {t.kind for part in parts for t in part.transitions}
    single = len(parts) == 1
    entries = [
        ("dot", "llc, one standard error", single),
        ("level", "mean of a plateau", any(part.plateaus for part in parts)),
        ("known", "known plateau", bool(known)),
        ("up" if single else "upward", "rise", "rise" in kinds),
        ("down" if single else "downward", "fall", "fall" in kinds),
        ("cross", "status not ok", not all(part.columns.good.all() for part in parts)),
    ]
    members = parts[0].members if single else []
    entries += [
        (f"member run{(k + 1) % 8}", html.escape(member.name), True) for k, member in enumerate(members)
    ]
    return "".join(f'<span class="{name}">{text}</span>' for name, text, shown in entries if shown)


def write_legend(parts: Sequence[Part]) -> str:
    """A button for every run, where there are several."""
    if len(parts) == 1:
        return ""
    buttons = "".join(
        f'<button type="button" aria-pressed="true">{html.escape(part.name)}</button>' for part in parts
    )
    return f'<div class="legend" id="legend" role="group" aria-label="Runs">{buttons}</div>'


def write_notes(parts: Sequence[Part]) -> str:
    """What a reader has to know about the drawing."""
    notes = ["Hover over a checkpoint, or tap it, for its chains; a click keeps it below."]
    notes.append("Drag to zoom, double-click to zoom out.")
    if len(parts) > 1:
        notes.append("A name above shows or hides its run.")
    if any(part.plateaus for part in parts):
        notes.append(
            "A plateau is the inverse-variance mean of its checkpoints whose status is ok; "
            "its error is widened where they scatter more than their errors say."
        )
    if len(parts) == 1 and (any(parts[0].marks.values()) or any(m.transitions for m in parts[0].members)):
        notes.append("A bar at the foot of a panel is a change of what the panel itself shows.")
    undrawn = list(dict.fromkeys(name for part in parts for name in part.columns.undrawn))
    if undrawn:
        notes.append(f"Not drawn, for they are not over the steps alone: {html.escape(', '.join(undrawn))}.")
    return f'<p class="note">{" ".join(notes)}</p>'
