"""Curves with a known answer, in units of their standard error."""

from typing import NamedTuple

import numpy as np

LEVELS = (6.22, 7.89, 9.31, 10.50)
SIX = (31, 36, 43, 20, 12, 11)


class Simulated(NamedTuple):
    """A curve with the errors it claims, where its change is halfway (NaN: none), steps (None: 0, 1, …)."""

    y: np.ndarray
    se: np.ndarray
    halfway: float = np.nan
    steps: np.ndarray | None = None


def simulate_flat(rng, n, claimed=1.0):
    return Simulated(rng.standard_normal(n), np.full(n, claimed))


def simulate_shared(rng, n, correlation=0.5):
    """A flat curve whose neighbouring errors are correlated, first-order autoregressive, variance 1."""
    y = rng.standard_normal(n)
    for k in range(1, n):
        y[k] = correlation * y[k - 1] + np.sqrt(1 - correlation**2) * y[k]
    return Simulated(y, np.ones(n))


def simulate_step(rng, n, height=6.0, claimed=1.0, end=False):
    """A step with two checkpoints or more on either side, or (`end`) exactly one on one side."""
    last = int(rng.choice([0, n - 2]) if end else rng.integers(1, n - 2))
    y = height * (np.arange(n) > last) + rng.standard_normal(n)
    return Simulated(y, np.full(n, claimed), last + 0.5)


def simulate_climb(rng, n, height, widest):
    """A climb that takes up to `widest` intervals, from anywhere between two checkpoints."""
    width = rng.uniform(0, widest)
    start = rng.uniform(2, n - 3 - width)
    y = height * np.clip((np.arange(n) - start) / max(width, 1e-9), 0, 1)
    return Simulated(y + rng.standard_normal(n), np.ones(n), start + width / 2)


def simulate_levels(rng, n, spread):
    """Plateaus with normal levels, a change in each interval with probability 1/n; also where they are."""
    changes = rng.random(n - 1) < 1 / n
    levels = spread * rng.standard_normal(n)
    y = levels[np.concatenate([[0], np.cumsum(changes)])]
    return Simulated(y + rng.standard_normal(n), np.ones(n)), changes


def simulate_shape(rng, n, shape):
    """A named shape in units of the standard error."""
    x = np.arange(n) / (n - 1)
    clean = {
        "ramp": lambda: 20 * np.clip((x - 0.3) / 0.4, 0, 1),
        "ramp over the whole curve": lambda: 20 * x,
        "hump, flat top": lambda: 10.0 * ((x > 0.4) & (x < 0.6)),
        "hump, pointed": lambda: 20 * np.maximum(0, 1 - np.abs(x - 0.5) / 0.25),
        "saturating growth": lambda: 30 * (1 - np.exp(-6 * x)),
        "sigmoid over a third": lambda: 30 / (1 + np.exp(-(x - 0.5) / 0.0375)),
        "overshoot": lambda: 20.0 * (x >= 0.5) + 10 * np.exp(-(((x - 0.56) / 0.05) ** 2)),
        "one outlier of 20 se": lambda: 20.0 * (np.arange(n) == rng.integers(1, n - 1)),
    }[shape]()
    return Simulated(clean + rng.standard_normal(n), np.ones(n))


def simulate_smooth(rng, n, shape, height, width, correlation=0.0, failed=0.0, uneven=False):
    """A smooth curve, `width` its width in parts of n; `halfway` is that of its rise.

    A sigmoid takes `width` from 12 to 88 %, `width` is the standard deviation of a normal hump, half the base
    of a pointed one, and the time a curve that saturates takes for 63 %.
    """
    w = width * n
    at = np.sort(rng.uniform(0, n - 1, n)) if uneven else np.arange(n, dtype=float)
    centre = rng.uniform(0.45, 0.55) * n
    z = (at - centre) / w
    clean, halfway = {
        "sigmoid": lambda: (1 / (1 + np.exp(-4 * z)), 0.0),
        "normal hump": lambda: (np.exp(-(z**2) / 2), -np.sqrt(2 * np.log(2))),
        "pointed hump": lambda: (np.maximum(0, 1 - np.abs(z)), -0.5),
        "saturating": lambda: (1 - np.exp(-np.maximum(z + 1, 0)), np.log(2) - 1),
        "step and overshoot": lambda: ((z >= 0) + 0.5 * np.exp(-((z - 1.2) ** 2)), 0.0),
    }[shape]()
    noise = simulate_shared(rng, n, correlation).y
    off = rng.random(n) < failed
    noise[off] += rng.uniform(8, 40, off.sum()) * rng.choice([-1, 1], off.sum())
    return Simulated(height * clean + noise, np.ones(n), centre + w * halfway, at)


def simulate_failed(rng, n, height=0.0, share=0.05):
    """A step of `height` in the middle, or none, and `share` of the checkpoints 8 to 40 errors off."""
    y = height * (np.arange(n) >= n // 2) + rng.standard_normal(n)
    off = rng.random(n) < share
    y[off] += rng.uniform(8, 40, off.sum()) * rng.choice([-1, 1], off.sum())
    return Simulated(y, np.ones(n))


def simulate_six(rng, height):
    """Six checkpoints that rise and fall, `height` errors from the lowest to the highest."""
    clean = height * (np.array(SIX) - min(SIX)) / np.ptp(SIX)
    return Simulated(clean + rng.standard_normal(6), np.ones(6))


def simulate_stairs(rng, drift=0.0):
    """46 checkpoints, four levels, changes over 1 to 4 intervals, plateaus that drift by `drift`."""
    knots = [0]
    for cut in (10, 22, 34):
        low = cut + rng.integers(-2, 3)
        knots += [low, low + rng.integers(1, 5)]
    knots.append(45)
    tilt = 1 + drift / 2 * np.ravel([sign * np.array([-1, 1]) for sign in rng.choice([-1, 1], 4)])
    y = np.interp(np.arange(46), knots, np.repeat(LEVELS, 2) * tilt)
    return Simulated(y + 0.06 * rng.standard_normal(46), np.full(46, 0.06))
