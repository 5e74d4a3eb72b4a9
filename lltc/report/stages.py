"""The stages of several runs drawn with Matplotlib: how large each is in every run."""

from collections.abc import Sequence
from typing import Any

from lltc.errors import InputError
from lltc.report.artists import CYCLE, INK, QUIET, finish, new_axes, write
from lltc.report.wording import measured, minus

WIDE = 0.56


def plot_stages(stages: Sequence[Any], runs: Sequence[str], *, ax: Any = None) -> Any:
    """Draw each stage's Δλ in every run side by side, a bar at their mean, and what changes with it in all.

    Args:
        stages: objects with transitions (by run, with delta_llc and delta_llc_se), delta_llc, delta_llc_se
            and shared (texts).
        runs: the names of the runs, in the order of their colours.
        ax: axes to draw on; a new figure's where None.

    Returns:
        The Matplotlib axes.

    Raises:
        InputError: there is no stage, or Matplotlib is missing.
    """
    if not stages:
        raise InputError("stages is empty: no run has a transition to draw; compare runs that have some.")
    ax = new_axes((max(5.0, 1.9 * len(stages) + 1.2), 4.2)) if ax is None else ax
    places = list(range(1, len(stages) + 1))
    for place, stage in zip(places, stages, strict=True):
        ends = [place - WIDE / 2 - 0.04, place + WIDE / 2 + 0.04]
        low, high = (stage.delta_llc + sign * stage.delta_llc_se for sign in (-1, 1))
        ax.fill_between(ends, low, high, color=QUIET, alpha=0.2, lw=0, zorder=0)
        ax.plot(ends, [stage.delta_llc] * 2, color=QUIET, lw=1.2, zorder=1)
    for k, run in enumerate(runs):
        having = [(place, stage.transitions[run]) for place, stage in zip(places, stages, strict=True)
                  if run in stage.transitions]  # fmt: skip
        shift = WIDE * ((k + 0.5) / len(runs) - 0.5)
        x, y, se = (
            [place + shift for place, _ in having],
            [t.delta_llc for _, t in having],
            [t.delta_llc_se for _, t in having],
        )
        style = {"color": CYCLE[k % len(CYCLE)], "ms": 4.5, "elinewidth": 1.1, "label": run}
        ax.errorbar(x, y, se, fmt="oDs"[k // len(CYCLE) % 3], **style)
    ax.axhline(0, color=INK, lw=0.6)
    ax.set_xlim(0.5, len(stages) + 0.5)
    ax.set_xticks(places, [_label(place, stage) for place, stage in zip(places, stages, strict=True)])
    ax.set_ylabel("Δλ")
    ax.set_xlabel(" ")
    finish(ax, many=True)
    for place, stage in zip(places, stages, strict=True):
        text = minus(measured(stage.delta_llc, stage.delta_llc_se, sign=True))
        write(ax, text, (place, 1.0), xycoords=ax.get_xaxis_transform(), ha="center", va="bottom", color=INK)
    return ax


def _label(place: int, stage: Any) -> str:
    return "\n".join([f"stage {place}", *stage.shared[:3], *(["…"] if len(stage.shared) > 3 else [])])
