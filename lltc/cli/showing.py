"""`lltc show` and `lltc report`: a sweep, or several runs, as text, JSON or pages."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lltc.cli.streams import save


def show(folder: Path, *, as_json: Annotated[bool, Parameter(name="--json", negative=())] = False) -> None:
    """Print a sweep's table, a sketch of its curve and its transitions; of several runs, those of each.

    Parameters
    ----------
    folder
        The sweep's folder.
    as_json
        Print the curve and the transitions as JSON instead; of several runs, by name.
    """
    opened = open_sweeps(folder)
    if as_json:
        shown = {name: to_json(swept) for name, swept in opened.items()}
        print(json.dumps(shown.get("", shown), allow_nan=False))
        return
    for name, swept in opened.items():
        print_sweep(swept, name)


def report(folder: Path, *, out: Path | None = None) -> None:
    """Write a sweep's HTML page, or one page of several runs, and print its path.

    Parameters
    ----------
    folder
        The sweep's folder.
    out
        Where the page goes; default report.html in the folder.
    """
    opened = open_sweeps(folder)
    page = out or folder / "report.html"
    save(page, opened.get("", opened).report)
    print(page)


def open_sweeps(folder: Path) -> Any:
    """Return the sweep in `folder` under the empty name, or several runs by theirs."""
    from lltc.sweeps import Runs, Sweep
    from lltc.sweeps.store import folder as store

    return Runs.open(folder) if (folder / store.RUNS).exists() else {"": Sweep.open(folder)}


def to_json(swept: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the curve and the transitions as plain JSON values; numbers that are not finite become null."""
    curve = swept.curve
    columns = {name: curve[name].values for name in ("llc", "llc_se", "loss")}
    points = [
        {"step": int(step)}
        | {name: _number(values[i]) for name, values in columns.items()}
        | {name: str(curve[name].values[i]) for name in ("status", "reason")}
        for i, step in enumerate(curve["step"].values)
    ]
    markers = [
        {
            "step_low": int(t.step_low),
            "step_high": int(t.step_high),
            "delta_llc": _number(t.delta_llc),
            "delta_llc_se": _number(t.delta_llc_se),
            "kind": t.kind,
            "probability": _number(t.probability),
        }
        for t in swept.transitions
    ]
    return {"curve": points, "transitions": markers}


def print_sweep(swept: Any, name: str = "") -> None:
    """Print a sweep's table and sketch, under the name of its run where it has one."""
    from lltc.report import list_reasons, sketch, table

    if name:
        print(f"\n{name}")
    print(table(swept.curve, swept.transitions))
    if reasons := list_reasons(swept.curve):
        print("\n".join(["", *reasons]))
    print()
    print(sketch(swept.curve["step"].values, swept.curve["llc"].values, swept.transitions))
    if swept.curve.attrs["observables"] or swept.components:
        print(f"\n{swept.dictionary()}")


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
