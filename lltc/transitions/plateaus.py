"""Brackets of changes, and the levels of the plateaus between them."""

from dataclasses import dataclass

import numpy as np

from lltc.transitions.segmentation import Segmentation


@dataclass(frozen=True)
class Bracket:
    """Points `low` and `high` between which the curve changes in direction `sign`."""

    low: int
    high: int
    sign: int


@dataclass(frozen=True)
class Plateau:
    """The checkpoints from `step_low` to `step_high`, between two markers, and their mean `level ± se`."""

    step_low: float
    step_high: float
    level: float
    se: float


def plateaus_between(
    segmentation: Segmentation, brackets: list[Bracket], floor: float
) -> tuple[Plateau, ...]:
    """The levels before, between and after the brackets."""
    last = len(segmentation.curve.steps) - 1
    starts = [0] + [bracket.high for bracket in brackets]
    stops = [bracket.low for bracket in brackets] + [last]
    return tuple(
        _plateau(segmentation, start, stop, floor) for start, stop in zip(starts, stops, strict=True)
    )


def _plateau(segmentation: Segmentation, start: int, stop: int, floor: float) -> Plateau:
    curve, span = segmentation.curve, slice(start, stop + 1)
    precision = curve.weights_se[span] ** -2.0
    level = float(np.average(curve.llc[span], weights=precision))
    se = float(np.hypot(segmentation.inflation / np.sqrt(precision.sum()), floor * level))
    return Plateau(float(curve.steps[start]), float(curve.steps[stop]), level, se)
