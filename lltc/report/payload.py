"""The data a page embeds: the curve's numbers, its panels, labels and chains, as plain JSON values."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lltc.errors import InputError
from lltc.report.columns import Columns, Plateau, prefers_log, zero_position
from lltc.report.wording import measured, minus, number

CURVE_HEIGHT, LOSS_HEIGHT, OBSERVABLE_HEIGHT = 400, 150, 110


class Cells(NamedTuple):
    """The table of checkpoints as text: names of its columns, and a row a checkpoint."""

    names: list[str]
    rows: list[list[str]]


def build_payload(
    columns: Columns,
    transitions: Sequence[Any],
    plateaus: Sequence[Plateau],
    known: Sequence[tuple[float, float, float, str]],
    chains: Mapping[Any, Any] | None,
    hot: Sequence[bool] | None,
) -> dict[str, Any]:
    """Everything the page's script draws from; a number that is not finite is null."""
    cells = tabulate(columns)
    traces = None if chains is None else list_chains(columns, chains)
    return {
        "curve": {
            "step": plain(columns.steps),
            "llc": plain(columns.llc),
            "llc_se": plain(columns.llc_se),
            "loss": plain(columns.loss),
            "status": list(columns.status),
        },
        "columns": cells.names,
        "table": cells.rows,
        "hover": [describe(columns, i) for i in range(len(columns.steps))],
        "panels": list_panels(columns),
        "llcRange": llc_range(columns, plateaus, known),
        "transitions": [label_transition(t) for t in sorted(transitions, key=lambda t: t.step_low)],
        "plateaus": [label_plateau(p, known, columns) for p in plateaus],
        "known": [label_known(row, columns) for row in known],
        "log": prefers_log(columns.steps),
        "zero": zero_position(columns.steps) if columns.steps.min() >= 0 else None,
        "first": pick_first(columns, traces),
        "chains": traces,
        "hot": None if traces is None else mark_hot(traces, hot),
    }


def embed(payload: Any) -> str:
    """JSON that may stand inside a script element: nothing in it can end the element."""
    text = json.dumps(payload, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def plain(values: np.ndarray) -> list[float | int | None]:
    """Numbers as JSON has them: whole ones as integers, what is not finite as null."""
    return [None if not math.isfinite(v) else int(v) if v.is_integer() else v for v in map(float, values)]


def tabulate(columns: Columns) -> Cells:
    """The table's text: step, llc, its error, loss and status first, then what else the curve holds."""
    extra = {**columns.details, **columns.observables}
    names = ["step", "llc", "llc_se", "loss", "status", *extra]
    rows = []
    for i, step in enumerate(columns.steps):
        value, _, se = measured(columns.llc[i], columns.llc_se[i]).partition(" ± ")
        others = [number(values[i]) for values in extra.values()]
        cells = [number(step, 7), value, se or "—", number(columns.loss[i])]
        rows.append([*map(minus, cells), columns.status[i], *map(minus, others)])
    return Cells(names, rows)


def describe(columns: Columns, i: int) -> str:
    """The hover label of a checkpoint."""
    llc = minus(measured(columns.llc[i], columns.llc_se[i]))
    loss = minus(number(columns.loss[i]))
    status = html.escape(columns.status[i], quote=False)
    return f"<b>{llc}</b><br>step {minus(number(columns.steps[i], 7))}<br>loss {loss}<br>{status}"


def list_panels(columns: Columns) -> list[dict[str, Any]]:
    """The panels from the top: the llc, the loss, and one for every observable."""
    panels = [{"title": "Local learning coefficient", "axis": "y", "height": CURVE_HEIGHT, "log": False}]
    rest = [("loss", "Loss (nats)", columns.loss, LOSS_HEIGHT)]
    rest += [(name, name, values, OBSERVABLE_HEIGHT) for name, values in columns.observables.items()]
    for i, (name, title, values, height) in enumerate(rest):
        finite = values[np.isfinite(values)]
        log = bool(len(finite) and finite.min() > 0 and finite.max() / finite.min() > 10)
        ticks = log_ticks(finite) if log else None
        panel = {"title": f"{title}, log scale" if log else title, "name": name, "axis": f"y{i + 2}"}
        panels.append({**panel, "height": height, "log": log, "ticks": ticks, "values": plain(values)})
    return panels


def log_ticks(values: np.ndarray) -> list[float]:
    """Labels of a logarithmic axis: at most about five of 1, 2, 5 times, or of, the powers of ten."""
    low, high = float(values.min()), float(values.max())
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    stride = math.ceil(math.log10(high / low) / 4)
    for parts in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{part}e{k}") for k in powers for part in parts if len(parts) > 1 or k % stride == 0]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= 5:
            break
    return ticks


def llc_range(columns: Columns, plateaus: Sequence[Plateau], known: Sequence[Any]) -> list[float] | None:
    """Range of the llc axis: all error bars and plateaus, with room for the labels."""
    se = np.where(np.isfinite(columns.llc_se), columns.llc_se, 0.0)
    levels = [p.llc for p in plateaus] + [row[2] for row in known]
    values = np.concatenate([columns.llc - se, columns.llc + se, levels])
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    room = 0.09 * (high - low) if high > low else 1.0
    return [low - room, high + room]


def label_transition(t: Any) -> dict[str, Any]:
    """A transition with its long and short label."""
    return {
        "step_low": float(t.step_low),
        "step_high": float(t.step_high),
        "delta_llc": float(t.delta_llc),
        "delta_llc_se": float(t.delta_llc_se),
        "kind": str(t.kind),
        "probability": float(t.probability),
        "label": minus(f"Δλ {measured(t.delta_llc, t.delta_llc_se, sign=True)}"),
        "short": minus(f"{t.delta_llc:+.3g}"),
    }


def label_plateau(
    p: Plateau, known: Sequence[tuple[float, float, float, str]], columns: Columns
) -> dict[str, Any]:
    """A measured plateau; its label stands beyond the error bars (`edge`), away from a known plateau."""
    shared = [value for low, high, value, _ in known if low < p.step_high and high > p.step_low]
    under = any(value >= p.llc for value in shared)
    inside = columns.good & (columns.steps >= p.step_low) & (columns.steps <= p.step_high)
    se = np.nan_to_num(columns.llc_se[inside])
    edge = np.min(columns.llc[inside] - se) if under else np.max(columns.llc[inside] + se)
    label = minus(f"λ {measured(p.llc, p.llc_se)}")
    return {**p._asdict(), "label": label, "under": under, "edge": float(edge)}


def label_known(row: tuple[float, float, float, str], columns: Columns) -> dict[str, Any]:
    """A known plateau, clipped to the steps; its label stands under it where the measured llc lies above."""
    low, high, value, label = row
    near = columns.good & (columns.steps >= low) & (columns.steps <= high)
    under = not near.any() or float(np.median(columns.llc[near])) >= value
    first, last = float(columns.steps[0]), float(columns.steps[-1])
    clipped = {"step_low": max(low, first), "step_high": min(high, last)}
    return {**clipped, "llc": value, "label": label, "under": under}


def list_chains(columns: Columns, chains: Mapping[Any, Any]) -> list[list[list[float]] | None]:
    """The chains of every checkpoint, to five digits; null where none were given.

    Raises:
        InputError: a step is not on the curve, or an array is not a finite (chain, draw).
    """
    steps = {float(step): i for i, step in enumerate(columns.steps)}
    listed: list[list[list[float]] | None] = [None] * len(columns.steps)
    for step, array in chains.items():
        array = np.asarray(array, dtype=float)
        if float(step) not in steps:
            raise InputError(
                f"chains holds step {step}, which is not on the curve; give only the curve's steps."
            )
        if array.ndim != 2 or 0 in array.shape:
            raise InputError(
                f"chains[{step}] has shape {array.shape}; give a non-empty array of shape (chain, draw)."
            )
        if np.isfinite(array).all():
            listed[steps[float(step)]] = [[float(f"{v:.5g}") for v in chain] for chain in array]
    return listed


def mark_hot(traces: Sequence[Any], hot: Sequence[bool] | None) -> list[bool]:
    """Which chains are hot, the same for every checkpoint; all cold where None.

    Raises:
        InputError: another number of truth values than of chains.
    """
    count = max((len(trace) for trace in traces if trace), default=0)
    marks = [False] * count if hot is None else [bool(h) for h in hot]
    if len(marks) != count:
        raise InputError(
            f"hot has {len(marks)} truth values for {count} chains; give one truth value a chain."
        )
    return marks


def pick_first(columns: Columns, traces: Sequence[Any] | None) -> int:
    """The checkpoint shown before one is chosen: the last good one, with chains if any has them."""
    last = len(columns.steps) - 1
    kept = [i for i, trace in enumerate(traces) if trace] if traces else list(range(last + 1))
    good = [i for i in kept if columns.good[i]]
    return (good or kept or [last])[-1]
