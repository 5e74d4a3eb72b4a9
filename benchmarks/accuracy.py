"""How accurate are the estimates? Problems with known values, a row a problem, method and key.

Run with `make bench-accuracy`; writes benchmarks/results/accuracy.{csv,md,png}.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lltc import estimate_llc
from lltc.toys import ToyProblem, table

RESULTS = Path(__file__).parent / "results"


class Row(NamedTuple):
    """One estimate beside its target; `gradients` counts per-example gradients, `z` is (estimate - target)/error."""

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


def measure(problem: ToyProblem, key: int) -> Row:
    """Estimate one problem with no argument passed but those that define its posterior."""
    began = time.perf_counter()
    found = estimate_llc(
        problem.model,
        problem.params,
        problem.data,
        nbeta=problem.nbeta,
        localization=problem.localization,
        key=key,
        progress=False,
    )
    seconds = time.perf_counter() - began
    target, target_se = problem.llc_finite or float("nan"), problem.llc_finite_se
    steps = (found.num_draws + found.num_warmup) * (
        found.num_chains + (found.batch_size < problem.num_examples)
    )
    return Row(
        problem=problem.name,
        method="lltc",
        key=key,
        num_params=problem.num_params,
        num_examples=problem.num_examples,
        target=target,
        target_se=target_se,
        estimate=found.llc,
        error=found.llc / target - 1,
        se=found.llc_se,
        z=(found.llc - target) / (found.llc_se**2 + target_se**2) ** 0.5,
        status=found.status.name,
        gradients=steps * found.batch_size,
        seconds=seconds,
    )


def run(problems: list[ToyProblem], keys: int) -> Iterator[Row]:
    """Yield a row a problem and key, printing each."""
    for problem in problems:
        for key in range(keys):
            row = measure(problem, key)
            print(
                f"{row.problem:<34} d {row.num_params:<6} n {row.num_examples:<7} target {row.target:<9.4f} "
                f"error {100 * row.error:+6.1f} %  se {100 * row.se / row.target:5.1f} %  z {row.z:+5.1f}  "
                f"{row.status:<16} {row.seconds:5.1f} s",
                flush=True,
            )
            yield row


def main() -> None:
    """Run the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=5)
    parser.add_argument("--only", default="", help="substring of the problems' names")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    problems = [problem for problem in table() if arguments.only in problem.name]
    rows = list(run(problems, arguments.keys))
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "accuracy.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
