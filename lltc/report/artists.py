"""The pieces that plots are drawn with: axes, points, level lines, lanes of markers, labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lltc.errors import InputError
from lltc.report.columns import Columns, prefers_log
from lltc.report.wording import measured, minus

LANE = 11.0  # points a lane of markers is high
INK, QUIET, BLUE, RED, GREEN, AMBER = "#22242a", "#8a8d96", "#1f5fa8", "#c2452d", "#3f7d4f", "#e0a63a"
CYCLE = (BLUE, "#c2571f", "#2f7d5b", "#7f4fa3", "#97730f", "#2c8aa8", "#b0416a", "#5a616c")


def new_axes(size: tuple[float, float] = (8.0, 4.4)) -> Any:
    """Axes of a figure of their own, outside pyplot's global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("Drawing needs Matplotlib; install it with `pip install matplotlib`.") from None
    return Figure(figsize=size, dpi=150, layout="constrained").subplots()


def set_steps(ax: Any, steps: np.ndarray) -> None:
    """Choose the step axis: linear, logarithmic, or logarithmic with a linear foot for step 0."""
    if not prefers_log(steps):
        return
    if steps[0] > 0:
        ax.set_xscale("log")
    else:
        ax.set_xscale("symlog", linthresh=float(steps[steps > 0].min()), linscale=0.4)


def keep_steps(ax: Any, steps: np.ndarray) -> None:
    """Set the limits of the step axis a little outside the steps, the same on every scale."""
    low, high = float(steps[0]), float(steps[-1])
    if low == high:
        low, high = low - 0.5, high + 0.5
    scale = ax.xaxis.get_transform()
    ends = scale.transform(np.array([low, high]))
    pad = 0.03 * (ends[1] - ends[0])
    ax.set_xlim(*scale.inverted().transform(np.array([ends[0] - pad, ends[1] + pad])))


def draw_steps(ax: Any, rows: Sequence[tuple[float, float, float]], label: str, **style: Any) -> None:
    """Level lines over (step_low, step_high, llc), named once in the legend."""
    for i, (low, high, value) in enumerate(rows):
        ax.plot(
            [low, high],
            [value, value],
            label=label if i == 0 else None,
            **{"zorder": 1.5, "solid_capstyle": "butt", **style},
        )


def draw_points(ax: Any, columns: Columns, colour: str, *, label: str, mark: str = "o") -> None:
    """The llc with error bars; checkpoints whose status is not "ok" are hollow and outside the line."""
    good = columns.good
    size = 4.5 if len(columns.steps) <= 80 else 2.0
    style = {"ms": size, "elinewidth": 1.0, "capsize": 0, "color": colour}
    se = np.where(np.isfinite(columns.llc_se), columns.llc_se, 0.0)
    # Matplotlib leaves a label that starts with an underscore out of the legend.
    shown = label if not label.startswith("_") else f"\u200b{label}"
    ax.errorbar(
        columns.steps[good], columns.llc[good], se[good], fmt=f"{mark}-", lw=1.1, label=shown, **style
    )
    odd = ~good & np.isfinite(columns.llc)
    if odd.any():
        ax.errorbar(columns.steps[odd], columns.llc[odd], se[odd], fmt=mark, mfc="white", alpha=0.6, **style)


def mark_failed(ax: Any, columns: Columns) -> None:
    """A cross at the foot of the axes for every checkpoint whose status is not "ok"."""
    failed = columns.steps[~columns.good]
    if len(failed):
        foot = np.full(len(failed), 0.025)
        style = {"color": RED, "ms": 5, "mew": 1.3, "ls": "none", "clip_on": False}
        ax.plot(failed, foot, "x", transform=ax.get_xaxis_transform(), label="not ok", **style)


def mark_transitions(ax: Any, transitions: Sequence[Any]) -> None:
    """Shaded spans, and the sizes of the changes above the axes, in as many rows as they need."""
    across = ax.transData + ax.transAxes.inverted()
    room: list[float] = []
    points = 72 * ax.figure.get_figwidth() * ax.get_position().width
    for t in sorted(transitions, key=lambda t: t.step_low):
        colour = AMBER if t.kind == "rise" else GREEN
        ax.axvspan(t.step_low, t.step_high, color=colour, alpha=0.2, lw=0, zorder=0)
        text = minus(f"Δλ {measured(t.delta_llc, t.delta_llc_se, sign=True)}")
        middle = float(np.mean([across.transform((at, 0.0))[0] for at in (t.step_low, t.step_high)]))
        half = 2.3 * len(text) / points
        row = next((i for i, end in enumerate(room) if middle - half > end), len(room))
        room[row : row + 1] = [middle + half + 6 / points]
        write(
            ax, text, (middle, 1.0), xytext=(0, 3 + 11 * row), xycoords="axes fraction", ha="center",
            textcoords="offset points", va="bottom", color=INK,
        )  # fmt: skip


def draw_loss(ax: Any, columns: Columns) -> None:
    """The loss behind the curve, on an axis at the right; logarithmic where it spans a decade."""
    twin = ax.twinx()
    finite = columns.loss[np.isfinite(columns.loss)]
    twin.plot(columns.steps, columns.loss, color=QUIET, lw=1.0, label="loss")
    if len(finite) and finite.min() > 0 and finite.max() / finite.min() > 10:
        twin.set_yscale("log")
    twin.set_ylabel("loss (nats)", color=QUIET)
    twin.tick_params(axis="y", which="both", colors=QUIET, labelsize=9, length=3)
    for side in ("top", "left", "bottom", "right"):
        twin.spines[side].set_visible(False)
    twin.set_zorder(ax.get_zorder() - 1)
    ax.patch.set_visible(False)


def draw_lane(ax: Any, transitions: Sequence[Any], colour: str, *, lane: int) -> None:
    """One run's markers above the axes: a bar over each change, ▲ a rise and ▼ a fall, and its size.

    `lane` counts from the axes upwards; lanes have the same height on every figure.
    """
    from matplotlib.transforms import ScaledTranslation

    up = ScaledTranslation(0, (LANE * lane + 10) / 72, ax.figure.dpi_scale_trans)
    where = ax.get_xaxis_transform() + up
    style = {"transform": where, "color": colour, "clip_on": False}
    scale = ax.xaxis.get_transform()
    for t in transitions:
        ends = scale.transform(np.array([t.step_low, t.step_high], dtype=float))
        middle = float(scale.inverted().transform(np.array([ends.mean()]))[0])
        ax.plot([t.step_low, t.step_high], [1, 1], lw=5, alpha=0.35, solid_capstyle="butt", **style)
        ax.plot([middle], [1], "^" if t.kind == "rise" else "v", ms=4.5, **style)
        size = minus(measured(t.delta_llc, t.delta_llc_se, sign=True)).partition(" ± ")[0]
        beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        write(ax, size, (t.step_high, 1.0), xycoords=where, color=colour, **beside)


def write_over(
    ax: Any, columns: Columns, text: str, level: tuple[float, float, float], *, color: str, under: bool,
    side: str = "center",
) -> None:  # fmt: skip
    """A label over (or under) a level line, beyond the error bars there; none where the line is too short."""
    across = ax.transData + ax.transAxes.inverted()
    low, high = (max(min(step, columns.steps[-1]), columns.steps[0]) for step in level[:2])
    start, stop = (float(across.transform((step, 0.0))[0]) for step in (low, high))
    wide = 4.6 * len(text) / (72 * ax.figure.get_figwidth() * ax.get_position().width)
    if stop - start < wide:
        return
    left = (start + stop - wide) / 2 if side == "center" else stop - wide
    places = np.array([across.transform((step, 0.0))[0] for step in columns.steps])
    near = np.isfinite(columns.llc) & (places >= left - 0.01) & (places <= left + wide + 0.01)
    se = np.nan_to_num(columns.llc_se)
    ends = (columns.llc - se if under else columns.llc + se)[near]
    edge = float(min([*ends, level[2]]) if under else max([*ends, level[2]]))
    middle = ax.transData.inverted().transform(ax.transAxes.transform(((start + stop) / 2, 0.0)))[0]
    beyond = {
        "xytext": (0, -3 if under else 3),
        "textcoords": "offset points",
        "va": "top" if under else "bottom",
    }
    write(ax, text, (high if side == "right" else float(middle), edge), color=color, ha=side, **beyond)


def write(ax: Any, text: str, at: tuple[float, float], **style: Any) -> None:
    """A small label with a white rim, taken literally (no TeX)."""
    from matplotlib.patheffects import withStroke

    rim = [withStroke(linewidth=2.5, foreground="white", alpha=0.85)]
    common = {"fontsize": 8, "parse_math": False, "annotation_clip": False, "path_effects": rim}
    ax.annotate(text, at, **{**common, **style})


def finish(ax: Any, *, many: bool = False) -> None:
    """Frame, ticks and legend."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(QUIET)
    ax.tick_params(colors=INK, labelsize=9, length=3)
    ax.grid(axis="y", color=QUIET, alpha=0.18, lw=0.6)
    ax.set_axisbelow(True)
    if not ax.get_xlabel():
        ax.set_xlabel("step")
    handles, labels = ax.get_legend_handles_labels()
    if many or len(labels) > 1:
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14), "ncols": 4 if len(labels) < 9 else 6}
        legend = ax.legend(handles, labels, frameon=False, fontsize=8.5, **below)
        for text in legend.get_texts():
            text.set_parse_math(False)
