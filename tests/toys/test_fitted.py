"""Losses on drawn data, against sums and samples that use every row of the data and another method."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from lltc import toys
from lltc.toys.counts import excess_loss
from lltc.toys.mixtures import gauss_rule


def rows_of(problem):
    """Return the distinct examples of the data, float64, and the share of each."""
    leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(problem.data)]
    stacked = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
    examples, counts = np.unique(stacked, axis=0, return_counts=True)
    return examples, counts / len(stacked)


def grid_llc(problem, loss, names, *, half_widths, num=601, slope=(0.0, 0.0)):
    """Sum over a plain grid around w*; `loss(a, b)` takes points (…, 1) and returns the mean loss (…)."""
    a, b = center = np.array([float(problem.params[name]) for name in names])
    axes = [c + np.linspace(-h, h, num) for c, h in zip(center, half_widths, strict=True)]
    A, B = np.meshgrid(*axes, indexing="ij")
    excess = np.stack([loss(x[:, None], y[:, None]) for x, y in zip(A, B, strict=True)])
    excess -= loss(np.array([[a]]), np.array([[b]])) + slope[0] * (A - a) + slope[1] * (B - b)
    action = problem.nbeta * excess + problem.localization / 2 * ((A - a) ** 2 + (B - b) ** 2)
    weight = np.exp(action.min() - action)
    return problem.nbeta * np.sum(weight * excess) / np.sum(weight)


def logistic_value(problem, *, half_width):
    (examples, share), w = rows_of(problem), np.asarray(problem.params["w"], float)
    x, y = examples[:, :2], examples[:, 2]
    flat = replace(problem, params={"a": w[0], "b": w[1]})
    loss = lambda a, b: np.logaddexp(0, -y * (a * x[:, 0] + b * x[:, 1])) @ share
    slope = np.zeros(2) if problem.linear else -(share * y * expit(-y * (x @ w))) @ x
    return grid_llc(flat, loss, ("a", "b"), half_widths=half_width, slope=slope)


@pytest.mark.parametrize(
    ("settings", "half_widths"),
    [
        ({"num_examples": 1000}, (2.0, 2.0)),
        ({"num_examples": 100_000, "condition_number": 1e3}, (0.25, 5.0)),
        ({"num_examples": 2000, "offset": 1.0}, (2.5, 2.5)),
        ({"num_examples": 2000, "offset": 1.0, "linear": False}, (2.5, 2.5)),
    ],
)
def test_logistic_regression_has_the_value_of_a_grid_over_its_rows(settings, half_widths):
    problem = toys.logistic_regression(**settings)
    assert problem.llc_finite == pytest.approx(logistic_value(problem, half_width=half_widths), rel=1e-5)


def test_a_product_of_weights_keeps_its_valley_under_label_noise():
    problem = toys.product_logistic(num_examples=100_000)
    (examples, share), y = rows_of(problem), slice(None)
    x, y = examples.T
    loss = lambda a, b: np.logaddexp(0, -y * a * b * x) @ share
    value = grid_llc(problem, loss, ("a", "b"), half_widths=(3.5, 3.5), num=1401)
    assert problem.llc_finite == pytest.approx(value, rel=1e-4)


def test_poisson_regression_has_the_value_of_a_grid_over_its_rows():
    problem = toys.poisson_regression(num_examples=5000)
    examples, share = rows_of(problem)
    x, y = examples.T
    loss = lambda a, b: (np.exp(a + b * x) - y * (a + b * x)) @ share
    value = grid_llc(problem, loss, ("a", "b"), half_widths=(0.4, 0.4), num=201)
    assert problem.llc_finite == pytest.approx(value, rel=1e-5)


def test_a_tanh_unit_has_the_value_of_a_grid_over_its_rows():
    problem = toys.tanh_unit(num_examples=10_000)
    examples, share = rows_of(problem)
    x, y = examples.T
    loss = lambda a, b: 0.5 * (a * np.tanh(b * x) - y) ** 2 @ share
    value = grid_llc(problem, loss, ("a", "b"), half_widths=(1.8, 1.8), num=901)
    assert problem.llc_finite == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(
    "problem",
    [
        toys.logistic_regression(num_examples=1000),
        toys.product_logistic(num_examples=5000),
        toys.poisson_regression(num_examples=500),
        toys.tanh_unit(num_examples=500),
        toys.softmax_regression(num_examples=1000),
        toys.softmax_regression(num_examples=1000, hidden=2),
        toys.quadratic_network(3, 2, 1, num_examples=2000, noise=1.0, at="minimum"),
    ],
    ids=lambda problem: problem.name,
)
def test_fitted_points_are_minima_of_the_drawn_data(problem):
    loss = lambda params: jnp.mean(problem.model(params, problem.data))
    gradient = jax.grad(loss)(problem.params)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) < 1e-5
    for key in range(5):
        moved = jax.tree.map(
            lambda leaf, key=key: leaf + 0.1 * jax.random.normal(jax.random.key(key), leaf.shape),
            problem.params,
        )
        assert loss(moved) > loss(problem.params)


@pytest.mark.parametrize("sampled", [False, True])
def test_the_nodes_of_a_mixture_stand_for_all_its_data(sampled):
    problem = toys.gaussian_mixture(num_examples=3000, sampled=sampled)
    nodes, share = gauss_rule(np.asarray(problem.data))
    assert len(nodes) == 40
    excess, center = excess_loss(problem.model, problem.params, nodes, share)
    rng = np.random.default_rng(0)
    x = np.asarray(problem.data, float)
    for _ in range(5):
        v, b1, b2 = point = rng.standard_normal(3)
        density = expit(v) * norm.pdf(x, b1) + expit(-v) * norm.pdf(x, b2)
        direct = np.mean(norm.logpdf(x) - np.log(density))
        assert excess(point[None])[0] == pytest.approx(direct, abs=1e-9)
    np.testing.assert_array_equal(center, 0)


def test_a_gauss_rule_keeps_the_moments():
    x = np.random.default_rng(0).standard_t(5, 500)
    nodes, share = gauss_rule(x, num_nodes=6)
    for power in range(12):
        assert share @ nodes**power == pytest.approx(np.mean(x**power), rel=1e-9, abs=1e-9)


def test_the_mixture_with_one_free_mean_is_the_population_divergence():
    problem = toys.one_mean_mixture()
    z = np.linspace(-12, 12, 24_001)
    share = norm.pdf(z) * (z[1] - z[0])
    for a, b in [(0.3, 0.2), (-0.2, 0.4), (0.5, -1.0), (0.01, 1.5)]:
        ratio = 1 + a * np.expm1(b * z - b**2 / 2)
        params = {"share": jnp.float32(a), "mean": jnp.float32(b)}
        got = float(jnp.mean(problem.model(params, problem.data)))
        assert got == pytest.approx(-np.log(np.maximum(ratio, 1e-3)) @ share, rel=2e-3, abs=1e-6)


def test_the_mixture_with_one_free_mean_has_the_value_of_a_grid():
    problem = toys.one_mean_mixture()
    node, weight = np.polynomial.hermite_e.hermegauss(30)
    share = weight / weight.sum()
    loss = lambda a, b: -np.log(np.maximum(1 + a * np.expm1(b * node - b**2 / 2), 1e-3)) @ share
    value = grid_llc(problem, loss, ("share", "mean"), half_widths=(1.4, 1.4), num=1201)
    assert problem.llc_finite == pytest.approx(value, rel=1e-4)
