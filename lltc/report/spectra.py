"""Spectra before and after a change, as an SVG that takes the page's colours."""

import html
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lltc.report.wording import number

WIDE, HIGH = 720, 270
LEFT, RIGHT, TOP, FOOT = 56, 12, 12, 40
ROOM = 0.03  # share of the smallest stiff value at which the axis ends


class Spectrum(NamedTuple):
    """One checkpoint's spectrum: the value along each direction, the largest first, and which are stiff."""

    name: str
    value: np.ndarray
    stiff: np.ndarray


def draw_spectra(spectra: Sequence[Spectrum], level: float) -> str:
    """Return a picture of values over rank, logarithmic: stiff ones filled, soft ones hollow, `level` dashed.

    What lies below the axis is left out.
    """
    count = max(len(spectrum.value) for spectrum in spectra)
    stiff = np.concatenate([spectrum.value[spectrum.stiff & (spectrum.value > 0)] for spectrum in spectra])
    low, high = (float(stiff.min()), float(stiff.max())) if len(stiff) else (level or 1.0, level or 1.0)
    low = np.log10(ROOM * min(low, level if level > 0 else low))
    high = np.log10(3 * high)
    across = lambda rank: LEFT + (rank - 0.5) * (WIDE - LEFT - RIGHT) / count
    down = lambda value: TOP + (high - np.log10(value)) / (high - low) * (HIGH - TOP - FOOT)
    shapes = [_decade(power, down(10.0**power)) for power in _decades(low, high)]
    if level > 0:
        y = f"{down(level):.1f}"
        shapes.append(f'<path class="level" d="M{LEFT},{y}H{WIDE - RIGHT}"/>')
        shapes.append(f'<text x="{WIDE - RIGHT}" y="{down(level) - 5:.1f}" text-anchor="end">γ</text>')
    for place, spectrum in enumerate(spectra):
        shapes += [
            f'<circle class="s{place}{"" if hard else " soft"}" cx="{across(k):.1f}" cy="{down(value):.1f}" '
            f'r="{4.6 if place == 0 else 3.2}"/>'
            for k, (value, hard) in enumerate(zip(spectrum.value, spectrum.stiff, strict=True), 1)
            if value > 10**low
        ]
    shapes += [_rank(rank, across(rank)) for rank in sorted({1, count, (count + 1) // 2})]
    middle = (LEFT + WIDE - RIGHT) / 2
    shapes.append(f'<text x="{middle}" y="{HIGH - 5}" text-anchor="middle">direction, stiffest first</text>')
    key = "".join(
        f'<span class="s{place}">{html.escape(spectrum.name)}</span>'
        for place, spectrum in enumerate(spectra)
    )
    label = "nβ × curvature along each direction"
    return (
        f'<div class="spectra"><div class="key"><b>{label}</b>{key}</div>'
        f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{label}">{"".join(shapes)}</svg></div>'
    )


def _decades(low: float, high: float) -> list[int]:
    """Return the powers of ten between, every second or third where there are many."""
    powers = range(int(np.ceil(low)), int(np.floor(high)) + 1)
    return list(powers)[:: max(1, -(-len(powers) // 6))]


def _decade(power: int, y: float) -> str:
    text = f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number(10.0**power, 3)}</text>'
    return f'<path class="grid" d="M{LEFT},{y:.1f}H{WIDE - RIGHT}"/>{text}'


def _rank(rank: int, x: float) -> str:
    return f'<text x="{x:.1f}" y="{HIGH - FOOT + 18}" text-anchor="middle">{rank}</text>'
