"""One self-contained HTML page of a curve: it opens offline and asks nothing of the network."""

import html
import importlib.metadata
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from lltc.errors import InputError
from lltc.report.columns import Columns, Plateau, measure_plateaus, read_columns, read_known
from lltc.report.payload import build_payload, embed
from lltc.report.tables import write_checkpoints, write_settings, write_transitions
from lltc.report.wording import measured, minus, number

CITATION = """\
@software{{lltc,
  title   = {{lltc: local learning coefficients over training}},
  author  = {{{{The lltc developers}}}},
  version = {{{version}}}
}}

@inproceedings{{lau2025local,
  title     = {{The Local Learning Coefficient: A Singularity-Aware Complexity Measure}},
  author    = {{Lau, Edmund and Furman, Zach and Wang, George and Murfet, Daniel and Wei, Susan}},
  booktitle = {{International Conference on Artificial Intelligence and Statistics}},
  year      = {{2025}}
}}"""


def write_report(
    path: Any,
    curve: Any,
    transitions: Sequence[Any],
    *,
    settings: Mapping[str, Any],
    known: Sequence[Any] = (),
    title: str = "Local learning coefficient over training",
    chains: Mapping[Any, Any] | None = None,
    hot: Sequence[bool] | None = None,
) -> Path:
    """Write one HTML page that shows the curve, its transitions, every checkpoint and the settings.

    The page holds all it needs (some 5 MB, nearly all of it the plotting library), follows the reader's light
    or dark scheme, and forbids itself every request. It is written to a temporary name and renamed.

    Args:
        path: where to write; the folder must exist.
        curve: an `xarray.Dataset` over `step` with llc, llc_se, loss and status; ess, rhat, step_size,
            seconds and the variables named in `curve.attrs["observables"]` are shown where present.
        transitions: objects with step_low, step_high, delta_llc, delta_llc_se, kind and probability.
        settings: shown as a table; nested mappings become dotted names.
        known: plateaus known beforehand, (step_low, step_high, llc, label), drawn dashed.
        title: the page's heading.
        chains: energies nβ(L - L*) by step, each of shape (chain, draw), thinned to what a page should hold.
        hot: one truth value a chain, True where it started hot; all cold where None.

    Returns:
        The path written.

    Raises:
        InputError: the curve lacks a variable, `known`, `chains` or `hot` do not fit, or plotly is missing.

    Example:
        >>> import tempfile, xarray as xr
        >>> data = {"llc": [1.0, 2.0], "llc_se": [0.1, 0.1], "loss": [0.5, 0.2], "status": ["ok", "ok"]}
        >>> curve = xr.Dataset({k: ("step", v) for k, v in data.items()}, coords={"step": [0, 10]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_report(f"{folder}/report.html", curve, [], settings={"nbeta": 100.0}).name
        'report.html'
    """
    columns = read_columns(curve)
    plateaus = measure_plateaus(columns, transitions)
    rows = read_known(known)
    payload = build_payload(columns, transitions, plateaus, rows, chains or None, hot)
    version = find_version("lltc")
    page = Template(read_asset("page.html")).substitute(
        title=html.escape(title),
        css=read_asset("page.css"),
        lead=write_lead(columns, transitions),
        figures=write_figures(columns, transitions),
        key=write_key(columns, transitions, plateaus, rows),
        notes=write_notes(columns, plateaus),
        alone="" if chains else " alone",
        trace='<div id="trace"></div>' if chains else "",
        transitions=write_transitions(transitions, plateaus),
        checkpoints=write_checkpoints(columns),
        settings=write_settings(settings),
        citation=html.escape(CITATION.format(version=version)),
        footer=html.escape(f"Written with lltc {version}, plotly {find_version('plotly')}, {python_name()}."),
        data=embed(payload),
        plotly=read_plotly(),
        js=read_asset("page.js"),
    )
    return write_atomically(Path(path), page)


def write_atomically(path: Path, text: str) -> Path:
    """Write under a temporary name in the same folder, then rename: no reader sees half a page."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def read_asset(name: str) -> str:
    """The text of a file that lies beside this one."""
    return resources.files("lltc.report").joinpath(name).read_text(encoding="utf-8").rstrip()


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


def find_version(package: str) -> str:
    """The installed version of a package, or a dash."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "—"


def python_name() -> str:
    """Which Python this is."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def write_lead(columns: Columns, transitions: Sequence[Any]) -> str:
    """The sentence under the heading."""
    count, marked = len(columns.steps), len(transitions)
    first, last = number(columns.steps[0], 7), number(columns.steps[-1], 7)
    where = f"from step {first} to {last}" if count > 1 else f"at step {first}"
    checkpoints = f"{count} checkpoint{'s' if count != 1 else ''}"
    found = {0: "no transition is marked", 1: "one transition is marked"}
    return minus(f"{checkpoints} {where}; {found.get(marked, f'{marked} transitions are marked')}.")


def write_figures(columns: Columns, transitions: Sequence[Any]) -> str:
    """The few numbers that stand large at the top."""
    good = [i for i, fine in enumerate(columns.good) if fine]
    entries = []
    if good:
        value = measured(columns.llc[good[-1]], columns.llc_se[good[-1]])
        entries.append(("", f"llc at step {number(columns.steps[good[-1]], 7)}", value))
    if transitions:
        largest = max(transitions, key=lambda t: abs(t.delta_llc))
        change = measured(largest.delta_llc, largest.delta_llc_se, sign=True)
        entries.append(("", "largest change", change))
    entries.append(("", "last loss", number(columns.loss[-1])))
    bad = len(columns.steps) - len(good)
    entries.append(("bad" if bad else "", "checkpoints not ok", f"{bad} of {len(columns.steps)}"))
    return "".join(f'<div class="{k}"><dt>{a}</dt><dd>{minus(b)}</dd></div>' for k, a, b in entries)


def write_key(
    columns: Columns, transitions: Sequence[Any], plateaus: Sequence[Plateau], known: Sequence[Any]
) -> str:
    """The key of the curve: only what is on it."""
    kinds = {t.kind for t in transitions}
    entries = [
        ("dot", "llc, one standard error", True),
        ("level", "mean of a plateau", bool(plateaus)),
        ("known", "known plateau", bool(known)),
        ("up", "rise", "rise" in kinds),
        ("down", "fall", "fall" in kinds),
        ("cross", "status not ok", not columns.good.all()),
    ]
    return "".join(f'<span class="{name}">{text}</span>' for name, text, shown in entries if shown)


def write_notes(columns: Columns, plateaus: Sequence[Plateau]) -> str:
    """What a reader has to know about the drawing."""
    notes = ["Hover for a checkpoint's numbers; click to hold it. Drag to zoom, double-click to zoom out."]
    if plateaus:
        notes.append(
            "A plateau is the inverse-variance mean of its checkpoints whose status is ok; "
            "its error is widened where they scatter more than their errors say."
        )
    if columns.undrawn:
        notes.append(
            f"Not drawn, for they are not over the steps alone: {html.escape(', '.join(columns.undrawn))}."
        )
    return f'<p class="note">{" ".join(notes)}</p>'
