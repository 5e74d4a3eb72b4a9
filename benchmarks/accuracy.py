"""How accurate are the estimates? Problems with known values, a row a problem, method and key.

Run with `make bench-accuracy`; writes benchmarks/results/accuracy.{csv,md,png}.
"""

import argparse
import csv
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from itertools import batched
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from provenance import describe_run

from lltc import estimate_llc
from lltc.toys import ToyProblem, narrow_valleys, table

RESULTS = Path(__file__).parent / "results"
QUICK = (
    "quadratic d",
    "even powers",
    "normal crossing",
    "parabola",
    "circle",
    "linear regression d=10,",
)


class Row(NamedTuple):
    """One estimate beside its target; `gradients` counts per-example ones, `z` is the miss in errors."""

    problem: str
    method: str
    key: int
    num_params: int
    num_examples: int
    target: float
    target_se: float
    estimate: float
    error: float
    se: float
    z: float
    status: str
    gradients: int
    seconds: float


def measure(problem: ToyProblem, key: int, *, num_draws: int | None = None) -> Row:
    """Estimate one problem with no argument passed but those that define its posterior (and `num_draws`)."""
    began = time.perf_counter()
    estimate = estimate_llc(
        problem.model,
        problem.params,
        problem.data,
        nbeta=problem.nbeta,
        localization=problem.localization,
        linear=problem.linear,
        key=key,
        num_draws=num_draws,
        progress=False,
    )
    seconds = time.perf_counter() - began
    target, target_se = problem.llc_finite or float("nan"), problem.llc_finite_se
    at_center = estimate.batch_size < problem.num_examples
    evaluations = estimate.evaluations * (1 + at_center / estimate.num_chains)
    return Row(
        problem=problem.name,
        method="lltc",
        key=key,
        num_params=problem.num_params,
        num_examples=problem.num_examples,
        target=target,
        target_se=target_se,
        estimate=estimate.llc,
        error=estimate.llc / target - 1,
        se=estimate.llc_se,
        z=(estimate.llc - target) / (estimate.llc_se**2 + target_se**2) ** 0.5,
        status=estimate.status.name,
        gradients=round(evaluations * estimate.batch_size),
        seconds=seconds,
    )


def run(names: list[str], keys: int, *, processes: int, num_draws: int | None = None) -> Iterator[Row]:
    """Yield a row a problem and key, in order, printing each."""
    with ThreadPoolExecutor(processes) as pool:
        for rows in pool.map(lambda some: measure_afresh(some, keys, num_draws), batched(names, 5)):
            for row in rows:
                print(
                    f"{row.problem[:60]:<60} target {row.target:<9.4f} error {100 * row.error:+6.1f} % "
                    f"se {100 * row.se / abs(row.target):5.1f} %  z {row.z:+5.1f}  {row.status:<16} "
                    f"{row.seconds:5.1f} s",
                    flush=True,
                )
                yield row


def measure_afresh(names: Sequence[str], keys: int, num_draws: int | None) -> list[Row]:
    """Estimate problems in a process of their own: XLA crashes where one has compiled too many programs."""
    jobs = [(name, key, num_draws) for name in names for key in range(keys)]
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return list(process.map(measure_named, *zip(*jobs, strict=True)))


def measure_named(name: str, key: int, num_draws: int | None) -> Row:
    """Estimate the table's problem of that name."""
    return measure(_problems()[name], key, num_draws=num_draws)


@cache
def _problems() -> dict[str, ToyProblem]:
    return {problem.name: problem for problem in (*table(), *narrow_valleys())}


def summarize(rows: list[Row]) -> dict[str, str]:
    """Return the scores the estimator is judged by."""
    errors = np.abs([row.error for row in rows])
    z = np.array([row.z for row in rows])
    far = ~(np.abs(z) <= 3)
    flagged = sum(row.status != "ok" for row, off in zip(rows, far, strict=True) if off)
    return {
        "problems": str(len({row.problem for row in rows})),
        "estimates": str(len(rows)),
        "median relative error": f"{100 * np.nanmedian(errors):.2f} %",
        "90th percentile": f"{100 * np.nanquantile(errors, 0.9):.2f} %",
        "largest": f"{100 * np.nanmax(errors):.1f} %",
        "llc ± 1.96 llc_se covers the target": f"{100 * np.mean(np.abs(z) < 1.96):.1f} %",
        "estimates off by more than three errors": f"{far.sum()}, of which {flagged} say so in their status",
        "estimates whose status is not ok": str(sum(row.status != "ok" for row in rows)),
        "seconds an estimate, median": f"{np.median([row.seconds for row in rows]):.1f}",
    }


def write_table(rows: list[Row], path: Path, command: str) -> None:
    """Write the scores, the worst misses and a line a problem as Markdown."""

    lines = [
        "# Accuracy on known values",
        "",
        f"`{command}` ({describe_run()})",
        "",
    ]
    lines += [
        "| score | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in summarize(rows).items()),
    ]
    lines += [
        "",
        "## The worst misses",
        "",
        "| problem | key | target | estimate | off by | status |",
        "|---|---|---|---|---|---|",
    ]
    worst = sorted(rows, key=lambda row: -np.nan_to_num(abs(row.z), nan=np.inf))[:10]
    lines += [
        f"| {row.problem} | {row.key} | {row.target:.4g} | {row.estimate:.4g} ± {row.se:.2g} | "
        f"{100 * row.error:+.1f} %, {row.z:+.1f} errors | {row.status} |"
        for row in worst
    ]
    lines += ["", "## Every problem", ""]
    lines += [
        "| problem | d | n | target | mean error | typical se | largest z | per-example gradients |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row.problem for row in rows):
        same = [row for row in rows if row.problem == name]
        lines.append(
            f"| {name} | {same[0].num_params} | {same[0].num_examples} | {same[0].target:.4g} | "
            f"{100 * np.mean([row.error for row in same]):+.1f} % | "
            f"{100 * np.median([row.se / abs(row.target) for row in same]):.1f} % | "
            f"{max((row.z for row in same), key=abs):+.1f} | "
            f"{np.median([row.gradients for row in same]):.2g} |"
        )
    path.write_text("\n".join(lines) + "\n")


def draw(rows: list[Row], path: Path) -> None:
    """Draw every error against what its error bar promised."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.axline((0.1, 0.1), slope=1, color="0.6", lw=1, label="one standard error")
    for ok, colour, label in ((True, "#1f5fae", "status ok"), (False, "#b3372a", "status not ok")):
        shown = [row for row in rows if (row.status == "ok") == ok and np.isfinite(row.error)]
        sizes = (
            [100 * row.se / abs(row.target) for row in shown],
            [max(100 * abs(row.error), 1e-2) for row in shown],
        )
        left.loglog(*sizes, "o", ms=3, alpha=0.6, color=colour, label=label)
    left.set(xlabel="llc_se / target (%)", ylabel="|error| / target (%)", title="Errors and error bars")
    left.legend(frameon=False, loc="upper left")
    z = np.array([row.z for row in rows if np.isfinite(row.z)])
    grid = np.linspace(-5, 5, 201)
    right.hist(
        np.clip(z, -5, 5), bins=np.linspace(-5, 5, 41), density=True, color="#9dbbe0", label="estimates"
    )
    right.plot(
        grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), color="0.3", lw=1.2, label="standard normal"
    )
    right.set(xlabel="(estimate - target) / error", title="Calibration")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def write_rows(rows: list[Row], path: Path) -> None:
    """Write every row as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(rows)


def main() -> None:
    """Run the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=5)
    parser.add_argument("--only", default="", help="substring of the problems' names")
    parser.add_argument("--quick", action="store_true", help="closed forms only, one key")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    names = [name for name in _problems() if arguments.only in name]
    if arguments.quick:
        names = [name for name in names if name.startswith(QUICK)]
    keys = 1 if arguments.quick else arguments.keys
    rows = list(run(names, keys, processes=arguments.processes))
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_rows(rows, arguments.out / "accuracy.csv")
    command = "make bench-accuracy" if arguments.out == RESULTS else "benchmarks/accuracy.py"
    write_table(rows, arguments.out / "accuracy.md", command)
    draw(rows, arguments.out / "accuracy.png")
    for name, value in summarize(rows).items():
        print(f"{name:<40} {value}")


if __name__ == "__main__":
    main()
