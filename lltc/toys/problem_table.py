"""The table of problems shared by tests and benchmarks."""

import numpy as np

from lltc.toys.closed_forms import LearningCoefficient
from lltc.toys.fibres import reduced_rank_point
from lltc.toys.networks import deep_linear, linear_regression, reduced_rank_regression
from lltc.toys.polygons import superposition
from lltc.toys.problems import ToyProblem, analytic, even_powers, normal_crossing, quadratic
from lltc.toys.shallow import gaussian_mixture, quadratic_network, tanh_network


def table() -> tuple[ToyProblem, ...]:
    """Return problems of every kind, from 1 to 11,000 parameters and up to a million examples.

    Building them takes seconds; a reference is computed when `llc_finite` is first read, from milliseconds
    (formulas, quadrature) over seconds (Gibbs) to a minute (Hamiltonian Monte Carlo, the widest network).

    Example:
        >>> problems = table()
        >>> len({problem.name for problem in problems}) - len(problems)
        0
    """
    return (*_separable(), *_curves(), *_regressions(), *_two_layers(), *_deep(), *_nonlinear())


def _separable() -> tuple[ToyProblem, ...]:
    return (
        quadratic(np.ones(1)),
        quadratic(np.geomspace(1e-2, 10, 20)),
        quadratic(np.geomspace(1e-3, 1, 100), localization=100.0),
        quadratic(np.geomspace(1e-2, 10, 10_000), nbeta=1e4),
        even_powers([2]),
        even_powers([3]),
        even_powers([1, 2]),
        even_powers([1, 2, 3, 4] * 5, nbeta=1e4),
        normal_crossing([1, 1]),
        normal_crossing([4, 1]),
        normal_crossing([1, 1, 1]),
        normal_crossing([1, 2, 2], localization=10.0),
    )


def _curves() -> tuple[ToyProblem, ...]:
    curves = (
        ("parabola (y-x²)²", lambda w: (w[..., 1] - w[..., 0] ** 2) ** 2, (0.0, 0.0), 1 / 2),
        ("cusp (y²-x³)²", lambda w: (w[..., 1] ** 2 - w[..., 0] ** 3) ** 2, (0.0, 0.0), 5 / 12),
        ("cusp (y²-x⁵)²", lambda w: (w[..., 1] ** 2 - w[..., 0] ** 5) ** 2, (0.0, 0.0), 7 / 20),
        ("circle (x²+y²-1)²", lambda w: (w[..., 0] ** 2 + w[..., 1] ** 2 - 1) ** 2, (1.0, 0.0), 1 / 2),
    )
    return tuple(
        analytic(name, loss, center=center, nbeta=1e3, known=LearningCoefficient(llc, 1))
        for name, loss, center, llc in curves
    )


def _regressions() -> tuple[ToyProblem, ...]:
    return (
        linear_regression(10, num_examples=500),
        linear_regression(10, num_examples=10_000, condition_number=1e3),
        linear_regression(100, num_examples=10_000, at="truth"),
        linear_regression(500, num_examples=5_000, condition_number=100.0),
        linear_regression(4, num_examples=1_000_000),
    )


def _two_layers() -> tuple[ToyProblem, ...]:
    return (
        *(reduced_rank_regression(3, 2, 3, rank) for rank in range(3)),
        *(reduced_rank_regression(5, 3, 5, rank) for rank in range(4)),
        reduced_rank_point(2, 2, 2, first_rank=0, second_rank=0, localization=1.0),
        reduced_rank_point(2, 2, 2, first_rank=2, second_rank=0),
        reduced_rank_point(5, 3, 4, first_rank=1, second_rank=2),
        reduced_rank_regression(4, 3, 8, 1),
        reduced_rank_regression(10, 4, 10, 2, condition_number=1e3),
        reduced_rank_regression(5, 3, 5, 1, num_examples=500),
        reduced_rank_regression(5, 3, 5, 1, num_examples=100_000),
        reduced_rank_regression(5, 3, 5, 1, num_examples=5_000, at="truth"),
        reduced_rank_regression(8, 4, 8, 2, num_examples=10_000, condition_number=1e3),
        reduced_rank_regression(20, 20, 20, 5, num_sweeps=300),
        reduced_rank_regression(120, 50, 100, 50, num_sweeps=60, nbeta=1e4),
    )


def _deep() -> tuple[ToyProblem, ...]:
    return (
        deep_linear((3, 3, 3, 3), rank=0),
        deep_linear((3, 3, 3, 3), rank=1),
        deep_linear((5, 5, 5, 5, 5), rank=2, nbeta=1e4),
        deep_linear((8, 4, 8, 4, 8), rank=2, num_sweeps=1000),
        deep_linear((5, 10, 10, 10, 10, 5), rank=1, num_sweeps=500),
        deep_linear((6, 6, 6, 6, 6, 6), rank=3, num_examples=10_000, num_sweeps=1000),
        deep_linear((6, 6, 6, 6, 6, 6), rank=6, num_examples=10_000, noise=0.1, num_sweeps=1000),
    )


def _nonlinear() -> tuple[ToyProblem, ...]:
    return (
        *(tanh_network(hidden) for hidden in (1, 2, 3, 4)),
        tanh_network(2, num_examples=10_000, noise=1.0, num_samples=20_000),
        quadratic_network(3, 2, 0),
        quadratic_network(3, 3, 1),
        quadratic_network(4, 3, 2, num_examples=1000),
        gaussian_mixture(),
        *(superposition(sides) for sides in (5, 6, 7, 8)),
    )
