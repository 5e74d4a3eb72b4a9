"""Operating points of lltc.transitions on simulated curves, next to PELT on a weighted line.

    python benchmarks/transitions.py [--quick]

writes benchmarks/results/transitions.md and .png (with --quick: a twentieth of the curves, to a temporary
folder).
Needs ruptures: pip install ruptures
"""

import argparse
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import ruptures
from ruptures.version import version as ruptures_version

from lltc.transitions import change_probabilities, find_plateaus, find_transitions
from lltc.transitions.curve import noise_factor

RESULTS = Path(__file__).parent / "results"
SIZES = (20, 50, 100, 200)
LEVELS = (6.22, 7.89, 9.31, 10.50)


class Simulated(NamedTuple):
    """A curve with the errors it claims, and the last checkpoint before its step (-1: none)."""

    y: np.ndarray
    se: np.ndarray
    last: int


def simulate_flat(rng, n, claimed=1.0):
    return Simulated(rng.standard_normal(n), np.full(n, claimed), -1)


def simulate_shared(rng, n, correlation=0.5):
    """A flat curve whose neighbouring errors are correlated, first-order autoregressive, variance 1."""
    y = rng.standard_normal(n)
    for k in range(1, n):
        y[k] = correlation * y[k - 1] + np.sqrt(1 - correlation**2) * y[k]
    return Simulated(y, np.ones(n), -1)


def simulate_step(rng, n, height=6.0, claimed=1.0, end=False):
    """A step with two checkpoints or more on either side, or (`end`) exactly one on one side."""
    last = int(rng.choice([0, n - 2]) if end else rng.integers(1, n - 2))
    return Simulated(height * (np.arange(n) > last) + rng.standard_normal(n), np.full(n, claimed), last)


def simulate_shape(rng, n, shape):
    """A named shape in units of the standard error."""
    x = np.arange(n) / (n - 1)
    clean = {
        "ramp": lambda: 20 * np.clip((x - 0.3) / 0.4, 0, 1),
        "ramp over the whole curve": lambda: 20 * x,
        "hump, flat top": lambda: 10.0 * ((x > 0.4) & (x < 0.6)),
        "hump, pointed": lambda: 20 * np.maximum(0, 1 - np.abs(x - 0.5) / 0.25),
        "saturating growth": lambda: 30 * (1 - np.exp(-6 * x)),
        "one outlier of 20 se": lambda: 20.0 * (np.arange(n) == rng.integers(1, n - 1)),
    }[shape]()
    return Simulated(clean + rng.standard_normal(n), np.ones(n), -1)


def simulate_stairs(rng, drift=0.0):
    """46 checkpoints, four levels, changes over 1 to 4 intervals, plateaus that drift by `drift`."""
    knots = [0]
    for cut in (10, 22, 34):
        low = cut + rng.integers(-2, 3)
        knots += [low, low + rng.integers(1, 5)]
    knots.append(45)
    tilt = 1 + drift / 2 * np.ravel([sign * np.array([-1, 1]) for sign in rng.choice([-1, 1], 4)])
    y = np.interp(np.arange(46), knots, np.repeat(LEVELS, 2) * tilt)
    return Simulated(y + 0.06 * rng.standard_normal(46), np.full(46, 0.06), -1)


def mark(curve, **settings):
    """The markers as (low, high, sign)."""
    found = find_transitions(np.arange(len(curve.y)), curve.y, curve.se, **settings)
    return [(int(t.step_low), int(t.step_high), 1 if t.kind == "rise" else -1) for t in found]


def mark_pelt(curve, inflate):
    """PELT on [y/se, 1/se, t/se] with the BIC penalty for a line and a change point, 3 log n."""
    n = len(curve.y)
    se = curve.se * (noise_factor(curve.y, curve.se) if inflate else 1.0)
    signal = np.column_stack([curve.y / se, 1 / se, np.arange(n) / se])
    ends = ruptures.Pelt(model="linear", min_size=2, jump=1).fit(signal).predict(pen=3 * np.log(n))
    return [(end - 1, end, int(np.sign(curve.y[end] - curve.y[end - 1]))) for end in ends[:-1]]


def score(curve, markers):
    """(any marker, step found within one interval, number of markers, intervals in the bracket)."""
    hits = [(a, b) for a, b, sign in markers if sign > 0 and a >= curve.last - 1 and b <= curve.last + 2]
    width = hits[0][1] - hits[0][0] if hits else np.nan
    return bool(markers), bool(hits), len(markers), width


def trial(seed, simulate: Callable, marker: Callable):
    curve = simulate(np.random.default_rng(seed))
    return score(curve, marker(curve))


def kinds_trial(seed, simulate: Callable, **settings):
    markers = mark(simulate(np.random.default_rng(seed)), **settings)
    return ", ".join("rise" if sign > 0 else "fall" for *_, sign in markers) or "none"


def repeat(pool, count, function, **arguments):
    return list(pool.map(partial(function, **arguments), range(count), chunksize=max(1, count // 8)))


def rates(pool, count, simulate, marker):
    """Fractions and means of `score` over `count` curves."""
    scores = np.array(repeat(pool, count, trial, simulate=simulate, marker=marker), float)
    return np.nanmean(scores, axis=0) if scores[:, 1].any() else np.append(scores[:, :3].mean(axis=0), np.nan)


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def percent(fraction):
    return f"{100 * fraction:.1f} %"


def operating_points(pool, count):
    rows = []
    for n in SIZES:
        flats = [partial(simulate_flat, n=n, claimed=c) for c in (1.0, 1 / 3)] + [
            partial(simulate_shared, n=n)
        ]
        steps = [partial(simulate_step, n=n, **k) for k in ({}, {"claimed": 1 / 3}, {"end": True})]
        false = [rates(pool, count, simulate, mark)[0] for simulate in flats]
        found = [rates(pool, count, simulate, mark) for simulate in steps]
        rows.append([n, *map(percent, false), *(percent(f[1]) for f in found), f"{found[0][3]:.2f}"])
    head = ["checkpoints", "flat, errors right", "flat, errors 3× too small", "flat, errors correlated 0.5"]
    head += [
        "step of 6 se",
        "the same, errors 3× too small",
        "step at the first or last interval",
        "bracket width",
    ]
    return table(head, rows)


def comparison(pool, count):
    markers = {"lltc": mark, "PELT": partial(mark_pelt, inflate=False)}
    markers["PELT, errors inflated"] = partial(mark_pelt, inflate=True)
    rows = []
    for n in SIZES[:3]:
        for name, marker in markers.items():
            flats = [rates(pool, count, partial(simulate_flat, n=n, claimed=c), marker) for c in (1.0, 1 / 3)]
            step = rates(pool, count, partial(simulate_step, n=n), marker)
            cells = [percent(flats[0][0]), percent(flats[1][0]), f"{flats[1][2]:.2f}", percent(step[1])]
            rows.append([n, name, *cells, f"{step[2]:.2f}"])
    head = ["checkpoints", "method", "flat: any marker", "flat, errors 3× too small: any marker"]
    head += ["its false markers a curve", "step of 6 se found", "markers on the step curve (1 is right)"]
    return table(head, rows)


def settings_scan(pool, count, n=50):
    rows = []
    settings = [{"threshold": t} for t in (0.5, 0.8, 0.9, 0.95, 0.99)] + [
        {"min_change": m} for m in (0, 2, 3, 4)
    ]
    for setting in settings:
        marker = partial(mark, **setting)
        flats = [partial(simulate_flat, n=n, claimed=c) for c in (1.0, 1 / 3)] + [
            partial(simulate_shared, n=n)
        ]
        false = [percent(rates(pool, count, simulate, marker)[0]) for simulate in flats]
        steps = [partial(simulate_step, n=n, height=h) for h in (3.0, 4.0, 6.0)]
        found = [percent(rates(pool, count, simulate, marker)[1]) for simulate in steps]
        ((name, value),) = setting.items()
        rows.append([f"{name} = {value}", *false, *found])
    head = ["setting (others default)", "flat, errors right", "flat, errors 3× too small"]
    return table([*head, "flat, correlated 0.5", "step of 3 se", "4 se", "6 se"], rows)


def shapes(pool, count):
    names = ["ramp", "ramp over the whole curve", "hump, flat top", "hump, pointed", "saturating growth"]
    names.append("one outlier of 20 se")
    cases = {f"{s}, {n} checkpoints": partial(simulate_shape, n=n, shape=s) for s in names for n in (20, 100)}
    rows = []
    for name, simulate in cases.items():
        rows.append([name, "0", describe_kinds(repeat(pool, count, kinds_trial, simulate=simulate))])
    for drift, floor in ((0.0, 0.0), (0.0, 0.01), (0.01, 0.0), (0.01, 0.01), (0.02, 0.0), (0.02, 0.01)):
        simulate = partial(simulate_stairs, drift=drift)
        seen = describe_kinds(repeat(pool, count, kinds_trial, simulate=simulate, floor=floor))
        rows.append([f"staircase, 46 checkpoints, plateaus drift by {drift:.0%}", floor or "0", seen])
    return table(["curve", "floor", "markers (three most frequent answers)"], rows)


def describe_kinds(answers):
    common = Counter(answers).most_common(3)
    return "; ".join(f"{kinds}: {percent(times / len(answers))}" for kinds, times in common)


def seconds_taken():
    cells = []
    for n in (50, 100, 200, 500):
        curve, best = simulate_flat(np.random.default_rng(0), n), np.inf
        for _ in range(3):
            started = time.perf_counter()
            mark(curve)
            best = min(best, time.perf_counter() - started)
        cells.append([n, f"{best:.3f}"])
    return table(["checkpoints", "seconds"], cells)


def draw_example(path):
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    curve = simulate_stairs(np.random.default_rng(4), drift=0.01)
    steps = np.arange(46)
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(8, 5), height_ratios=[3, 1])
    top.errorbar(steps, curve.y, curve.se, fmt=".", color="0.3")
    for plateau in find_plateaus(steps, curve.y, curve.se):
        top.plot([plateau.step_low, plateau.step_high], [plateau.level] * 2, color="tab:blue")
    for marker in find_transitions(steps, curve.y, curve.se):
        top.axvspan(marker.step_low, marker.step_high, color="tab:orange", alpha=0.3, lw=0)
        label = f"{marker.delta_llc:+.2f} ± {marker.delta_llc_se:.2f}"
        top.annotate(
            label,
            (marker.step_high, curve.y[int(marker.step_low)]),
            xytext=(6, 0),
            textcoords="offset points",
        )
    bottom.bar(
        steps[:-1] + 0.5, change_probabilities(steps, curve.y, curve.se), width=0.9, color="tab:orange"
    )
    top.set_ylabel("llc")
    bottom.set(xlabel="checkpoint", ylabel="P(change)", ylim=(0, 1))
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def describe_versions():
    parts = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "ruptures": ruptures_version.lstrip("v"),
    }
    return ", ".join(f"{name} {version}" for name, version in parts.items())


TEXT = """# Transitions: operating points

`make bench-transitions` ({count} curves a cell for the first table, {fewer} for the others; {seconds:.0f} s;
{versions}). Noise is normal with standard
deviation 1 (the standard error, "se"); every curve has its own seed. A curve counts as marked when it has any
marker. A step counts as found when a marker of the right direction lies within one interval of it on both
sides. Steps have at least two checkpoints on either side unless said otherwise. In the first table a rate of
5 % or 95 % has a sampling error of {error:.1f} %.

## Defaults (threshold 0.9, min_change 3)

{points}

## Beside PELT

PELT (ruptures, `model="linear"`, penalty 3 log n) on the weighted line `[y/se, 1/se, t/se]`, with the errors
as claimed, and inflated by the robust scatter of second differences. A line has no ramps to mark, so only
flat curves and steps are compared.

{versus}

## Where the defaults come from (50 checkpoints)

{scan}

`min_change` is what keeps correlated errors from making markers; it also hides about half of
the steps of 3 se.

## Shapes

Heights: ramps and the pointed hump 20 se, the flat hump 10 se, saturating growth 30 se. The staircase has the
levels 6.22, 7.89, 9.31, 10.50 with an error of 0.06, changes that take 1 to 4 intervals, and (where said)
plateaus that slope up or down by a part of their level; the right answer is three rises.

{shapes}

## Time

{timing}

![a staircase, its plateaus, markers and change probabilities](transitions.png)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the curves, results not kept")
    quick = parser.parse_args().quick
    count, fewer = (20, 10) if quick else (400, 100)
    folder = Path(tempfile.mkdtemp()) if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with ProcessPoolExecutor(2) as pool:
        tables = {"points": operating_points(pool, count), "versus": comparison(pool, fewer)}
        tables |= {"scan": settings_scan(pool, fewer), "shapes": shapes(pool, fewer)}
    tables["timing"] = seconds_taken()
    draw_example(folder / "transitions.png")
    text = TEXT.format(
        count=count,
        fewer=fewer,
        seconds=time.perf_counter() - started,
        versions=describe_versions(),
        error=100 * np.sqrt(0.05 * 0.95 / count),
        **tables,
    )
    (folder / "transitions.md").write_text(text)
    print(text, f"written to {folder}", sep="\n")


if __name__ == "__main__":
    main()
