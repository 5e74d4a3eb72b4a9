"""The rounds of warm-up: how long each is, and what its draws say."""

from collections.abc import Iterator

import numpy as np

from lltc.chains.loop import Trace
from lltc.chains.rungs import Ladder
from lltc.chains.tuning import Tuned

ROUNDS = 8
MOST_STEPS, SHORT = 1000, (8, 8, 8, 8, 32, 32, 16, 16)
STEADY, CLOSE = 0.25, 0.01
MOST_RISE = 100.0


def mean_energy(ladder: Ladder, trace: Trace, at_nbeta: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Return λ̂ `(rung,)` of the chains `at_nbeta`, over the second half of `trace`."""
    energy = np.asarray(trace.draws.energy)
    if energy.shape[1] < 2:
        return otherwise
    means = energy[:, energy.shape[1] // 2 :].mean((1, 2))
    means = np.where(at_nbeta, means, np.nan)
    return ladder.rungs * np.nanmean(ladder.split(means), axis=1)


def round_lengths(num_warmup: int | None) -> Iterator[int]:
    """Yield the steps of each round: eight equal ones, or short ones and then ever longer, in all a thousand.

    Example:
        >>> list(round_lengths(1000)) == [125] * 8, sum(round_lengths(None))
        (True, 1000)
    """
    if num_warmup is not None:
        for number in range(ROUNDS):
            yield num_warmup * (number + 1) // ROUNDS - num_warmup * number // ROUNDS
        return
    yield from SHORT
    left, steps = MOST_STEPS - sum(SHORT), SHORT[-1]
    while left:
        steps = min(round(1.5 * steps), left)
        yield steps
        left -= steps


def settled(ladder: Ladder, trace: Trace, before: Tuned, after: Tuned) -> bool:
    """True where hot and cold chains agree within their scatter, or one per cent, and ε has stayed."""
    change = np.abs(np.log(after.step_size / before.step_size))
    means = ladder.split(np.asarray(trace.draws.energy).mean((1, 2)))
    hot = ladder.split(ladder.hot)[0]
    if hot.all() or not hot.any():
        return bool(np.all(change < STEADY))
    gap = np.abs(means[:, hot].mean(1) - means[:, ~hot].mean(1))
    scatter = np.hypot(means[:, hot].std(1), means[:, ~hot].std(1)) / np.sqrt(max(hot.sum() - 1, 1))
    met = gap <= np.maximum(2 * scatter, CLOSE * np.abs(means.mean(1)))
    return bool(np.all(change < STEADY) and np.all(met))


def flung(ladder: Ladder, trace: Trace) -> bool:
    """True when a step too large threw a chain where the posterior has no mass: nβ(L - L*) ≫ d.

    Where the loss grows slowly it is back only after the draws have begun, which it then spoils.
    """
    energy = np.asarray(trace.draws.energy)
    means = energy[:, energy.shape[1] // 2 :].mean((1, 2))
    dimension = trace.state.position.shape[-1]
    return bool(np.any(ladder.spread(ladder.rungs) * means > MOST_RISE * (dimension + 10)))


def finite(trace: Trace) -> bool:
    """True when every recorded draw is finite."""
    return count_broken(trace) == 0


def count_broken(trace: Trace) -> int:
    """Return at how many draws a chain's loss or weights were not finite."""
    return int(np.sum(~(np.isfinite(trace.draws.energy).all(-1) & np.isfinite(trace.draws.distance))))
