"""What every peer is given: lltc's problems, its number of per-example gradients, its row format."""

import csv
import math
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lltc.toys import ToyProblem, table

NUM_CHAINS = 8
# The grid that devinterp's EpsilonBetaAnalyzer.configure_sweep runs by default: 8 values from 1e-6 to 1e-2.
STEP_SIZES = tuple(float(x) for x in np.logspace(-6, -2, 8))


class Job(NamedTuple):
    """One row of lltc's benchmark to be matched."""

    problem: ToyProblem
    key: int
    target: float
    target_se: float
    gradients: int

    @property
    def batch_size(self) -> int:
        """The batch lltc takes by default."""
        return self.problem.num_examples if self.problem.num_examples <= 1024 else 512

    @property
    def full_batch(self) -> bool:
        """Whether every step sees all data."""
        return self.batch_size == self.problem.num_examples


def read_jobs(arguments: Any) -> list[Job]:
    """Return the jobs of the given rows of lltc: key by key, the cheapest problem first."""
    problems = {problem.name: problem for problem in table()}
    with arguments.rows.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "lltc"]
    names = arguments.problems.read_text().splitlines() if arguments.problems else list(problems)
    return sorted(
        (
            Job(
                problems[row["problem"]],
                int(row["key"]),
                float(row["target"]),
                float(row["target_se"]),
                int(row["gradients"]),
            )
            for row in rows
            if row["problem"] in problems
            and row["problem"] in names
            and int(row["key"]) < arguments.keys
            and math.isfinite(float(row["target"]))
        ),
        key=lambda job: (job.key, job.gradients / job.batch_size, job.problem.name),
    )


def flat_loss(problem: ToyProblem) -> tuple[np.ndarray, Callable[[jax.Array, Any], jax.Array]]:
    """Return w* as a vector and the mean loss as a function of a vector and a batch."""
    flat, unravel = ravel_pytree(problem.params)

    def loss(w: jax.Array, batch: Any) -> jax.Array:
        return jnp.mean(problem.model(unravel(w), batch))

    return np.asarray(flat, dtype=np.float32), loss


def take(data: Any, rows: jax.Array) -> Any:
    """Return the given examples."""
    return jax.tree.map(lambda leaf: leaf[rows], data)


def row(job: Job, method: str, chains: np.ndarray, *, gradients: int, seconds: float, note: str = "") -> dict:
    """Return a row in lltc's format from one estimate a chain; its error bar is the chains' spread."""
    estimate = float(np.mean(chains))
    se = float(np.std(chains, ddof=1) / math.sqrt(len(chains)))
    return {
        "problem": job.problem.name,
        "method": method,
        "key": job.key,
        "num_params": job.problem.num_params,
        "num_examples": job.problem.num_examples,
        "target": job.target,
        "target_se": job.target_se,
        "estimate": estimate,
        "error": estimate / job.target - 1,
        "se": se,
        "z": (estimate - job.target) / math.hypot(se, job.target_se) if se > 0 else math.nan,
        "status": ("ok" if math.isfinite(estimate) else "diverged") + note,
        "gradients": gradients,
        "seconds": seconds,
    }


def misfit(job: Job, chains: np.ndarray) -> float:
    """Return the distance of an estimate from the target, infinite where a chain diverged."""
    return abs(float(np.mean(chains)) - job.target) if np.isfinite(chains).all() else np.inf


def main(description: str, measure: Callable[[Job], Iterator[dict]]) -> None:
    """Measure every job that the output does not hold yet, writing rows as they come."""
    parser = ArgumentParser(description=description)
    parser.add_argument("rows", type=Path, help="accuracy.csv with lltc's rows")
    parser.add_argument("out", type=Path, help="rows of the peers; those already there are kept")
    parser.add_argument("--keys", type=int, default=2)
    parser.add_argument("--problems", type=Path, help="a file of problems' names, one a line; default all")
    arguments = parser.parse_args()
    done = set()
    if arguments.out.exists():
        with arguments.out.open(newline="") as file:
            done = {(row["problem"], row["key"]) for row in csv.DictReader(file)}
    with arguments.rows.open(newline="") as file:
        fields = csv.DictReader(file).fieldnames or []
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields)
        if not done:
            writer.writeheader()
        for job in read_jobs(arguments):
            if (job.problem.name, str(job.key)) in done:
                continue
            rows = list(measure(job))
            writer.writerows(rows)
            file.flush()
            for each in rows:
                print(
                    f"{each['problem']:<52} {each['method']:<40} error {100 * each['error']:+8.1f} %  "
                    f"{each['status']:<24} {each['seconds']:6.1f} s",
                    flush=True,
                )
