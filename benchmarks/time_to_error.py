"""How long to a standard error of 2 %, and is it true? lltc untuned beside devinterp, both on all cores.

`make bench-time` writes benchmarks/results/time_to_error.{csv,md}. lltc stops by itself; its second run of a
problem and key, which compiles nothing, gives the time. peers/time_worker.py says how devinterp is run.
"""

import argparse
import csv
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import accuracy
from peers import HERE, PINS, read, set_up
from provenance import describe_run

from lltc.toys import table

TARGET = 0.02
PROBLEMS = (
    "linear regression d=10, n=500, condition 1, minimum",
    "linear net 5-3-5 rank 1, condition 1, population",
    "linear net 10-4-10 rank 2, condition 1000, population",
    "superposition 6-gon",
    "linear regression d=100, n=10000, condition 1, truth",
    "tanh network H=2, n=500, noise 0",
)


class Timed(NamedTuple):
    """One run: a row of the accuracy benchmark, the seconds it compiled, and what became of it."""

    problem: str
    method: str
    key: int
    target: float
    estimate: float
    se: float
    error: float
    gradients: int
    seconds: float
    compiling: float
    status: str
    verdict: str


def run_lltc(names: list[str], keys: int) -> tuple[list[accuracy.Row], list[Timed]]:
    """Estimate every problem, each key twice: the first run compiles, the second gives the row."""
    problems = {problem.name: problem for problem in table()}
    rows, timed = [], []
    for name in names:
        for key in range(keys):
            first, again = accuracy.measure(problems[name], key), accuracy.measure(problems[name], key)
            rows.append(again)
            values = {field: str(value) for field, value in again._asdict().items()}
            timed.append(judge(values, compiling=max(0.0, first.seconds - again.seconds)))
            print(timed[-1], flush=True)
    return rows, timed


def judge(row: dict[str, str], *, compiling: float = 0.0) -> Timed:
    """Return the run with its verdict: an error bar met by a biased estimate is no success."""
    number = {
        name: float(row[name]) for name in ("target", "target_se", "estimate", "se", "error", "seconds")
    }
    target, estimate, se = number["target"], number["estimate"], number["se"]
    spread = (se**2 + number.pop("target_se") ** 2) ** 0.5
    miss = abs(estimate - target) / spread if spread > 0 else float("nan")
    if "diverged" in row["status"]:
        verdict = "diverged"
    elif not se <= TARGET * abs(estimate):
        verdict = "not reached"
    elif not row["status"].startswith("ok"):
        verdict = "warned"
    else:
        verdict = "ok" if miss <= 3 or abs(number["error"]) <= TARGET else f"biased: {miss:.0f} errors off"
    return Timed(
        problem=row["problem"],
        method=row["method"],
        key=int(row["key"]),
        gradients=int(row["gradients"]),
        compiling=compiling,
        status=row["status"],
        verdict=verdict,
        **number,
    )


def run_devinterp(rows: list[accuracy.Row], arguments: argparse.Namespace) -> list[Timed]:
    """Run the worker on lltc's rows."""
    arguments.home.mkdir(parents=True, exist_ok=True)
    own, out = arguments.home / "time-lltc.csv", arguments.home / "time-devinterp.csv"
    accuracy.write_rows(rows, own)
    out.unlink(missing_ok=True)
    command = [set_up("devinterp", arguments.home), HERE / "peers/time_worker.py", own, out]
    command += ["--keys", str(arguments.keys)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "BUDGET": str(arguments.budget)}
    subprocess.run(command, check=True, env=environment)
    return [judge(row) for row in read(out)]


def write(runs: list[Timed], arguments: argparse.Namespace) -> None:
    """Write the runs as CSV and as Markdown."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "time_to_error.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Timed._fields)
        writer.writerows(runs)
    peer = ", ".join(PINS["devinterp"][:2])
    lines = [
        "# Time to a standard error of 2 %",
        "",
        f"`python benchmarks/time_to_error.py --keys {arguments.keys} --budget {arguments.budget:g}"
        + (f' --only "{arguments.only}"`' if arguments.only else "`"),
        f"({describe_run()}; {peer}).",
        "lltc: `estimate_llc` with no argument but those that define the posterior; it stops by itself.",
        "Warm-up counts; compiling, once a problem, stands apart. devinterp: 8 chains of SGLD, as many",
        "burn-in steps as draws, 250 draws doubled until the chains' spread / √8 is 2 % of the estimate or",
        f"less, or the next run would take more than {arguments.budget:g} times lltc's gradients. The last",
        "run alone counts, and not what choosing the step took. JAX computes loss and gradient for both.",
        "",
        "*ok*: the error bar is 2 % or less, and the estimate is off by no more than three of them, or 2 %.",
        "*biased*: the bar is met, but the truth is elsewhere: no success. *not reached*: the bar is wider",
        "at the end. *warned*: the status says that something is wrong.",
        "",
        "| problem | key | method | gradients | seconds | compiling | error bar | true error | verdict |",
        "|" + "---|" * 9,
        *(
            f"| {run.problem} | {run.key} | {run.method} | {run.gradients:.2g} | {run.seconds:.2g} | "
            f"{run.compiling:.2g} | {100 * run.se / abs(run.estimate):.1f} % | {100 * run.error:+.1f} % | "
            f"{run.verdict} |"
            for run in runs
        ),
    ]
    (arguments.out / "time_to_error.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Run both and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1)
    parser.add_argument("--only", default="", help="substring of the problems' names")
    parser.add_argument("--budget", type=float, default=10, help="gradients of devinterp in lltc's")
    parser.add_argument("--home", type=Path, default=HERE / ".peers", help="where the environments go")
    parser.add_argument("--out", type=Path, default=accuracy.RESULTS)
    arguments = parser.parse_args()
    rows, mine = run_lltc([name for name in PROBLEMS if arguments.only in name], arguments.keys)
    theirs = run_devinterp(rows, arguments)
    runs = sorted([*mine, *theirs], key=lambda run: (PROBLEMS.index(run.problem), run.key))
    write(runs, arguments)


if __name__ == "__main__":
    main()
