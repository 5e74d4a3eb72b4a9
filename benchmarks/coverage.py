"""Do error bars cover what keys do? Families of problems with exact values, twenty keys a problem.

Run with `make bench-coverage`; writes benchmarks/results/coverage.md, a row a family and a row a problem.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from accuracy import RESULTS, Row, run
from provenance import describe_run

FAMILIES = {
    "regular minima": (
        "quadratic d=1, curvature 1 to 1, γ=1",
        "quadratic d=20, curvature 0.01 to 10, γ=1",
        "quadratic d=100, curvature 0.001 to 1, γ=100",
        "linear regression d=10, n=500, condition 1, minimum",
        "logistic regression d=2, n=1000, condition 1, minimum",
        "tanh network H=1, n=500, noise 0",
        "parabola (y-x²)² at (1, 1)",
        "Rosenbrock valley (y-x²)²+(1-x)²/100",
    ),
    "powers and crossings": ("even powers 4, γ=1", "even powers 6, γ=1", "normal crossing 2,2, γ=1"),
    "valleys": ("parabola (y-x²)²", "cusp (y²-x³)²", "circle (x²+y²-1)²"),
    "narrow valleys": (
        "narrow (x²y-y³)²",
        "narrow (x²+y³)²",
        "narrow (x²-y⁴)²",
        "narrow (x³+y⁴)²",
        "narrow node (y²-x²-x³)²",
        "narrow lines (xy(x+y))²",
        "normal crossing 2,6, γ=1",
    ),
}
COLUMNS = (
    "family",
    "estimates",
    "covered",
    "bias",
    "median error",
    "typical se",
    "silent misses",
    "not ok",
    "evaluations",
    "s",
)


def wilson(covered: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share (1927, J. Am. Stat. Assoc. 22, 209)."""
    share, scale = covered / count, 1 + z**2 / count
    middle = (share + z**2 / (2 * count)) / scale
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / scale
    return middle - half, middle + half


def line(name: str, rows: list[Row]) -> str:
    """Return a row of the table: coverage by 1.96 errors, its interval, bias and scatter in per cent."""
    covered = sum(abs(row.z) < 1.96 for row in rows)
    low, high = wilson(covered, len(rows))
    errors = 100 * np.array([row.error for row in rows])
    cells = (
        name,
        f"{len(rows)}",
        f"{covered / len(rows):.0%} ({low:.0%}–{high:.0%})",
        f"{errors.mean():+.1f} %",
        f"{np.median(np.abs(errors)):.1f} %",
        f"{100 * np.median([row.se / row.target for row in rows]):.1f} %",
        f"{sum(abs(row.z) > 3 and row.status == 'ok' for row in rows)}",
        f"{sum(row.status != 'ok' for row in rows)}",
        f"{np.median([row.gradients / row.num_examples for row in rows]):.2g}",
        f"{np.median([row.seconds for row in rows]):.1f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=20)
    parser.add_argument("--family", default="", help="substring of the families' names")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    families = {name: names for name, names in FAMILIES.items() if arguments.family in name}
    head = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    by_family, by_problem = [], []
    for family, names in families.items():
        rows = list(run(list(names), arguments.keys, processes=arguments.processes))
        by_family.append(line(family, rows))
        by_problem += [line(name, [row for row in rows if row.problem == name]) for name in names]
    command = f"`make bench-coverage` ({describe_run()}), {arguments.keys} keys a problem"
    lines = [
        "# Coverage by family",
        "",
        command,
        "",
        *head,
        *by_family,
        "",
        "## By problem",
        "",
        *head,
        *by_problem,
    ]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "coverage.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
