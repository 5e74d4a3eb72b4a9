"""The page's tables: checkpoints, transitions, plateaus, runs, settings and versions."""

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lltc.report.columns import DETAILS, Columns
from lltc.report.exhibit import Part
from lltc.report.panels import observed
from lltc.report.wording import measured, minus, number

HEADINGS = {"llc_se": "± se", "ess": "ESS", "rhat": "R-hat", "step_size": "step size"}
FIRST = ("step", "llc", "llc_se", "loss", "status")

Cell = tuple[str, str]


class Table(NamedTuple):
    """A further table of a page: plain text, numbers to the right but for the columns named in `words`.

    `picture` is markup shown above it.
    """

    heading: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = (0,)
    note: str = ""
    picture: str = ""


def write_tables(tables: Iterable[Table]) -> str:
    """The further tables, each under its heading; those with nothing to show are left out."""
    return "".join(write_table(table) for table in tables if table.rows or table.picture)


def write_table(table: Table) -> str:
    """One table of plain text."""
    kind = lambda place: "word" if place in table.words else ""
    head = [(kind(place), html.escape(text)) for place, text in enumerate(table.head)]
    rows = [
        [
            (kind(k), html.escape(minus(text)) if k not in table.words else html.escape(text))
            for k, text in enumerate(row)
        ]
        for row in table.rows
    ]
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    body = write_rows(head, rows) if rows else ""
    return write_section(html.escape(table.heading), body, note=note + table.picture)


def write_rows(head: Sequence[Cell], rows: Iterable[Sequence[Cell]], name: str = "") -> str:
    """A table; every cell is (class, text) with the text already escaped."""
    mark = f' id="{name}"' if name else ""
    top = "".join(f'<th scope="col" class="{kind}">{text}</th>' for kind, text in head)
    body = "".join(
        "<tr>" + "".join(f'<td class="{kind}">{text}</td>' for kind, text in row) + "</tr>" for row in rows
    )
    return f"<table{mark}><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def column_names(parts: Sequence[Part]) -> list[str]:
    """The columns of the table of checkpoints: the main ones, then what else any run holds."""
    details = [name for name in DETAILS if any(name in part.columns.details for part in parts)]
    return [*FIRST, *details, *observed(parts)]


def cells(columns: Columns, names: Sequence[str]) -> list[list[str]]:
    """One run's table as text, a row a checkpoint."""
    extra = {**columns.details, **columns.observables}
    rows = []
    for i, step in enumerate(columns.steps):
        value, _, se = measured(columns.llc[i], columns.llc_se[i]).partition(" ± ")
        main = [number(step, 7), value, se or "—", number(columns.loss[i])]
        others = [number(extra[name][i]) if name in extra else "—" for name in names[len(FIRST) :]]
        rows.append([*map(minus, main), columns.status[i], *map(minus, others)])
    return rows


def write_checkpoints(parts: Sequence[Part], names: Sequence[str]) -> str:
    """The table of checkpoints, of several runs one below the other."""
    head = [("word" if name == "status" else "", html.escape(HEADINGS.get(name, name))) for name in names]
    rows = []
    for part in parts:
        for row, good in zip(cells(part.columns, names), part.columns.good, strict=True):
            kinds = {FIRST.index("status"): "word" if good else "word failed"}
            body = [(kinds.get(k, ""), html.escape(text)) for k, text in enumerate(row)]
            rows.append([*run_cell(parts, part), *body])
    return write_rows([*run_head(parts), *head], rows, "checkpoints")


def write_transitions(parts: Sequence[Part]) -> str:
    """The tables of transitions and of the plateaus between them."""
    if not any(part.transitions for part in parts):
        where = "this curve" if len(parts) == 1 else "any of these curves"
        return f"<section><h2>Transitions</h2><p>No transition is marked on {where}.</p></section>"
    head = [("", "after step"), ("", "by step"), ("word", "kind"), ("", "change of llc"), ("", "probability")]
    head += [("", "halfway at steps")]
    rows = [[*run_cell(parts, part), *transition_row(t)] for part in parts for t in part.transitions]
    page = write_section("Transitions", write_rows([*run_head(parts), *head], rows, "transitions"))
    head = [("", "from step"), ("", "to step"), ("", "llc"), ("", "checkpoints")]
    rows = []
    for part in parts:
        for p in part.plateaus:
            texts = [
                number(p.step_low, 7),
                number(p.step_high, 7),
                measured(p.llc, p.llc_se),
                str(p.checkpoints),
            ]
            rows.append([*run_cell(parts, part), *(("", minus(text)) for text in texts)])
    return page + (
        write_section("Plateaus", write_rows([*run_head(parts), *head], rows, "plateaus")) if rows else ""
    )


def transition_row(t: Any) -> list[Cell]:
    """The cells of one transition."""
    kind = (f"word {'rise' if t.kind == 'rise' else 'fall'}", html.escape(str(t.kind)))
    change = measured(t.delta_llc, t.delta_llc_se, sign=True)
    halfway = [number(step, 7) for step in getattr(t, "halfway", ())]
    texts = [number(t.step_low, 7), number(t.step_high, 7), change, f"{t.probability:.2f}"]
    body = [("", minus(text)) for text in texts] + [("", "–".join(halfway) or "—")]
    return [*body[:2], kind, *body[2:]]


def write_runs(parts: Sequence[Part]) -> str:
    """The table of runs, where there are several."""
    if len(parts) == 1:
        return ""
    head = [("word", "run"), ("", "checkpoints"), ("", "not ok"), ("", "transitions"), ("", "last llc")]
    rows = []
    for part in parts:
        columns, good = part.columns, part.columns.good
        last = int(good.nonzero()[0][-1]) if good.any() else None
        llc = "—" if last is None else minus(measured(columns.llc[last], columns.llc_se[last]))
        texts = [str(len(good)), str(int((~good).sum())), str(len(part.transitions)), llc]
        rows.append(
            [*run_cell(parts, part), *(("", text) for text in [*texts, minus(number(columns.loss[-1]))])]
        )
    return write_section("Runs", write_rows([*head, ("", "last loss")], rows, "runs"))


def run_head(parts: Sequence[Part]) -> list[Cell]:
    """The heading of the column of runs, where there are several."""
    return [("word", "run")] if len(parts) > 1 else []


def run_cell(parts: Sequence[Part], part: Part) -> list[Cell]:
    """The name of a run, where there are several."""
    return [("word", html.escape(part.name))] if len(parts) > 1 else []


def write_section(heading: str, table: str, *, note: str = "") -> str:
    """A heading, a note and a table that scrolls within the page."""
    return f'<section><h2>{heading}</h2>{note}<div class="scroll narrow">{table}</div></section>'


def write_settings(settings: Mapping[str, Any]) -> str:
    """The lists of settings and, where settings["versions"] is a mapping, of versions.

    What is None or empty says nothing and is left out; `options` need no prefix.
    """
    settings = dict(settings)
    versions = settings.pop("versions", None) if isinstance(settings.get("versions"), Mapping) else None
    options = settings.pop("options", {})
    settings = {**options, **settings} if isinstance(options, Mapping) else {"options": options, **settings}
    parts = []
    for heading, mapping in (("Settings", settings), ("Versions", versions)):
        entries = [
            f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
            for name, value in flatten(mapping or {})
        ]
        if entries:
            parts.append(f'<section><h2>{heading}</h2><dl class="list">{"".join(entries)}</dl></section>')
    return "".join(parts)


def flatten(mapping: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and values as text, without what is None or empty."""
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}.")
        elif value is not None and value != [] and value != "":
            yield name, f"{value:.6g}" if isinstance(value, float) else str(value)
