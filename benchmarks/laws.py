"""Published laws of the learning coefficient, rerun with nothing tuned.

Run with `make bench-laws`; writes benchmarks/results/laws.md. ARGS="--small" is a row or two of each law.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from compression_law import bottleneck_lines, network_lines
from difficulty_law import autoencoder_row, linear_row, parabola, polynomial_row, straight
from law_rows import Row, line, table
from modular_law import (
    fourier_network,
    gaussian_row,
    pairs_row,
    random_network,
    rank_lines,
    trained_network,
)
from provenance import describe_run

RESULTS = Path(__file__).parent / "results"
RANKED = ((3, 2), (3, 4), (3, 8), (5, 4), (5, 9), (5, 16), (7, 6), (7, 13))


def reported(makers: Iterable[Callable[[], Row]]) -> list[Row]:
    """Return the rows, each printed when it is there."""
    rows = []
    for make in makers:
        rows.append(make())
        print(line(rows[-1]), flush=True)
    return rows


def modular_lines(small: bool) -> list[str]:
    """Return the section on quadratic networks."""
    random = lambda p, width: lambda: pairs_row("all pairs, random weights", p, random_network(p, width))
    makers: list[Callable[[], Row]] = [random(3, 2)]
    if not small:
        makers = [
            lambda: gaussian_row(5, 4),
            *(random(*shape) for shape in ((5, 2), (5, 4), (5, 8), (7, 4))),
            lambda: pairs_row("all pairs, Fourier solution", 5, fourier_network(5)),
            lambda: pairs_row("all pairs, trained", 5, trained_network(5, 9)),
            lambda: pairs_row("all pairs, trained", 5, trained_network(5, 16)),
            lambda: pairs_row("all pairs, only V moves", 5, random_network(5, 8), moved="out"),
        ]
    return [
        "## Quadratic networks on addition modulo p",
        "",
        "The law is min(K(3p - 1), p²(2p + 1))/2, or pK/2 where only V moves. The pairs weigh as much as",
        "20,000 examples. At this nβ, γ stands ½ Σ nβ h/(nβ h + γ) over the Hessian's eigenvalues h.",
        "",
        *table(reported(makers)),
        "",
        "Half the rank of the Hessian at random weights, in float64, beside what each way of counting says:",
        "",
        *rank_lines(RANKED[:2] if small else RANKED),
    ]


def difficulty_lines(small: bool) -> tuple[list[str], list[Row], list[Row]]:
    """Return the section on three families, and the rows of its networks."""
    shapes = ((3, 1.0),) if small else ((1, 1.0), (10, 1.0), (30, 1.0), (10, 0.5))
    polynomials = reported(lambda shape=shape: polynomial_row(*shape) for shape in shapes)
    ranks = (1, 2) if small else (1, 5, 10, 20)
    linears = reported(lambda rank=rank: linear_row(rank) for rank in ranks)
    dimensions = (1, 2) if small else (1, 2, 4, 8)
    coders = reported(lambda dimension=dimension: autoencoder_row(dimension) for dimension in dimensions)
    a, b = parabola(ranks, [row.estimate.llc for row in linears])
    slope, intercept, share = straight(dimensions, [row.estimate.llc for row in coders])
    lines = [
        "## λ̂ against the difficulty of a task",
        "",
        "Polynomials: the law is d/2; at this nβ, γ stands the exact value, for the loss is quadratic.",
        "",
        *table(polynomials),
        "",
        "Linear networks of 20 inputs and outputs: the law is r(2d - r)/2; at this nβ, γ stands the value of",
        f"block Gibbs sampling. Least squares of λ̂: {a:.3f} r² + {b:.2f} r; the law has -0.5 r² + 20 r.",
        "",
        *table(linears),
        "",
        "Autoencoders 20-24-r-24-20 of r-dimensional data, around their own outputs: at this nβ, γ stands",
        f"the Gaussian value. Least squares of λ̂: {slope:.2f} r + {intercept:.1f}, R² = {share:.3f}.",
        "",
        *table(coders),
    ]
    return lines, linears, coders


def sections(small: bool) -> Iterator[list[str]]:
    """Yield the lines of each law as it is measured."""
    yield modular_lines(small)
    difficulty, linears, coders = difficulty_lines(small)
    yield difficulty
    yield ["## λ̂ against compressibility", "", *bottleneck_lines(2 if small else 8)]
    yield network_lines("rank", linears)
    yield network_lines("dimension", coders)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a row or two of each law")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    lines = [
        "# Published laws rerun",
        "",
        f"`make bench-laws` ({describe_run()}){', --small' if arguments.small else ''}.",
    ]
    arguments.out.mkdir(parents=True, exist_ok=True)
    # Written after each section: a run that is stopped leaves the sections that are whole.
    for section in sections(arguments.small):
        lines += ["", *section]
        (arguments.out / "laws.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
