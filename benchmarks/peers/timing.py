"""How both sides of `speed_peers.py` are timed; the standard library only, for every environment has that."""

import math
import time
from collections.abc import Callable


def steps_a_second(task: Callable[[int], None], least: float) -> float:
    """Return steps a second without set-up.

    From the difference of a run of 2 steps and the first of growing length that takes `least` seconds more,
    and at least twice as long, lest the set-up's own fluctuations count.
    """
    task(2)
    short, long = seconds(task, 2), 16
    least = max(least, short)
    while (extra := seconds(task, long) - short) < least:
        long *= min(16, max(2, math.ceil(1.2 * least / max(extra, 1e-9))))
    return (long - 2) / extra


def seconds(task: Callable[[int], None], count: int) -> float:
    """Return how long `count` steps take."""
    began = time.perf_counter()
    task(count)
    return time.perf_counter() - began
