"""Transitions of a curve with error bars: exact change points, plateaus and markers, in NumPy alone."""

from lltc.transitions.curve import Curve, read_curve
from lltc.transitions.markers import Plateau, Transition, find_plateaus, find_transitions
from lltc.transitions.noise import estimate_noise, find_changes
from lltc.transitions.segmentation import Segmentation, change_probabilities, segment_curve

__all__ = [
    "Curve",
    "Plateau",
    "Segmentation",
    "Transition",
    "change_probabilities",
    "estimate_noise",
    "find_changes",
    "find_plateaus",
    "find_transitions",
    "read_curve",
    "segment_curve",
]
