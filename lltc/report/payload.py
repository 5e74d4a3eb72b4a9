"""The data a page embeds: its runs' numbers, panels, labels and chains, as plain JSON values."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lltc.report.columns import Columns, ShownPlateau, prefers_log, zero_position
from lltc.report.exhibit import Part
from lltc.report.panels import list_panels
from lltc.report.tables import cells
from lltc.report.wording import measured, minus

# Numbers of chains a page embeds, about seven bytes each; draws are thinned evenly to fit.
CHAIN_NUMBERS = 250_000

Known = Sequence[tuple[float, float, float, str]]


def build_payload(parts: Sequence[Part], known: Known, names: Sequence[str]) -> dict[str, Any]:
    """Everything the page's script draws from; a number that is not finite is null.

    `names` are the columns of the table of checkpoints.
    """
    steps = np.unique(np.concatenate([part.columns.steps for part in parts]))
    stride = chain_stride(parts)
    return {
        "runs": [build_run(part, known, names, stride) for part in parts],
        "steps": plain(steps),
        "columns": list(names),
        "panels": list_panels(parts),
        "llcRange": llc_range(parts, known),
        "known": [label_known(row, parts) for row in known],
        "log": prefers_log(steps),
        "zero": zero_position(steps) if steps.min() >= 0 else None,
        "first": pick_first(parts),
    }


def build_run(part: Part, known: Known, names: Sequence[str], stride: int) -> dict[str, Any]:
    """One run's numbers, labels and chains."""
    columns = part.columns
    run: dict[str, Any] = {
        "name": part.name,
        "step": plain(columns.steps),
        "llc": plain(columns.llc),
        "llc_se": plain(columns.llc_se),
        "loss": plain(columns.loss),
        "status": list(columns.status),
        "table": cells(columns, names),
        "details": [list(map(list, entry.items())) for entry in part.details],
        "observables": {name: plain(values) for name, values in columns.observables.items()},
        "changes": None if part.changes is None else plain(np.round(part.changes, 4)),
        "marks": {name: [place_mark(t) for t in transitions] for name, transitions in part.marks.items()},
        "components": [
            {
                "name": member.name,
                "llc": plain(member.llc),
                "llc_se": plain(member.llc_se),
                "marks": [place_mark(t) for t in member.transitions],
            }
            for member in part.members
        ],
        "transitions": [label_transition(t) for t in part.transitions],
        "plateaus": [label_plateau(p, known) for p in part.plateaus],
        "chains": None,
        "hot": part.hot,
    }
    if part.chains is not None:
        run["chains"] = [None if trace is None else thin(trace, stride) for trace in part.chains]
        run["draws"] = [count_draws(columns, part.chains, i) for i in range(len(columns.steps))]
    return run


def embed(payload: Any) -> str:
    """JSON that may stand inside a script element: nothing in it can end the element."""
    text = json.dumps(payload, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def plain(values: np.ndarray) -> list[float | int | None]:
    """Numbers as JSON has them: whole ones as integers, what is not finite as null."""
    return [None if not math.isfinite(v) else int(v) if v.is_integer() else v for v in map(float, values)]


def chain_stride(parts: Sequence[Part]) -> int:
    """Which draws are embedded: every one, or every second, third … so that the page stays small."""
    numbers = sum(trace.size for part in parts for trace in part.chains or () if trace is not None)
    return max(1, math.ceil(numbers / CHAIN_NUMBERS))


def thin(trace: np.ndarray, stride: int) -> list[list[float]]:
    """Every `stride`-th draw of the chains, to five digits."""
    return [[float(f"{value:.5g}") for value in chain[::stride]] for chain in trace]


def count_draws(columns: Columns, chains: Sequence[np.ndarray | None], i: int) -> int:
    """How many draws a chain had before thinning: what the curve says, else what was given."""
    trace = chains[i]
    said = columns.draws[i] if columns.draws is not None else math.nan
    return int(said) if math.isfinite(said) else 0 if trace is None else trace.shape[1]


def llc_range(parts: Sequence[Part], known: Known) -> list[float] | None:
    """Range of the llc axis: all error bars and plateaus, with room for the labels."""
    values = np.array([row[2] for row in known])
    for part in parts:
        llc, se = part.columns.llc, part.columns.llc_se
        se = np.where(np.isfinite(se), se, 0.0)
        values = np.concatenate([values, llc - se, llc + se, [p.llc for p in part.plateaus]])
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    room = 0.09 * (high - low) if high > low else 1.0
    return [low - room, high + room]


def place_mark(t: Any) -> list[Any]:
    """Where something changes, and how."""
    return [float(t.step_low), float(t.step_high), str(t.kind)]


def label_transition(t: Any) -> dict[str, Any]:
    """A transition with its long and short label."""
    change = minus(measured(t.delta_llc, t.delta_llc_se, sign=True))
    return {
        "step_low": float(t.step_low),
        "step_high": float(t.step_high),
        "delta_llc": float(t.delta_llc),
        "delta_llc_se": float(t.delta_llc_se),
        "kind": str(t.kind),
        "probability": float(t.probability),
        "label": f"Δλ {change}",
        "short": change.partition(" ± ")[0],
    }


def label_plateau(p: ShownPlateau, known: Known) -> dict[str, Any]:
    """A measured plateau; its label stands away from a known plateau."""
    shared = [value for low, high, value, _ in known if low < p.step_high and high > p.step_low]
    label = minus(f"λ {measured(p.llc, p.llc_se)}")
    return {**p._asdict(), "label": label, "under": any(value >= p.llc for value in shared)}


def label_known(row: tuple[float, float, float, str], parts: Sequence[Part]) -> dict[str, Any]:
    """A known plateau, clipped to the steps; its label stands under it where the measured llc lies above."""
    low, high, value, label = row
    near = [part.columns.llc[part.columns.between(low, high)] for part in parts]
    measured_here = np.concatenate(near)
    under = not len(measured_here) or float(np.median(measured_here)) >= value
    first = min(float(part.columns.steps[0]) for part in parts)
    last = max(float(part.columns.steps[-1]) for part in parts)
    clipped = {"step_low": max(low, first), "step_high": min(high, last)}
    return {**clipped, "llc": value, "label": label, "under": under}


def pick_first(parts: Sequence[Part]) -> list[int]:
    """The run and checkpoint shown before one is chosen: the last good one, with chains if any has them."""
    columns, chains = parts[0].columns, parts[0].chains
    last = len(columns.steps) - 1
    chosen = list(range(last + 1)) if chains is None else [i for i, c in enumerate(chains) if c is not None]
    good = [i for i in chosen if columns.good[i]]
    return [0, (good or chosen or [last])[-1]]
