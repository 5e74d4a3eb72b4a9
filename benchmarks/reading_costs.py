"""What does reading cost? Observables beside training, and a probe beside the two estimates it holds.

Run with `make bench-reading`; writes benchmarks/results/reading_costs.md. Probes and estimates are timed in
turn in one process, each a second time, when everything is compiled; training is timed with its compilation.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from provenance import describe_run

import lltc
from lltc.demo import outputs
from lltc.toys import network_loss, train_bottleneck

HERE = Path(__file__).parent
ROUNDS = 3


class Case(NamedTuple):
    """A trained network: its checkpoints, a loss to probe, data, and how long training took."""

    name: str
    checkpoints: tuple
    model: Any
    data: Any
    training: float
    options: dict[str, Any]


def seconds(task: Callable[[], object]) -> float:
    """Return how long `task` takes."""
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def digits_case(folder: Path) -> Case:
    """Return the digits network of the notebooks after 10,000 steps."""
    sys.path.insert(0, str(HERE.parent / "notebooks"))
    import digits

    training = seconds(lambda: digits.train(folder))
    checkpoints = lltc.find_checkpoints(folder, params_key="params")
    return Case("digits", checkpoints, digits.behavioral, digits.data(), training, {"num_draws": 2000})


def bottleneck_case(folder: Path) -> Case:
    """Return the demo's network, whose training takes a few seconds."""
    run: Any = None

    def train() -> None:
        nonlocal run
        run = train_bottleneck(folder)

    training = seconds(train)
    model = lltc.behavioral(outputs, "squared", loss=network_loss)
    options = {"nbeta": run.nbeta, "localization": run.localization, "num_draws": 4000}
    return Case("bottleneck", lltc.find_checkpoints(folder), model, run.data, training, options)


def observing(case: Case) -> tuple[float, float]:
    """Return the seconds that observing one checkpoint takes, and the share of training that all take.

    Loss, gradient norm, weight norm and the largest weight are evaluated; the reading of files is included.
    """
    norm = {"largest weight": lambda params: max(abs(leaf).max() for leaf in jax.tree.leaves(params))}
    observe = lambda: lltc.observe(case.checkpoints, case.model, case.data, observables=norm)
    observe()
    taken = float(np.median([seconds(observe) for _ in range(ROUNDS)]))
    return taken / len(case.checkpoints), taken / case.training


def probing(case: Case) -> tuple[float, float]:
    """Return the seconds of a probe, and how many times those of its two estimates they are."""
    ends = [case.checkpoints[len(case.checkpoints) // 2].load(), case.checkpoints[-1].load()]
    common = {"nbeta": 240.0, "localization": 10.0, "progress": False} | case.options

    def estimates() -> None:
        for params in ends:
            lltc.estimate_llc(case.model, params, case.data, **common)

    tasks = (lambda: lltc.probe(case.model, ends[0], ends[1], case.data, **common), estimates)
    for task in tasks:
        task()
    times = np.array([[seconds(task) for task in tasks] for _ in range(ROUNDS)])
    return float(np.median(times[:, 0])), float(np.median(times[:, 0] / times[:, 1]))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    out = parser.parse_args().out
    lines = [
        "# What reading costs",
        "",
        f"`make bench-reading` ({describe_run()}). All",
        f"are medians of {ROUNDS} rounds, compiled beforehand, but training, which compiles and saves.",
        "",
        "| network | parameters | checkpoints | training | observing one | all, share of training | probe "
        "| over its two estimates |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for made in (digits_case, bottleneck_case):
        with tempfile.TemporaryDirectory() as folder:
            case = made(Path(folder) / "checkpoints")
            one, share = observing(case)
            probe, ratio = probing(case)
            size = sum(np.size(leaf) for leaf in jax.tree.leaves(case.checkpoints[-1].load()))
        row = [case.name, f"{size:,}", str(len(case.checkpoints)), f"{case.training:.1f} s"]
        row += [f"{1e3 * one:.1f} ms", f"{100 * share:.1f} %", f"{probe:.1f} s", f"{ratio:.2f}"]
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / "reading_costs.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
