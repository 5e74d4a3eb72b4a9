"""Checkpoints that stand out from their neighbours: outliers, or a change there and one back."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lltc.transitions.curve import Curve, noise_factor
from lltc.transitions.evidence import Array
from lltc.transitions.recursion import build_model, level_range, sum_segmentations

RATE = 0.01
LONE = 3.0
AROUND = 16
ROUNDS = 3
MARKING_ODDS = 9.0


class Suspect(NamedTuple):
    """The `points` that lie at least `excess` beyond their neighbours, all on one side."""

    points: NDArray[np.intp]
    excess: float


class Setting(NamedTuple):
    """What the evidence of a curve is computed with: centre and scale, rate of changes, inflations."""

    frame: tuple[float, float]
    rate: float
    grid: Array
    prior: Array


def widen_outliers(curve: Curve, rate: float, grid: Array, prior: Array) -> Curve:
    """Return the curve with wider errors of the points that are likelier outliers than changes.

    Candidates are points, and pairs of points, that lie beyond the usable points on both sides by more than
    three errors, and the first and the last point beyond the two beside them. Each is judged by the evidence
    of some 33 points around it, with its error widened by how far it stands out and without. One point in a
    hundred is expected to be an outlier, more where more lone points were found to be. A first or last point
    is kept only where a change is nine times likelier.
    """
    setting = Setting(level_range(curve), rate, grid, prior)
    scatter = noise_factor(curve.llc, curve.llc_se)
    share = RATE
    for width in (*[1] * ROUNDS, 2, 1):
        curve = _judge(curve, _interior(curve, scatter, width), share, 1.0, setting)
        share = max(RATE, float(np.mean(curve.weights_se > curve.llc_se)))
    return _judge(curve, _ends(curve, scatter), share, MARKING_ODDS, setting)


def _interior(curve: Curve, scatter: float, width: int) -> list[Suspect]:
    """Return the runs of `width` usable points that stand out on both sides, the farthest first."""
    usable = np.flatnonzero(curve.weights_se == curve.llc_se)
    if len(usable) < width + 2:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(usable, width + 2)
    gaps, aside = _aside(curve, scatter, windows[:, 1:-1, None], windows[:, None, [0, -1]])
    suspects = [Suspect(windows[at, 1:-1], float(gaps[at].min())) for at in np.flatnonzero(aside)]
    return sorted(suspects, key=lambda suspect: -suspect.excess)


def _ends(curve: Curve, scatter: float) -> list[Suspect]:
    """Return the first and the last point where they stand out from the two usable points beside them."""
    usable = np.flatnonzero(curve.weights_se == curve.llc_se)
    suspects = []
    for own, *beside in (usable[:3], usable[:-4:-1]) if len(usable) > 3 else ():
        points = np.array([own])
        gaps, aside = _aside(curve, scatter, points[None, :, None], np.array(beside)[None, None])
        suspects += [Suspect(points, float(gaps.min()))] if aside[0] else []
    return suspects


def _aside(
    curve: Curve, scatter: float, own: NDArray[np.intp], others: NDArray[np.intp]
) -> tuple[Array, NDArray[np.bool_]]:
    """Return how far points `own` lie from `others`, and which of them (first axis) all do on one side."""
    gaps = curve.llc[own] - curve.llc[others]
    clear = LONE * scatter * np.hypot(curve.weights_se[own], curve.weights_se[others])
    aside = np.all(gaps > clear, (1, 2)) | np.all(gaps < -clear, (1, 2))
    return np.abs(gaps), aside


def _judge(curve: Curve, suspects: list[Suspect], share: float, least: float, setting: Setting) -> Curve:
    """Return the curve with each run widened that is an outlier with odds above 1 : `least`."""
    for points, excess in suspects:
        wider = curve.weights_se.copy()
        wider[points] = np.hypot(wider[points], excess)
        widened = replace(curve, weights_se=wider)
        near = slice(max(points[0] - AROUND, 0), points[-1] + AROUND + 1)
        gain = _log_evidence(widened, near, setting) - _log_evidence(curve, near, setting)
        if gain + len(points) * (np.log(share) - np.log1p(-share)) > -np.log(least):
            curve = widened
    return curve


def _log_evidence(curve: Curve, near: slice, setting: Setting) -> float:
    names = ("steps", "llc", "llc_se", "weights_se")
    part = replace(curve, **{name: getattr(curve, name)[near] for name in names})
    model = build_model(part, *setting.frame, np.arange(len(part.llc)))
    joint, _, _ = sum_segmentations(part, model, setting.rate, setting.grid, setting.prior)
    return float(np.logaddexp.reduce(joint))
