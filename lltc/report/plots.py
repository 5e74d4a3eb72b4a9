"""Curves and chains drawn with Matplotlib: axes in, axes out, no global figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lltc.errors import InputError
from lltc.report.artists import (
    BLUE,
    CYCLE,
    GREEN,
    RED,
    draw_lane,
    draw_loss,
    draw_points,
    draw_steps,
    finish,
    keep_steps,
    mark_failed,
    mark_transitions,
    new_axes,
    set_steps,
    write_over,
)
from lltc.report.columns import measure_plateaus, read_columns, read_known
from lltc.report.wording import measured, minus


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
    plateaus = measure_plateaus(columns, transitions)
    draw_steps(
        ax, [(p.step_low, p.step_high, p.llc) for p in plateaus], "plateau", color=BLUE, lw=6, alpha=0.22
    )
    dashed = {"color": GREEN, "lw": 1.4, "ls": (0, (5, 3)), "zorder": 2.5}
    draw_steps(ax, [row[:3] for row in rows], "known", **dashed)
    keep_steps(ax, columns.steps)
    for p in plateaus:
        known = [value for low, high, value, _ in rows if low < p.step_high and high > p.step_low]
        under = any(value >= p.llc for value in known)
        label = minus(f"λ {measured(p.llc, p.llc_se)}")
        write_over(ax, columns, label, (p.step_low, p.step_high, p.llc), color=BLUE, under=under)
    for low, high, value, label in rows:
        near = columns.between(low, high)
        under = not near.any() or float(np.median(columns.llc[near])) >= value
        write_over(ax, columns, label, (low, high, value), color=GREEN, under=under, side="right")
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


def plot_curves(
    curves: Mapping[str, Any], transitions: Mapping[str, Sequence[Any]] | None = None, *, ax: Any = None
) -> Any:
    """Draw several curves over one another, named in the legend, with a lane of markers each above them.

    Args:
        curves: curves by name.
        transitions: the transitions of each curve, by the same names.
        ax: axes to draw on; a new figure's where None.

    Returns:
        The Matplotlib axes.

    Raises:
        InputError: there is no curve, one lacks a variable, `transitions` names another one, or Matplotlib
            is missing.

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
    marked = dict(transitions or {})
    if strange := set(marked) - set(curves):
        raise InputError(
            f"transitions names {sorted(strange)[0]!r}, which is no curve; give the names of curves only."
        )
    read = {str(name): read_columns(curve) for name, curve in curves.items()}
    lanes = [name for name in curves if marked.get(name)]
    ax = new_axes((8.0, 4.4 + 0.15 * len(lanes) + 0.04 * len(curves))) if ax is None else ax
    steps = np.unique(np.concatenate([columns.steps for columns in read.values()]))
    set_steps(ax, steps)
    for i, (name, columns) in enumerate(read.items()):
        draw_points(ax, columns, CYCLE[i % len(CYCLE)], label=name, mark="oDs"[i // len(CYCLE) % 3])
    keep_steps(ax, steps)
    for i, name in enumerate(reversed(lanes)):
        draw_lane(ax, marked[name], CYCLE[list(curves).index(name) % len(CYCLE)], lane=i)
    ax.set_ylabel("local learning coefficient")
    finish(ax, many=True)
    return ax


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
