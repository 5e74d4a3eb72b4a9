"""Reading a measured curve: checked arrays, missing points dropped."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lltc.errors import InputError

# Median absolute deviation of a standard normal.
_NORMAL_MAD = 0.6745
# Share of the curve's range, or of the largest error where that is less, that every error has at least: of
# weights that are more unequal, sums would lose the small ones.
_EXACT, _UNEQUAL = 1e-7, 1e-2


@dataclass(frozen=True)
class Curve:
    """The usable points of a curve.

    `steps`, `llc`, `llc_se` have shape (kept,). `weights_se` is the error the segmentation
    uses: larger than `llc_se` where a single checkpoint is taken for an outlier.
    `kept` holds each point's position in the arrays that came in, `size` their length.
    """

    steps: NDArray[np.float64]
    llc: NDArray[np.float64]
    llc_se: NDArray[np.float64]
    weights_se: NDArray[np.float64]
    kept: NDArray[np.int64]
    size: int


def read_curve(steps: ArrayLike, llc: ArrayLike, llc_se: ArrayLike) -> Curve:
    """Check a curve and drop the points whose value is not finite.

    Args:
        steps: training steps, shape (n,), finite and strictly increasing.
        llc: values, shape (n,); NaN or infinite marks a failed checkpoint, which is dropped.
        llc_se: standard errors, shape (n,); positive and finite wherever `llc` is finite.

    Raises:
        InputError: an argument has the wrong shape, order, sign or range.

    Example:
        >>> read_curve([0, 10, 20, 30], [1.0, float("nan"), 1.0, 1.1], [0.1, 0.1, 0.1, 0.1]).steps.tolist()
        [0.0, 20.0, 30.0]
    """
    step, value, error = (
        read_line(x, name) for x, name in ((steps, "steps"), (llc, "llc"), (llc_se, "llc_se"))
    )
    _check(step, value, error)
    finite = np.flatnonzero(np.isfinite(value))
    step, value, error = step[finite], value[finite], error[finite]
    if len(finite):
        scale = max(np.ptp(value), np.median(error))
        error = np.maximum(error, min(_EXACT * scale, _UNEQUAL * error.max()))
    return Curve(step, value, error, error, finite, len(np.atleast_1d(llc)))


def is_setting(value: Any, test: Callable[[float], bool]) -> bool:
    """True for a number, no text and no array, that passes the `test`."""
    try:
        return not isinstance(value, str | bytes) and np.ndim(value) == 0 and bool(test(float(value)))
    except (TypeError, ValueError):
        return False


def noise_factor(value: NDArray[np.float64], error: NDArray[np.float64]) -> float:
    """Robust scatter of second differences in units of their errors, at least 1.

    `median |y[i] - (y[i-1] + y[i+1])/2| / sd / 0.6745`: a step touches two of the differences, a ramp none,
    so true changes leave the median alone.
    """
    if len(value) < 3:
        return 1.0
    bend = value[1:-1] - (value[:-2] + value[2:]) / 2
    spread = np.sqrt(error[1:-1] ** 2 + (error[:-2] ** 2 + error[2:] ** 2) / 4)
    return max(1.0, float(np.median(np.abs(bend) / spread)) / _NORMAL_MAD)


def read_line(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return `values` as a line of numbers; an `InputError` where they are none."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"{name} could not be read as numbers; pass a one-dimensional array of floats."
        ) from None
    if array.ndim != 1:
        raise InputError(
            f"{name} has shape {array.shape}; pass a one-dimensional array, one entry a checkpoint."
        )
    return array


def _check(step: NDArray[np.float64], value: NDArray[np.float64], error: NDArray[np.float64]) -> None:
    if not len(step) == len(value) == len(error):
        raise InputError(
            f"steps, llc and llc_se have lengths {len(step)}, {len(value)} and {len(error)}; "
            "pass one entry a checkpoint in each."
        )
    if not np.all(np.isfinite(step)) or np.any(np.diff(step) <= 0):
        raise InputError("steps must be finite and strictly increasing; sort the checkpoints by step first.")
    bad = np.flatnonzero(np.isfinite(value) & ~(np.isfinite(error) & (error > 0)))
    if len(bad):
        raise InputError(
            f"llc_se is {error[bad[0]]} at step {step[bad[0]]:g}; it must be positive and finite "
            "wherever llc is finite, so give an error there or set that llc to NaN."
        )
