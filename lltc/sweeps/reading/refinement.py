"""Which checkpoint to estimate next: where a transition's position or existence is least certain."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lltc.errors import InputError
from lltc.sweeps.reading.curve_markers import measured_only
from lltc.transitions import change_probabilities

Array = NDArray[np.float64]
UNSEEN = 0.25
SETTLED = 0.05


def pace(observables: Mapping[str, Sequence[float] | Array], count: int) -> Array:
    """Return how far training has come at each of `count` checkpoints, `(count,)` from 0 to 1.

    Half of it is the checkpoint's place in the row, half the share of the variation passed of every cheap
    observable (its logarithm where all values are positive): where losses and norms move, checkpoints are
    far apart. Observables that are not finite, or never move, say nothing.

    Example:
        >>> pace({"loss": [1.0, 1.0, 1.0, 0.5, 0.5]}, 5).round(3).tolist()
        [0.0, 0.125, 0.25, 0.875, 1.0]
    """
    place = np.linspace(0, 1, count)
    passed = [share for share in map(_variation, observables.values()) if share is not None]
    return 0.5 * place + 0.5 * np.mean(passed, axis=0) if passed else place


def coarse_grid(pace_of: Array, size: int) -> tuple[int, ...]:
    """Return up to `size` checkpoints at equal distances in `pace`, the first and the last among them.

    Raises:
        InputError: `size` below 2.

    Example:
        >>> coarse_grid(np.array([0.0, 0.125, 0.25, 0.875, 1.0]), 3)
        (0, 2, 4)
    """
    if size < 2:
        raise InputError(f"budget must leave 2 or more checkpoints for a first look, but {size} are left.")
    wanted = np.linspace(pace_of[0], pace_of[-1], min(size, len(pace_of)))
    nearest = np.abs(pace_of[:, None] - wanted).argmin(0)
    return tuple(sorted({0, len(pace_of) - 1, *map(int, nearest)}))


def choose_next(
    steps: Array, pace_of: Array, done: Sequence[int], llc: Array, llc_se: Array, *, size: int = 1
) -> tuple[int, ...]:
    """Return up to `size` checkpoints worth an estimate, the best first; none when all is settled.

    A gap between neighbours of `done` that holds u checkpoints is worth (p + ¼ Δpace·m) log₂(1 + u): p is the
    probability that the curve changes in it, m the number of gaps, and what a gap of average pace may hide is
    put at ¼. It is cut at half its pace. Gaps worth less than 0.05 are left alone.

    Args:
        steps: all checkpoints' training steps, `(n,)`.
        pace_of: `pace`, `(n,)`.
        done: which checkpoints are estimated, rising.
        llc: their estimates, `(len(done),)`; NaN where an estimate failed.
        llc_se: their standard errors; where one is no number > 0, the estimate tells nothing.
        size: how many to choose, each in another gap.

    Example:
        >>> steps = np.arange(9.0)
        >>> choose_next(steps, steps / 8, [0, 2, 4, 6, 8], np.array([1, 1, 1, 5, 5.0]), np.full(5, 0.1))
        (5,)
    """
    places = np.asarray(done)
    known = change_probabilities(steps[places], measured_only(llc, llc_se), llc_se)
    hidden = UNSEEN * np.diff(pace_of[places]) * (len(places) - 1)
    worth = hidden + np.where(np.isfinite(known), known, 0.0)
    room = np.diff(places) - 1
    value = worth * np.log2(1 + room)
    chosen = [gap for gap in np.argsort(-value, kind="stable")[:size] if value[gap] > SETTLED]
    return tuple(_middle(pace_of, int(places[gap]), int(places[gap + 1])) for gap in chosen)


def _variation(values: Sequence[float] | Array) -> Array | None:
    series = np.asarray(values, dtype=float)
    if not np.isfinite(series).all():
        return None
    series = np.log(series) if np.all(series > 0) else series
    passed = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(series)))])
    return passed / passed[-1] if passed[-1] > 0 else None


def _middle(pace_of: Array, low: int, high: int) -> int:
    inner = np.arange(low + 1, high)
    return int(inner[np.abs(pace_of[inner] - 0.5 * (pace_of[low] + pace_of[high])).argmin()])
