"""The table of problems shared by tests and benchmarks."""

import numpy as np

from lltc.toys.fibres import reduced_rank_point
from lltc.toys.fitted import (
    logistic_regression,
    poisson_regression,
    product_logistic,
    softmax_regression,
    tanh_unit,
)
from lltc.toys.mixtures import gaussian_mixture, one_mean_mixture
from lltc.toys.networks import deep_linear, reduced_rank_regression
from lltc.toys.normal import linear_regression, lookup_regression, tilted_quadratic
from lltc.toys.polygons import superposition
from lltc.toys.problems import ToyProblem, analytic, even_powers, normal_crossing, quadratic
from lltc.toys.shallow import quadratic_network, tanh_network
from lltc.toys.sums import disjoint_sum
from lltc.toys.valleys import curves, diagonals


def table() -> tuple[ToyProblem, ...]:
    """Return problems of every kind, from 1 to 100,000 parameters and up to a million examples.

    Building them takes seconds; a reference is computed when `llc_finite` is first read, from milliseconds
    (formulas, quadrature) over seconds (Gibbs) to a minute (Hamiltonian Monte Carlo, the widest network).

    Example:
        >>> problems = table()
        >>> len({problem.name for problem in problems}) - len(problems)
        0
    """
    return (
        *_separable(),
        *_valleys(),
        *_regressions(),
        *_two_layers(),
        *_deep(),
        *_nonlinear(),
        *_fitted(),
        *_off_minimum(),
    )


def _separable() -> tuple[ToyProblem, ...]:
    return (
        quadratic(np.ones(1)),
        quadratic(np.geomspace(1e-2, 10, 20)),
        quadratic(np.geomspace(1e-3, 1, 100), localization=100.0),
        quadratic(np.geomspace(1e-2, 10, 10_000), nbeta=1e4),
        quadratic(np.geomspace(1e-2, 10, 100_000), nbeta=1e4),
        even_powers([2]),
        even_powers([3]),
        even_powers([1, 2]),
        even_powers([1, 2, 3, 4] * 5, nbeta=1e4),
        normal_crossing([1, 1]),
        normal_crossing([4, 1]),
        normal_crossing([1, 1, 1]),
        normal_crossing([1, 2, 2], localization=10.0),
        normal_crossing([1, 2]),
        normal_crossing([2, 3]),
        normal_crossing([1, 2], dims=[2, 3]),
    )


def _valleys() -> tuple[ToyProblem, ...]:
    parabola, cusp, *others = curves()
    return (
        parabola,
        cusp,
        *others,
        disjoint_sum("parabola + cusp, 4 variables", parabola, cusp),
        disjoint_sum("diagonals + x⁶, 3 variables", diagonals(), even_powers([3])),
        disjoint_sum("every curve at once, 24 variables", parabola, cusp, *others),
    )


def _regressions() -> tuple[ToyProblem, ...]:
    return (
        linear_regression(10, num_examples=500),
        linear_regression(10, num_examples=10_000, condition_number=1e3),
        linear_regression(100, num_examples=10_000, at="truth"),
        linear_regression(500, num_examples=5_000, condition_number=100.0),
        linear_regression(4, num_examples=1_000_000),
        lookup_regression(100_000, num_examples=1_000_000, localization=0.1),
    )


def _two_layers() -> tuple[ToyProblem, ...]:
    return (
        *(reduced_rank_regression(3, 2, 3, rank) for rank in range(3)),
        *(reduced_rank_regression(5, 3, 5, rank) for rank in range(4)),
        reduced_rank_point(2, 2, 2, first_rank=0, second_rank=0, localization=1.0),
        reduced_rank_point(2, 2, 2, first_rank=2, second_rank=0),
        reduced_rank_point(5, 3, 4, first_rank=1, second_rank=2),
        reduced_rank_point(4, 4, 4, first_rank=3, second_rank=1),
        reduced_rank_regression(4, 3, 8, 1),
        reduced_rank_regression(10, 4, 10, 2, condition_number=1e3),
        reduced_rank_regression(5, 3, 5, 1, num_examples=500),
        reduced_rank_regression(5, 3, 5, 1, num_examples=100_000),
        reduced_rank_regression(5, 3, 5, 1, num_examples=1_000_000),
        reduced_rank_regression(5, 3, 5, 1, num_examples=5_000, at="truth"),
        reduced_rank_regression(8, 4, 8, 2, num_examples=10_000, condition_number=1e3),
        reduced_rank_regression(20, 20, 20, 5, num_sweeps=300),
        reduced_rank_regression(120, 50, 100, 50, num_sweeps=60, nbeta=1e4),
        reduced_rank_regression(32, 32, 3093, 16, num_chains=4, num_sweeps=60, nbeta=1e4),
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
        deep_linear((5, 5, 5, 5, 5, 5), rank=0, num_sweeps=1000),
        deep_linear((4, 4, 4, 4, 4, 4), rank=2, condition_number=1e3, num_sweeps=1000),
        deep_linear((4, 4, 4, 4, 4, 4), rank=2, num_examples=1_000_000, num_sweeps=1000),
    )


def _nonlinear() -> tuple[ToyProblem, ...]:
    return (
        *(tanh_network(hidden) for hidden in (1, 2, 3, 4)),
        tanh_network(2, num_examples=10_000, noise=1.0, num_samples=20_000),
        tanh_network(2, num_examples=1_000_000, noise=0.1, num_levels=40),
        tanh_network(6, num_examples=10_000, num_levels=40),
        quadratic_network(3, 2, 0),
        quadratic_network(3, 3, 1),
        quadratic_network(4, 3, 2, num_examples=1000),
        quadratic_network(3, 2, 1, num_examples=100_000, noise=1.0, at="minimum"),
        gaussian_mixture(),
        gaussian_mixture(num_examples=10_000, sampled=True),
        one_mean_mixture(),
        *(superposition(sides) for sides in (5, 6, 7, 8)),
        superposition(5, dead=1, localization=100.0, num_draws=300),
    )


def _fitted() -> tuple[ToyProblem, ...]:
    return (
        logistic_regression(num_examples=1000),
        logistic_regression(num_examples=100_000, condition_number=1e3),
        product_logistic(num_examples=100_000),
        softmax_regression(num_examples=10_000),
        softmax_regression(num_examples=10_000, hidden=2),
        poisson_regression(num_examples=5000),
        tanh_unit(num_examples=10_000),
    )


def _off_minimum() -> tuple[ToyProblem, ...]:
    bent = np.concatenate([-np.geomspace(1e-3, 0.08, 10), np.geomspace(0.01, 1, 20)])
    quartic = lambda w: (
        w[..., 0] ** 4 + (w[..., 0] * w[..., 1]) ** 2 + w[..., 1] ** 2 / 2 + w[..., 0] - w[..., 1]
    )
    wells = lambda w: (w[..., 0] ** 2 - 1) ** 2 + (w[..., 1] - w[..., 0] ** 2 / 2) ** 2
    moved = {"num_examples": 5000, "offset": 0.5}
    return (
        tilted_quadratic(np.geomspace(1e-2, 10, 20), np.full(20, 0.02)),
        tilted_quadratic(np.geomspace(1e-2, 10, 20), np.full(20, 0.02), linear=False),
        tilted_quadratic(bent, np.zeros(30), localization=100.0),
        linear_regression(10, num_examples=5000, offset=0.05),
        linear_regression(10, **moved),
        linear_regression(10, **moved, linear=False),
        analytic("tilted quartic", quartic, center=(0.0, 0.0), nbeta=10.0),
        analytic("tilted quartic, slope removed", quartic, center=(0.5, 0.5), nbeta=100.0, linear=False),
        analytic("between two wells", wells, center=(0.0, 0.0), nbeta=20.0),
        logistic_regression(num_examples=2000, offset=1.0),
        logistic_regression(num_examples=2000, offset=1.0, linear=False),
        reduced_rank_regression(5, 3, 5, 1, num_examples=5000, offset=0.1),
        reduced_rank_regression(5, 3, 5, 1, num_examples=5000, offset=0.02, localization=100.0, linear=False),
    )
