"""Operating points of lltc.transitions on simulated curves, next to PELT on a weighted line.

    python benchmarks/transitions.py [--quick]

writes benchmarks/results/transitions.md and .png from transitions.template.md (with --quick: a twentieth of
the curves and short sweeps, to a temporary folder).
Needs ruptures: pip install ruptures
"""

import argparse
import os
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import ruptures
from controls import HEAD, control_rows
from provenance import describe_run
from ruptures.version import version as ruptures_version
from simulated import (
    SIX,
    simulate_climb,
    simulate_failed,
    simulate_flat,
    simulate_levels,
    simulate_shape,
    simulate_shared,
    simulate_six,
    simulate_smooth,
    simulate_stairs,
    simulate_step,
)

from lltc.transitions import change_probabilities, find_plateaus, find_transitions
from lltc.transitions.curve import noise_factor

RESULTS = Path(__file__).parent / "results"
TEMPLATE = Path(__file__).parent / "transitions.template.md"
SIZES = (20, 50, 100, 200)
SHORT = (6, 10)
BINS = (0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0)


def mark(curve, **settings):
    """The markers as (low, high, sign)."""
    transitions = find_transitions(np.arange(len(curve.y)), curve.y, curve.se, **settings)
    return [(int(t.step_low), int(t.step_high), 1 if t.kind == "rise" else -1) for t in transitions]


def mark_pelt(curve, inflate):
    """PELT on [y/se, 1/se, t/se] with the BIC penalty for a line and a change point, 3 log n."""
    n = len(curve.y)
    se = curve.se * (noise_factor(curve.y, curve.se) if inflate else 1.0)
    signal = np.column_stack([curve.y / se, 1 / se, np.arange(n) / se])
    ends = ruptures.Pelt(model="linear", min_size=2, jump=1).fit(signal).predict(pen=3 * np.log(n))
    return [(end - 1, end, int(np.sign(curve.y[end] - curve.y[end - 1]))) for end in ends[:-1]]


def score(curve, markers):
    """(any marker, step found within one interval, number of markers, intervals in the bracket)."""
    near = curve.halfway - 1.5, curve.halfway + 1.5
    hits = [(a, b) for a, b, sign in markers if sign > 0 and a >= near[0] and b <= near[1]]
    width = hits[0][1] - hits[0][0] if hits else np.nan
    return bool(markers), bool(hits), len(markers), width


def trial(seed, simulate: Callable, marker: Callable):
    curve = simulate(np.random.default_rng(seed))
    return score(curve, marker(curve))


def kinds_trial(seed, simulate: Callable, **settings):
    markers = mark(simulate(np.random.default_rng(seed)), **settings)
    return ", ".join("rise" if sign > 0 else "fall" for *_, sign in markers) or "none"


def range_trial(seed, simulate: Callable):
    """(found, bracket holds the place halfway, `halfway` holds it, widths of both) of the largest rise."""
    curve = simulate(np.random.default_rng(seed))
    steps = np.arange(len(curve.y)) if curve.steps is None else curve.steps
    rises = [t for t in find_transitions(steps, curve.y, curve.se) if t.kind == "rise"]
    if not rises:
        return (0.0, *[np.nan] * 4)
    largest = max(rises, key=lambda t: t.delta_llc)
    bracket, half = (largest.step_low, largest.step_high), largest.halfway
    held = [low <= curve.halfway <= high for low, high in (bracket, half)]
    return (1.0, *map(float, held), bracket[1] - bracket[0], half[1] - half[0])


def level_trial(seed, n, spread):
    """The probability of a change in each interval, and whether there is one."""
    curve, changes = simulate_levels(np.random.default_rng(seed), n, spread)
    return np.column_stack([change_probabilities(np.arange(n), curve.y, curve.se), changes])


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
    for n in (*SHORT, *SIZES):
        flats = [partial(simulate_flat, n=n, claimed=c) for c in (1.0, 1 / 3)] + [
            partial(simulate_shared, n=n)
        ]
        steps = [partial(simulate_step, n=n, **k) for k in ({}, {"claimed": 1 / 3}, {"end": True})]
        false = [rates(pool, count, simulate, mark)[0] for simulate in flats]
        scores = [rates(pool, count, simulate, mark) for simulate in steps]
        rows.append([n, *map(percent, false), *(percent(f[1]) for f in scores), f"{scores[0][3]:.2f}"])
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
    for n in SIZES:
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
        scores = [percent(rates(pool, count, simulate, marker)[1]) for simulate in steps]
        ((name, value),) = setting.items()
        rows.append([f"{name} = {value}", *false, *scores])
    head = ["setting (others default)", "flat, errors right", "flat, errors 3× too small"]
    return table([*head, "flat, correlated 0.5", "step of 3 se", "4 se", "6 se"], rows)


def shapes(pool, count):
    names = ["ramp", "ramp over the whole curve", "hump, flat top", "hump, pointed", "saturating growth"]
    names += ["sigmoid over a third", "overshoot", "one outlier of 20 se"]
    cases = {f"{s}, {n} checkpoints": partial(simulate_shape, n=n, shape=s) for s in names for n in (20, 100)}
    cases |= {
        f"{'step of 10 se' if height else 'flat'}, one in twenty failed, {n} checkpoints": partial(
            simulate_failed, n=n, height=height
        )
        for height in (0.0, 10.0)
        for n in (20, 50, 100)
    }
    cases |= {
        f"{', '.join(map(str, SIX))}, range {h} se": partial(simulate_six, height=h) for h in (20, 50, 100)
    }
    rows = []
    for name, simulate in cases.items():
        rows.append([name, "0", describe_kinds(repeat(pool, count, kinds_trial, simulate=simulate))])
    for drift, floor in ((0.0, 0.0), (0.0, 0.01), (0.01, 0.0), (0.01, 0.01), (0.02, 0.0), (0.02, 0.01)):
        simulate = partial(simulate_stairs, drift=drift)
        kinds = describe_kinds(repeat(pool, count, kinds_trial, simulate=simulate, floor=floor))
        rows.append([f"staircase, 46 checkpoints, plateaus drift by {drift:.0%}", floor or "0", kinds])
    return table(["curve", "floor", "markers (three most frequent answers)"], rows)


def ranges(pool, count, n=50):
    rows = []
    for height, widest in ((4, 0), (6, 0), (12, 0), (12, 6), (20, 12), (40, 12)):
        simulate = partial(simulate_climb, n=n, height=height, widest=widest)
        covered, *rest = np.nanmean(repeat(pool, count, range_trial, simulate=simulate), axis=0)
        what = f"{height} se, over {f'0 to {widest} intervals' if widest else 'one interval'}"
        cells = [percent(covered), percent(rest[0]), f"{rest[2]:.1f}", percent(rest[1]), f"{rest[3]:.1f}"]
        rows.append([what, *cells])
    head = ["climb", "found", "place halfway inside the marker", "its width", "inside `halfway`", "its width"]
    return table(head, rows)


def smooth_ranges(pool, count, n=100):
    cases = [("sigmoid", 10, 0.1), ("sigmoid", 30, 0.03), ("sigmoid", 30, 0.1), ("sigmoid", 30, 0.2)]
    cases += [("normal hump", 8, 0.05), ("normal hump", 20, 0.04), ("normal hump", 20, 0.08)]
    cases += [("normal hump", 100, 0.08), ("pointed hump", 20, 0.2), ("pointed hump", 40, 0.1)]
    cases += [("saturating", 30, 0.08), ("step and overshoot", 20, 0.05)]
    harder = {"errors correlated 0.5": {"correlation": 0.5}, "one in twenty failed": {"failed": 0.05}}
    harder["unequal steps"] = {"uneven": True}
    rows = []
    for shape, height, width in cases:
        for what, more in {"": {}, **(harder if (height, width) in {(30, 0.1), (20, 0.08)} else {})}.items():
            simulate = partial(simulate_smooth, n=n, shape=shape, height=height, width=width, **more)
            covered, bracket, half, _, length = np.nanmean(
                repeat(pool, count, range_trial, simulate=simulate), axis=0
            )
            name = f"{shape}, {height} se, width {width:g} n" + (f", {what}" if what else "")
            rows.append([name, percent(covered), percent(bracket), percent(half), f"{length:.1f}"])
    head = ["curve", "found", "place halfway inside the marker", "inside `halfway`", "its width"]
    return table(head, rows)


def calibration(pool, count, n=50):
    rows = []
    for spread in (2, 5):
        told, true = np.concatenate(repeat(pool, count, level_trial, n=n, spread=spread)).T
        for low, high in pairwise(BINS):
            inside = (told >= low) & ((told < high) | (high == 1))
            share = percent(true[inside].mean()) if inside.any() else "—"
            mean = percent(told[inside].mean()) if inside.any() else "—"
            rows.append([f"{spread} se", f"{low} to {high}", int(inside.sum()), mean, share])
    return table(["levels' spread", "told", "intervals", "mean told", "share with a change"], rows)


def describe_kinds(answers):
    common = Counter(answers).most_common(3)
    return "; ".join(f"{kinds}: {percent(times / len(answers))}" for kinds, times in common)


def seconds_taken():
    cells = []
    for n in (50, 100, 200, 500, 1000, 10_000):
        curve, best = simulate_flat(np.random.default_rng(0), n), np.inf
        for _ in range(3):
            started = time.process_time()
            mark(curve)
            best = min(best, time.process_time() - started)
        cells.append([n, f"{best:.3f}"])
    return table(["checkpoints", "seconds of processor time"], cells)


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
            (marker.step_low, curve.y[int(marker.step_high)]),
            xytext=(-6, 0),
            ha="right",
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
    return ", ".join([*(f"{name} {version}" for name, version in parts.items()), describe_run()])


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
        tables |= {"ranges": ranges(pool, 2 * fewer), "calibration": calibration(pool, 2 * fewer)}
        tables["smooth"] = smooth_ranges(pool, 2 * fewer)
    tables["timing"] = seconds_taken()
    tables["controls"] = table(HEAD, control_rows(quick))
    draw_example(folder / "transitions.png")
    text = TEMPLATE.read_text().format(
        count=count,
        fewer=fewer,
        seconds=time.perf_counter() - started,
        cpu=sum(os.times()[:4]),
        versions=describe_versions(),
        error=100 * np.sqrt(0.05 * 0.95 / count),
        **tables,
    )
    (folder / "transitions.md").write_text(text)
    print(text, f"written to {folder}", sep="\n")


if __name__ == "__main__":
    main()
