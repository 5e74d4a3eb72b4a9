"""Curves without error bars: their noise from their own roughness, and where they change."""

import numpy as np
from numpy.typing import ArrayLike

from lltc.errors import InputError
from lltc.transitions.curve import read_line
from lltc.transitions.markers import Transition, find_transitions

# Median absolute deviation of a standard normal times the spread of second differences of unit noise.
_BEND = 0.6745 * np.sqrt(1.5)
_SHARE = 1e-3


def estimate_noise(values: ArrayLike, *, least: float = 0.0) -> float:
    """Estimate the noise of a curve from its own second differences.

    `σ = (1 + 4/n) median |y[i] - (y[i-1] + y[i+1])/2| / (0.6745 √1.5)`: a step touches two of the n - 2
    differences, a ramp none. A thousandth of the curve's range and `least` are added in quadrature: a curve
    that is smooth to the last digit has no noise, yet not every digit is a change.

    Args:
        values: the curve, shape (n,); what is not finite is left out.
        least: the smallest noise, in the curve's unit.

    Returns:
        σ; 0 where fewer than three values are finite, or all are equal.

    Example:
        >>> round(estimate_noise([0.0, 1.0, 0.0, 1.0, 0.0, 1.0]), 2)
        2.02
    """
    finite = read_line(values, "values")
    finite = finite[np.isfinite(finite)]
    if len(finite) < 3 or np.ptp(finite) == 0:
        return 0.0
    bend = np.median(np.abs(finite[1:-1] - (finite[:-2] + finite[2:]) / 2)) / _BEND
    return float(np.sqrt(((1 + 4 / len(finite)) * bend) ** 2 + (_SHARE * np.ptp(finite)) ** 2 + least**2))


def find_changes(
    steps: ArrayLike, values: ArrayLike, *, least: float = 0.0, floor: float = 0.0
) -> tuple[Transition, ...]:
    """Mark the changes of a curve that has no error bars; `estimate_noise` stands in for them.

    White noise alone makes no marker; a random walk does, for it moves. Arguments as `estimate_noise` and
    `find_transitions`; `delta_llc` is the change of the curve, in its own unit.

    Example:
        >>> [(t.kind, t.step_low, t.step_high) for t in find_changes(range(8), [2, 2, 2.1, 2, 5, 5, 5.1, 5])]
        [('rise', 3.0, 4.0)]
    """
    line = read_line(values, "values")
    if len(read_line(steps, "steps")) != len(line):
        raise InputError(
            f"steps and values have lengths {len(read_line(steps, 'steps'))} and {len(line)}; pass one value "
            "a step."
        )
    noise = estimate_noise(line, least=least)
    if noise == 0:
        return ()
    return find_transitions(steps, line, np.full(line.shape, noise), floor=floor)
