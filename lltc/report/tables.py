"""The page's tables; whatever came from outside is escaped here."""

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lltc.report.columns import Columns, Plateau
from lltc.report.payload import tabulate
from lltc.report.wording import measured, minus, number


def write_rows(
    head: Sequence[tuple[str, str]], rows: Iterable[Sequence[tuple[str, str]]], name: str = ""
) -> str:
    """A table; every cell is (class, text) with the text already escaped."""
    mark = f' id="{name}"' if name else ""
    top = "".join(f'<th scope="col" class="{kind}">{text}</th>' for kind, text in head)
    body = "".join(
        "<tr>" + "".join(f'<td class="{kind}">{text}</td>' for kind, text in row) + "</tr>" for row in rows
    )
    return f"<table{mark}><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def write_checkpoints(columns: Columns) -> str:
    """The table of checkpoints."""
    cells = tabulate(columns)
    kinds = ["word" if name == "status" else "" for name in cells.names]
    head = [(kind, html.escape(name)) for kind, name in zip(kinds, cells.names, strict=True)]
    rows = []
    for row, good in zip(cells.rows, columns.good, strict=True):
        colour = {4: "word" if good else "word failed"}
        rows.append([(colour.get(k, ""), html.escape(text)) for k, text in enumerate(row)])
    return write_rows(head, rows, "checkpoints")


def write_transitions(transitions: Sequence[Any], plateaus: Sequence[Plateau]) -> str:
    """The tables of transitions and of the plateaus between them."""
    if not transitions:
        return "<section><h2>Transitions</h2><p>No transition is marked on this curve.</p></section>"
    head = [("", "after step"), ("", "by step"), ("word", "kind"), ("", "change of llc"), ("", "probability")]
    rows = []
    for t in sorted(transitions, key=lambda t: t.step_low):
        kind = (f"word {'rise' if t.kind == 'rise' else 'fall'}", html.escape(str(t.kind)))
        change = measured(t.delta_llc, t.delta_llc_se, sign=True)
        texts = [number(t.step_low, 7), number(t.step_high, 7), change, f"{t.probability:.2f}"]
        cells = [("", minus(text)) for text in texts]
        rows.append([*cells[:2], kind, *cells[2:]])
    page = write_section("Transitions", write_rows(head, rows, "transitions"))
    if plateaus:
        head = [("", "from step"), ("", "to step"), ("", "llc"), ("", "checkpoints")]
        rows = []
        for p in plateaus:
            texts = [number(p.step_low, 7), number(p.step_high, 7), measured(p.llc, p.llc_se), str(p.count)]
            rows.append([("", minus(text)) for text in texts])
        page += write_section("Plateaus", write_rows(head, rows, "plateaus"))
    return page


def write_section(heading: str, table: str) -> str:
    """A heading and a table that scrolls within the page."""
    return f'<section><h2>{heading}</h2><div class="scroll">{table}</div></section>'


def write_settings(settings: Mapping[str, Any]) -> str:
    """The tables of settings and, where settings["versions"] is a mapping, of versions."""
    settings = dict(settings)
    versions = settings.pop("versions", None) if isinstance(settings.get("versions"), Mapping) else None
    parts = []
    for heading, mapping in (("Settings", settings), ("Versions", versions)):
        if mapping:
            rows = [(html.escape(name), html.escape(value)) for name, value in flatten(mapping)]
            body = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in rows)
            parts.append(
                f'<section><h2>{heading}</h2><table class="wrap"><tbody>{body}</tbody></table></section>'
            )
    return "".join(parts)


def flatten(mapping: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and values as text."""
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, f"{value:.6g}" if isinstance(value, float) else str(value)
