"""What a probe and a compression found, drawn with Matplotlib: axes in, axes out."""

from typing import Any

import numpy as np

from lltc.report.artists import BLUE, finish, new_axes
from lltc.report.wording import number, tenths

GREY = "#8a8f98"


def plot_spectra(probe: Any, *, ax: Any = None) -> Any:
    """Draw nβ times the curvature along each direction, the stiffest first, before and after an `lltc.Probe`.

    Stiff directions are filled, soft ones hollow; directions along which the loss does not curve upwards lie
    below the axis. The dashed line is the localization γ, at which a quadratic direction turns stiff.
    """
    ax = new_axes((7.2, 4.0)) if ax is None else ax
    gamma = probe.after.localization
    spectra = (
        ("before", probe.stiffness_before, GREY, "s", 7),
        ("after", probe.stiffness_after, BLUE, "o", 4),
    )
    for label, stiffness, colour, mark, size in spectra:
        _draw(ax, stiffness, f"{label}: {number(stiffness.num_stiff)} stiff", colour, mark, size)
    if gamma > 0:
        ax.axhline(gamma, color="black", lw=1, ls=(0, (4, 3)), label="localization γ")
    ax.set_yscale("log")
    tops = [s.nbeta * s.curvature[s.stiff] for _, s, *_ in spectra if s.stiff.any()]
    high = max([float(top.max()) for top in tops], default=max(gamma, 1.0))
    low = min([float(top.min()) for top in tops], default=high)
    ax.set_ylim(0.03 * (min(low, gamma) if gamma > 0 else low), 3 * high)
    ax.set_xlabel("direction, the stiffest first")
    ax.set_ylabel("nβ × curvature at the checkpoint")
    bound = "≥ " if probe.change.lower_bound else ""
    ax.set_title(
        f"{bound}{number(probe.num_stiffened)} stiffened, {bound}{number(probe.num_softened)} softened; "
        f"the change amounts to {tenths(probe.participation)} directions",
        fontsize=10,
    )
    finish(ax)
    return ax


def plot_compression(curve: Any, *, ax: Any = None) -> Any:
    """Draw an `lltc.CompressionCurve`: the rise of the loss over the fraction left out, by either order."""
    ax = new_axes((7.2, 4.0)) if ax is None else ax
    floor = 1e-3 * curve.tolerance or 1e-12
    for rise, label, style in (
        (curve.rise, "least missed by the posterior first", {"color": BLUE, "marker": "o", "ms": 4}),
        (curve.baseline, "smallest first", {"color": GREY, "marker": "s", "ms": 3}),
    ):
        ax.plot(curve.fraction, np.maximum(rise, floor), lw=1.4, label=label, **style)
    ax.axhline(curve.tolerance, color="black", lw=1, ls=(0, (4, 3)), label="tolerance")
    ax.axvline(curve.removable, color=BLUE, lw=1, alpha=0.4)
    ax.set_yscale("log")
    ax.set_xlabel({"precision": "share of 32 bits left out"}.get(curve.by, f"share of {curve.by} left out"))
    ax.set_ylabel("rise of the loss, nats")
    finish(ax)
    return ax


def _draw(ax: Any, stiffness: Any, label: str, colour: str, mark: str, size: int) -> None:
    rank, height = np.arange(1, len(stiffness.curvature) + 1), stiffness.nbeta * stiffness.curvature
    visible = height > 0
    ax.plot(rank[visible], height[visible], color=colour, lw=0.8, alpha=0.6)
    common = {"color": colour, "marker": mark, "ls": "none", "ms": size}
    ax.plot(rank[stiffness.stiff], height[stiffness.stiff], **common, label=label)
    rest = visible & ~stiffness.stiff
    ax.plot(rank[rest], height[rest], **common, markerfacecolor="none")
