"""Curves and chains drawn with Matplotlib: axes in, axes out, no global figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lltc.errors import InputError
from lltc.report.columns import Columns, measure_plateaus, prefers_log, read_columns, read_known
from lltc.report.wording import measured, minus

INK, QUIET, BLUE, RED, GREEN, AMBER = "#22242a", "#8a8d96", "#1f5fa8", "#c2452d", "#3f7d4f", "#e0a63a"
CYCLE = (BLUE, "#d1682e", "#3f8f6b", "#8a5aa8", "#b08a1e", "#4aa3c7", "#b8506f", "#5f6470")


def plot_curve(
    curve: Any,
    transitions: Sequence[Any] = (),
    *,
    known: Sequence[Any] = (),
    ax: Any = None,
    show_loss: bool = True,
) -> Any:
    """Draw the llc over the steps, with its error bars, transitions and plateaus.

    The step axis is logarithmic where the steps span decades (linear below the first positive step, so that
    step 0 shows). Checkpoints whose status is not "ok" are hollow, and crossed at the foot of the axes.

    Args:
        curve: an `xarray.Dataset` over `step` with llc, llc_se, loss and status.
        transitions: objects with step_low, step_high, delta_llc, delta_llc_se, kind and probability.
        known: plateaus known beforehand, (step_low, step_high, llc, label), drawn dashed.
        ax: axes to draw on; a new figure's where None.
        show_loss: draw the loss on an axis at the right.

    Returns:
        The Matplotlib axes; `axes.figure.savefig(path)` writes them.

    Raises:
        InputError: the curve lacks a variable, or Matplotlib is missing.

    Example:
        >>> import xarray as xr
        >>> data = {"llc": [1.0, 2.0], "llc_se": [0.1, 0.1], "loss": [0.5, 0.2], "status": ["ok", "ok"]}
        >>> ax = plot_curve(xr.Dataset({k: ("step", v) for k, v in data.items()}, coords={"step": [0, 10]}))
        >>> ax.get_ylabel()
        'local learning coefficient'
    """
    columns = read_columns(curve)
    rows = read_known(known)
    ax = new_axes() if ax is None else ax
    set_steps(ax, columns.steps)
    draw_points(ax, columns, BLUE, label="llc")
    for i, p in enumerate(measure_plateaus(columns, transitions)):
        label = "plateau" if i == 0 else None
        ax.plot(
            [p.step_low, p.step_high], [p.llc, p.llc], color=BLUE, lw=6, alpha=0.22, label=label, zorder=1.5
        )
    for i, (low, high, value, _) in enumerate(rows):
        label = "known" if i == 0 else None
        ax.plot([low, high], [value, value], color=GREEN, lw=1.4, ls=(0, (5, 3)), label=label, zorder=2.5)
    keep_steps(ax, columns.steps)
    for low, high, value, label in rows:
        near = columns.good & (columns.steps >= low) & (columns.steps <= high)
        under = not near.any() or float(np.median(columns.llc[near])) >= value
        start = max(low, float(columns.steps[0]))
        side = {"xytext": (1, -3 if under else 3), "va": "top" if under else "bottom"}
        write(ax, label, (start, value), color=GREEN, textcoords="offset points", **side)
    mark_failed(ax, columns)
    mark_transitions(ax, transitions)
    if show_loss:
        draw_loss(ax, columns)
    ax.set_ylabel("local learning coefficient")
    finish(ax)
    return ax


def plot_chains(energies: Any, *, hot: Any = None, ax: Any = None) -> Any:
    """Draw the chains' energies nβ(L - L*), with the running means of the cold and of the hot chains.

    Both running means end near the llc; the gap they leave says how far the chains are from equilibrium.

    Args:
        energies: shape (chain, draw).
        hot: one truth value a chain, True where it started hot; all cold where None.
        ax: axes to draw on; a new figure's where None.

    Returns:
        The Matplotlib axes.

    Raises:
        InputError: `energies` is not (chain, draw), `hot` has another length, or Matplotlib is missing.

    Example:
        >>> ax = plot_chains([[0.0, 2.0, 4.0], [8.0, 6.0, 4.0]], hot=[False, True])
        >>> ax.get_lines()[-1].get_ydata()
        array([8., 7., 6.])
    """
    energies, hot = read_chains(energies, hot)
    ax = new_axes((7.2, 3.6)) if ax is None else ax
    draws = np.arange(1, energies.shape[1] + 1)
    groups = [(~hot, BLUE, "cold start"), (hot, RED, "hot start")]
    for chosen, colour, _ in groups:
        for chain in energies[chosen]:
            ax.plot(draws, chain, color=colour, lw=0.6, alpha=0.3)
    for chosen, colour, label in groups:
        if chosen.any():
            mean = np.cumsum(energies[chosen].mean(axis=0)) / draws
            ax.plot(draws, mean, color=colour, lw=2.2, label=f"{label}, running mean")
    ax.set_xlabel("draw")
    ax.set_ylabel("nβ (L − L*)")
    finish(ax)
    return ax


def plot_curves(curves: Mapping[str, Any], ax: Any = None) -> Any:
    """Draw several curves over one another, named in the legend.

    Args:
        curves: curves by name.
        ax: axes to draw on; a new figure's where None.

    Returns:
        The Matplotlib axes.

    Raises:
        InputError: there is no curve, one lacks a variable, or Matplotlib is missing.

    Example:
        >>> import xarray as xr
        >>> data = {"llc": [1.0, 2.0], "llc_se": [0.1, 0.1], "loss": [0.5, 0.2], "status": ["ok", "ok"]}
        >>> curve = xr.Dataset({k: ("step", v) for k, v in data.items()}, coords={"step": [0, 10]})
        >>> ax = plot_curves({"seed 0": curve, "seed 1": curve})
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['seed 0', 'seed 1']
    """
    if not curves:
        raise InputError("curves is empty; give at least one curve by its name.")
    read = {str(name): read_columns(curve) for name, curve in curves.items()}
    ax = new_axes() if ax is None else ax
    steps = np.unique(np.concatenate([columns.steps for columns in read.values()]))
    set_steps(ax, steps)
    for i, (name, columns) in enumerate(read.items()):
        draw_points(ax, columns, CYCLE[i % len(CYCLE)], label=name)
    keep_steps(ax, steps)
    ax.set_ylabel("local learning coefficient")
    finish(ax, many=True)
    return ax


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


def draw_points(ax: Any, columns: Columns, colour: str, *, label: str) -> None:
    """The llc with error bars; checkpoints whose status is not "ok" are hollow and outside the line."""
    good = columns.good
    size = 4.5 if len(columns.steps) <= 80 else 2.0
    style = {"ms": size, "elinewidth": 1.0, "capsize": 0, "color": colour}
    se = np.where(np.isfinite(columns.llc_se), columns.llc_se, 0.0)
    # Matplotlib leaves a label that starts with an underscore out of the legend.
    shown = label if not label.startswith("_") else f"\u200b{label}"
    ax.errorbar(columns.steps[good], columns.llc[good], se[good], fmt="o-", lw=1.1, label=shown, **style)
    odd = ~good & np.isfinite(columns.llc)
    if odd.any():
        ax.errorbar(columns.steps[odd], columns.llc[odd], se[odd], fmt="o", mfc="white", alpha=0.6, **style)


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


def write(ax: Any, text: str, at: tuple[float, float], **style: Any) -> None:
    """A small label, taken literally (no TeX), that takes no part in the layout's width."""
    ax.annotate(text, at, fontsize=8, parse_math=False, annotation_clip=False, **style)


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
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14), "ncols": 4}
        legend = ax.legend(handles, labels, frameon=False, fontsize=8.5, **below)
        for text in legend.get_texts():
            text.set_parse_math(False)


def read_chains(energies: Any, hot: Any) -> tuple[np.ndarray, np.ndarray]:
    """Energies of shape (chain, draw), and which chains are hot.

    Raises:
        InputError: another shape, or another number of truth values than of chains.
    """
    energies = np.asarray(energies, dtype=float)
    if energies.ndim != 2 or 0 in energies.shape:
        raise InputError(
            f"energies has shape {energies.shape}; give a non-empty array of shape (chain, draw)."
        )
    hot = np.zeros(len(energies), dtype=bool) if hot is None else np.asarray(hot, dtype=bool)
    if hot.shape != (len(energies),):
        raise InputError(
            f"hot has shape {hot.shape} for {len(energies)} chains; give one truth value a chain."
        )
    return energies, hot
