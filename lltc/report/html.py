"""One self-contained HTML page of one curve or several: it opens offline and asks nothing of the network."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from lltc.bibliography import entries
from lltc.errors import InputError
from lltc.files import write_whole
from lltc.report.columns import read_known
from lltc.report.exhibit import Exhibit, Part, read_exhibit
from lltc.report.frame import fill_frame, read_asset
from lltc.report.payload import build_payload
from lltc.report.summary import write_figures, write_key, write_lead, write_legend, write_notes
from lltc.report.tables import (
    Table,
    column_names,
    write_checkpoints,
    write_runs,
    write_settings,
    write_tables,
    write_transitions,
)
from lltc.version import find_version

SCRIPTS = ("state.js", "curve.js", "chains.js", "page.js")
CITED = ("lltc", "lau2025local")


def write_report(
    path: Any,
    exhibit: Exhibit,
    *,
    settings: Mapping[str, Any],
    known: Sequence[Any] = (),
    title: str = "Local learning coefficient over training",
    tables: Sequence[Table] = (),
) -> Path:
    """Write one HTML page that shows the curve, its transitions, every checkpoint and the settings.

    The page holds all it needs (some 5 MB, nearly all of it the plotting library, and at most 2 MB of
    chains), follows the reader's light or dark scheme, and forbids itself every request. It is written to a
    temporary name and renamed.

    Args:
        path: where to write; the folder must exist.
        exhibit: the curve, an `xarray.Dataset` over `step` with llc, llc_se, loss and status, and what
            belongs to it; ess, rhat, step_size, seconds and the variables named in
            `curve.attrs["observables"]` are shown where present.
        settings: shown as a list; nested mappings become dotted names.
        known: plateaus known beforehand, (step_low, step_high, llc, label), drawn dashed.
        title: the page's heading.
        tables: further tables, shown below the transitions.

    Returns:
        The path written.

    Raises:
        InputError: the curve lacks a variable, `known`, `changes`, `chains` or `hot` do not fit, or plotly is
            missing.

    Example:
        >>> import tempfile, xarray as xr
        >>> data = {"llc": [1.0, 2.0], "llc_se": [0.1, 0.1], "loss": [0.5, 0.2], "status": ["ok", "ok"]}
        >>> curve = xr.Dataset({k: ("step", v) for k, v in data.items()}, coords={"step": [0, 10]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_report(f"{folder}/report.html", Exhibit(curve), settings={"nbeta": 100.0}).name
        'report.html'
    """
    return write_runs_report(path, {"": exhibit}, settings=settings, known=known, title=title, tables=tables)


def write_runs_report(
    path: Any,
    runs: Mapping[str, Exhibit],
    *,
    settings: Mapping[str, Any],
    known: Sequence[Any] = (),
    title: str = "Local learning coefficients of several runs",
    tables: Sequence[Table] = (),
) -> Path:
    """Write one HTML page that lays the curves of several runs over one another.

    Each run has its colour, a lane with its markers, and a button that hides it. Otherwise as `write_report`.

    Args:
        path: where to write; the folder must exist.
        runs: what is shown of each run, by name.
        settings: those that all runs share.
        known: plateaus known beforehand, (step_low, step_high, llc, label), drawn dashed.
        title: the page's heading.
        tables: further tables, shown below the transitions.

    Returns:
        The path written.

    Raises:
        InputError: there is no run, or as `write_report`.

    Example:
        >>> import tempfile, xarray as xr
        >>> data = {"llc": [1.0, 2.0], "llc_se": [0.1, 0.1], "loss": [0.5, 0.2], "status": ["ok", "ok"]}
        >>> curve = xr.Dataset({k: ("step", v) for k, v in data.items()}, coords={"step": [0, 10]})
        >>> runs = {"seed 0": Exhibit(curve), "seed 1": Exhibit(curve)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_runs_report(f"{folder}/runs.html", runs, settings={}).name
        'runs.html'
    """
    if not runs:
        raise InputError("runs is empty; give at least one run by its name.")
    parts = [read_exhibit(str(name), exhibit) for name, exhibit in runs.items()]
    page = fill_page(parts, settings, read_known(known), title, tables)
    write_whole(Path(path), page.encode())
    return Path(path)


def fill_page(
    parts: list[Part], settings: Mapping[str, Any], known: list, title: str, tables: Sequence[Table] = ()
) -> str:
    """The page's text."""
    names = column_names(parts)
    chains = any(part.chains for part in parts)
    body = Template(read_asset("page.html")).substitute(
        title=html.escape(title),
        lead=write_lead(parts),
        figures=write_figures(parts),
        key=write_key(parts, known),
        legend=write_legend(parts),
        notes=write_notes(parts),
        alone="" if chains else " alone",
        trace='<div id="trace"></div>' if chains else "",
        runs=write_runs(parts),
        transitions=write_transitions(parts),
        tables=write_tables(tables),
        checkpoints=write_checkpoints(parts, names),
        settings=write_settings(settings),
        citation=html.escape("\n\n".join(entries()[key] for key in CITED)),
    )
    return fill_frame(
        title,
        body,
        styles=("page.css",),
        scripts=SCRIPTS,
        data=build_payload(parts, known, names),
        written_with=f"plotly {find_version('plotly')}",
        library=read_plotly(),
    )


def read_plotly() -> str:
    """The plotting library's script.

    Raises:
        InputError: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise InputError("The report needs plotly; install it with `pip install plotly`.") from None
    return get_plotlyjs()
