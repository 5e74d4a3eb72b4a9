"""What does a step cost? Seconds against parameters, chains, batch and n, and on memory maps of the data.

Run with `make bench-curves`; writes benchmarks/results/cost_curves.{csv,md,png}. The bare gradient of the
same chains and batch is timed in turn with lltc in one process, so that other work falls on both.
"""

import argparse
import csv
import tempfile
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from networks import Network, mlp
from provenance import describe_run
from speed import bare_gradient, prepared, seconds

from lltc.chains.loop import sample
from lltc.chains.steps import OBSERVE_EVERY

RESULTS = Path(__file__).parent / "results"
MIB = 2**20


class Point(NamedTuple):
    """One network on one axis, and the seconds of a step of lltc and of the bare gradient."""

    axis: str
    value: int
    lltc: float
    gradient: float


class Streamed(NamedTuple):
    """Steps on memory maps beside steps in memory: seconds, ratio, and the growth of resident MiB."""

    network: str
    batch_size: int
    mapped: float
    memory: float
    ratio: float
    lowest: float
    highest: float
    data: float
    loaded: float
    pages: float


def width(num_params: float) -> int:
    """Return the w at which the network 64-w-w-10 has about `num_params` parameters, w² + 76w + 10."""
    return round(np.sqrt(38**2 + num_params - 10) - 38)


def networks(axis: str, quick: bool) -> Iterator[tuple[int, Network]]:
    """Yield the values of one axis and their networks, all else fixed."""
    if axis == "parameters":
        for size in np.logspace(3, 4 if quick else 7, 3 if quick else 9):
            hidden = width(size)
            network = mlp(64, hidden, hidden, 10, batch_size=64)
            yield network.num_params, network
    elif axis == "chains":
        for power in range(3 if quick else 6):
            yield 2**power, mlp(64, 128, 128, 10, batch_size=256, num_chains=2**power)
    elif axis == "batch size":
        for power in range(4, 7 if quick else 13):
            yield 2**power, mlp(64, 128, 128, 10, batch_size=2**power)
    else:
        for count in np.logspace(3, 4 if quick else 6, 3 if quick else 7).astype(int):
            yield int(count), mlp(64, 128, 128, 10, batch_size=256, num_examples=int(count))


AXES = {
    "parameters": "MLP 64-w-w-10, 4 chains, batch 64, n = 20,000",
    "chains": "MLP 64-128-128-10, batch 256, n = 20,000",
    "batch size": "MLP 64-128-128-10, 4 chains, n = 20,000",
    "examples n": "MLP 64-128-128-10, 4 chains, batch 256",
}


def drawing(network: Network) -> Callable[[int], None]:
    """Return what draws `count` steps, each on a batch not seen before, as `estimate_llc` does."""
    run, settings, state = prepared(network)
    at = [state, 1]

    def draw(count: int) -> None:
        at[:] = sample(run, at[0], settings, first=at[1], count=count).state, at[1] + count

    return draw


def in_turn(tasks: list[Callable[[int], None]], rounds: int, budget: float) -> np.ndarray:
    """Return seconds a step `(round, task)`, each task running for about `budget` seconds a round."""
    for task in tasks:
        task(2)
    count = max(2, int(budget / max(seconds(task, 4) / 4 for task in tasks)))
    # Batches from the host are read for so many steps at a time.
    count -= count % OBSERVE_EVERY if count > OBSERVE_EVERY else 0
    return np.array([[seconds(task, count) / count for task in tasks] for _ in range(rounds)])


def curve(axis: str, chosen: argparse.Namespace) -> list[Point]:
    """Return the points of one axis."""
    points = []
    for value, network in networks(axis, chosen.quick):
        times = in_turn([drawing(network), bare_gradient(network)], chosen.rounds, chosen.seconds)
        points.append(Point(axis, value, *np.median(times, 0).tolist()))
        print(points[-1], flush=True)
    return points


def exponent(points: list[Point], name: str) -> float:
    """Return the slope of log seconds in log value over the upper half of the range."""
    upper = points[(len(points) - 1) // 2 :]
    values, times = [point.value for point in upper], [getattr(point, name) for point in upper]
    return float(np.polyfit(np.log(values), np.log(times), 1)[0])


def resident() -> dict[str, float]:
    """Return the MiB of this process that are its own (`RssAnon`) and those of mapped files (`RssFile`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile")}


def streaming(network: Network, folder: Path, chosen: argparse.Namespace) -> Streamed:
    """Time steps on `.npy` memory maps of the data in `folder` and on the same data in memory."""
    files = {name: folder / f"{name}.npy" for name in network.data}
    maps = {name: np.load(file, mmap_mode="r") for name, file in files.items()}
    # What compiling takes is not to be mistaken for data: the same programs draw from a part beforehand.
    drawing(network._replace(data={name: leaf[:4096] for name, leaf in maps.items()}))(2)
    before = resident()
    mapped = drawing(network._replace(data=maps))
    in_turn([mapped], 1, chosen.seconds)
    grown = {name: value - before[name] for name, value in resident().items()}
    whole = drawing(network._replace(data={name: np.load(file) for name, file in files.items()}))
    times = in_turn([mapped, whole], 2 * chosen.rounds, chosen.seconds)
    ratio, lowest, highest = np.quantile(times[:, 0] / times[:, 1], [0.5, 0, 1]).tolist()
    on_maps, in_memory = np.median(times, 0).tolist()
    size = sum(file.stat().st_size for file in files.values()) / MIB
    timed = (on_maps, in_memory, ratio, lowest, highest)
    return Streamed(network.name, network.batch_size, *timed, size, grown["RssAnon"], grown["RssFile"])


def stream(chosen: argparse.Namespace) -> list[Streamed]:
    """Write a data set and time two networks on it: one whose step takes milliseconds, and a tiny one."""
    count, streamed = 10_000 if chosen.quick else 10**6, []
    with tempfile.TemporaryDirectory() as name:
        for field, leaf in mlp(64, 10, num_examples=count).data.items():
            np.save(Path(name) / f"{field}.npy", leaf)
        for sizes in ((64, 256, 256, 10), (64, 32, 10)):
            streamed.append(streaming(mlp(*sizes, num_examples=1), Path(name), chosen))
            print(streamed[-1], flush=True)
    return streamed


def draw(curves: dict[str, list[Point]], path: Path) -> None:
    """Draw the four axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    for ax, (axis, points) in zip(figure.subplots(2, 2).flat, curves.items(), strict=True):
        for name, style in (("lltc", "o-"), ("gradient", "s--")):
            values, times = [point.value for point in points], [getattr(point, name) for point in points]
            label = "lltc" if name == "lltc" else "bare gradient"
            ax.loglog(values, times, style, label=f"{label}, slope {exponent(points, name):.2f}")
        ax.set(xlabel=axis, ylabel="seconds a step", title=f"lltc ∝ ({axis})^{exponent(points, 'lltc'):.2f}")
        low, high = ax.get_ylim()
        if high < 10 * low:  # Noise on a flat curve would look like a trend.
            ax.set_ylim(low / 3, 3 * high)
        ax.legend()
    figure.savefig(path, dpi=120)


INTRODUCTION = """# What a step costs

`make bench-curves` ({machine}). Milliseconds of a step of all chains,
lltc's beside the bare jitted gradient's of as many chains and w\\* on one fixed batch, timed in turn.
Exponents are of log-log fits to the upper half of each range, where fixed cost hides them no more.

![Four log-log curves](cost_curves.png)
"""
MAPS = """
## memory maps

Steps on `.npy` memory maps and on the same examples in memory, each on a batch not seen before, in turn in
one process; the files were written just before, so that the kernel may have them cached. The ratio is the
median of the rounds (lowest–highest), to be at most 1.10. Resident memory is what drawing on the maps added
before the data were in memory; pages of the files are the kernel's, which may drop them at any time.

| network | batch | ms on maps | in memory | ratio | MiB of data | own memory, MiB | pages of the files, MiB |
|---|---|---|---|---|---|---|---|
"""


def table(axis: str, points: list[Point]) -> str:
    """Return one axis in Markdown."""
    lltc, gradient = (exponent(points, name) for name in ("lltc", "gradient"))
    lines = [
        f"\n## {axis}\n",
        f"{AXES[axis]}; exponent {lltc:.2f}, of the bare gradient {gradient:.2f}.\n",
        f"| {axis} | lltc | bare gradient | share |\n|---|---|---|---|",
    ]
    lines += [
        f"| {at.value:,} | {1e3 * at.lltc:.3g} | {1e3 * at.gradient:.3g} | {at.gradient / at.lltc:.2f} |"
        for at in points
    ]
    return "\n".join(lines) + "\n"


def row(at: Streamed) -> str:
    """Return one network's memory maps in Markdown."""
    return (
        f"| {at.network} | {at.batch_size} | {1e3 * at.mapped:.3g} | {1e3 * at.memory:.3g} | {at.ratio:.2f} "
        f"({at.lowest:.2f}–{at.highest:.2f}) | {at.data:.0f} | {at.loaded:.0f} | {at.pages:.0f} |\n"
    )


def write(curves: dict[str, list[Point]], streamed: list[Streamed], out: Path) -> None:
    """Write points as CSV, tables as Markdown and the picture."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "cost_curves.csv").open("w", newline="") as file:
        csv.writer(file).writerows([Point._fields, *chain.from_iterable(curves.values())])
    draw(curves, out / "cost_curves.png")
    tables = [table(axis, points) for axis, points in curves.items()]
    text = "".join([INTRODUCTION.format(machine=describe_run()), *tables, MAPS, *map(row, streamed)])
    (out / "cost_curves.md").write_text(text)
    print(text)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few and small points, to see that it works")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each task a round")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    # Maps come first: later, freed memory of other networks would hide what they take.
    streamed = stream(chosen)
    write({axis: curve(axis, chosen) for axis in AXES}, streamed, chosen.out)


if __name__ == "__main__":
    main()
