"""The table of problems shared by tests and benchmarks."""

import numpy as np

from lltc.toys.closed_forms import LearningCoefficient
from lltc.toys.networks import deep_linear, linear_regression, reduced_rank_regression
from lltc.toys.problems import ToyProblem, analytic, even_powers, normal_crossing, quadratic


def table() -> tuple[ToyProblem, ...]:
    """Return cheap problems of every kind; references are computed when `llc_finite` is first read.

    Example:
        >>> len({problem.name for problem in table()}) == len(table())
        True
    """
    return (*_formulas(), *_linear())


def _formulas() -> tuple[ToyProblem, ...]:
    return (
        quadratic(np.ones(1)),
        quadratic(np.geomspace(1e-2, 10, 20)),
        quadratic(np.geomspace(1e-2, 10, 10_000), nbeta=1e4),
        even_powers([2]),
        even_powers([1, 2]),
        even_powers([1, 2, 3, 4] * 5, nbeta=1e4),
        normal_crossing([1, 1]),
        normal_crossing([4, 1]),
        normal_crossing([1, 1, 1]),
        analytic(
            "parabola (y-x²)²",
            lambda w: (w[..., 1] - w[..., 0] ** 2) ** 2,
            center=[0.0, 0.0],
            nbeta=1e3,
            known=LearningCoefficient(0.5, 1),
        ),
        analytic(
            "cusp (y²-x⁵)²",
            lambda w: (w[..., 1] ** 2 - w[..., 0] ** 5) ** 2,
            center=[0.0, 0.0],
            nbeta=1e3,
            known=LearningCoefficient(0.35, 1),
        ),
    )


def _linear() -> tuple[ToyProblem, ...]:
    return (
        linear_regression(10, num_examples=500),
        linear_regression(10, num_examples=10_000, condition_number=1e3),
        reduced_rank_regression(3, 2, 3, 0),
        reduced_rank_regression(5, 3, 5, 1),
        reduced_rank_regression(5, 3, 5, 1, num_examples=5000),
        deep_linear([5, 5, 5, 5, 5], rank=2, nbeta=1e4),
    )
