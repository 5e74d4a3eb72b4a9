"""Problems with a normal posterior, on and off the minimum, up to a hundred thousand parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from lltc import toys
from lltc.errors import InputError


@given(st.floats(-0.5, 5), st.floats(-3, 3), st.floats(0.1, 50), st.floats(0.1, 10))
def test_a_tilted_quadratic_has_the_value_of_its_integral(curvature, slope, nbeta, stiffness):
    localization = stiffness + nbeta * max(0.0, -curvature)
    q = nbeta * curvature + localization
    bottom, width = -nbeta * slope / q, q**-0.5
    energy = lambda w: nbeta * (curvature * w**2 / 2 + slope * w)
    weight = lambda w: np.exp(-q * (w - bottom) ** 2 / 2) / width / np.sqrt(2 * np.pi)
    ends = bottom - 12 * width, bottom + 12 * width
    exact = quad(lambda w: weight(w) * energy(w), *ends, epsabs=1e-10, epsrel=1e-10, limit=200)[0]
    got = toys.quadratic_llc([curvature], slopes=[slope], nbeta=nbeta, localization=localization)
    assert got == pytest.approx(exact, rel=1e-7, abs=1e-7)


def test_a_slope_always_lowers_the_value_and_its_sign_does_not_matter():
    h = np.geomspace(0.01, 10, 7)
    value = lambda g: toys.quadratic_llc(h, slopes=g * np.ones(7), nbeta=30.0, localization=2.0)
    assert value(0.1) == value(-0.1)
    assert value(0.3) < value(0.1) < value(0.0) == toys.quadratic_llc(h, nbeta=30.0, localization=2.0)


def test_a_tilted_problem_is_its_formula_with_and_without_the_slope():
    h, g = np.array([2.0, -0.01], np.float32), np.array([0.5, 0.1], np.float32)
    tilted, straight = (toys.tilted_quadratic(h, g, nbeta=50.0, linear=linear) for linear in (True, False))
    w = {"w": jnp.array([1.0, 2.0])}
    for problem in (tilted, straight):
        assert float(problem.model(w, problem.data)[0]) == pytest.approx(1.0 - 0.02 + 0.5 + 0.2)
    excess = lambda w: 0.5 * np.sum(h * w**2, -1) + w @ g
    exact = toys.quadrature_llc(excess, nbeta=50.0, localization=1.0)
    assert tilted.llc_finite == pytest.approx(exact, rel=1e-6)
    assert straight.llc_finite == pytest.approx(0.5 * (100 / 101 - 0.5 / 0.5), abs=1e-6)


@pytest.mark.parametrize(("offset", "linear"), [(0.05, True), (0.5, True), (0.5, False)])
def test_regression_off_the_minimum_matches_one_layer_gibbs(offset, linear):
    problem = toys.linear_regression(10, num_examples=5000, offset=offset, linear=linear)
    x, y = np.asarray(problem.data["x"], float), np.asarray(problem.data["y"], float)[:, None]
    w = np.asarray(problem.params["w"], float)[:, None]
    exact = toys.gibbs_llc(
        [w],
        input_moment=x.T @ x / 5000,
        cross_moment=x.T @ y / 5000,
        nbeta=problem.nbeta,
        localization=1.0,
        tilts=None if linear else [x.T @ (x @ w - y) / 5000],
        num_sweeps=2,
    )
    assert problem.llc_finite == pytest.approx(exact.llc, rel=1e-6)
    fitted = toys.linear_regression(10, num_examples=5000)
    moved = np.asarray(problem.params["w"]) - np.asarray(fitted.params["w"])
    assert np.linalg.norm(moved) == pytest.approx(offset, rel=1e-5)
    assert (problem.llc, problem.linear) == (None, linear)


def test_a_lookup_table_is_regression_on_one_hot_inputs():
    problem = toys.lookup_regression(6, num_examples=300, localization=0.5)
    x = np.eye(6)[np.asarray(problem.data["x"])]
    y = np.asarray(problem.data["y"], float)[:, None]
    exact = toys.gibbs_llc(
        [np.asarray(problem.params["table"], float)[:, None]],
        input_moment=x.T @ x / 300,
        cross_moment=x.T @ y / 300,
        nbeta=problem.nbeta,
        localization=0.5,
        num_sweeps=2,
    )
    assert problem.llc_finite == pytest.approx(exact.llc, rel=1e-6)
    np.testing.assert_allclose(np.linalg.lstsq(x, y)[0][:, 0], problem.params["table"], atol=1e-6)


def test_the_large_lookup_table_is_a_sum_over_the_counts():
    problem = toys.lookup_regression(100_000, num_examples=1_000_000, localization=0.1)
    times, how_many = np.unique(np.bincount(problem.data["x"], minlength=100_000), return_counts=True)
    pull = problem.nbeta * times / 1e6
    assert problem.llc_finite == pytest.approx(np.sum(how_many * pull / (pull + 0.1)) / 2, rel=1e-6)
    assert problem.llc == np.sum(how_many[times > 0]) / 2
    assert problem.num_params == 100_000
    gradient = jax.grad(lambda w: problem.model(w, problem.data).mean())(problem.params)["table"]
    assert float(jnp.abs(gradient).max()) < 1e-8


def test_the_large_quadratic_is_short_of_half_its_dimension_by_the_localization():
    h = np.geomspace(1e-2, 10, 100_000)
    problem = toys.quadratic(h, nbeta=1e4)
    assert problem.llc_finite == pytest.approx(50_000 - np.sum(1 / (1e4 * h + 1)) / 2, rel=1e-7)


@pytest.mark.reference
def test_a_network_of_a_hundred_thousand_parameters_is_near_its_limit():
    """At nbeta 1e4 with singular values 1 the published table's networks are within 1 %."""
    problem = toys.reduced_rank_regression(32, 32, 3093, 16, num_chains=4, num_sweeps=60, nbeta=1e4)
    assert (problem.num_params, problem.llc) == (100_000, 25_000.0)
    assert problem.llc_finite == pytest.approx(25_000, rel=0.01)
    assert problem.llc_finite_se < 10


@pytest.mark.parametrize("linear", [True, False])
def test_gibbs_off_the_minimum_of_a_scalar_net_matches_quadrature(linear):
    problem = toys.deep_linear(
        (1, 1, 1), rank=1, num_examples=200, offset=0.1, linear=linear, localization=20.0, num_sweeps=4000
    )
    x, y = (np.asarray(problem.data[name], float)[:, 0] for name in ("x", "y"))
    center = np.array([float(problem.params[f"layer{i}"]["kernel"][0, 0]) for i in (1, 2)])
    S, C = np.mean(x * x), np.mean(x * y)
    slope = (S * center.prod() - C) * center[::-1] * (not linear)

    def excess(w):
        product = w[..., 0] * w[..., 1]
        squares = S * (product**2 - center.prod() ** 2) / 2 - C * (product - center.prod())
        return squares - (w - center) @ slope

    exact = toys.quadrature_llc(excess, nbeta=problem.nbeta, localization=20.0, center=center)
    assert problem.llc_finite == pytest.approx(exact, abs=3.5 * problem.llc_finite_se)
    assert problem.llc_finite_se < 0.01
    assert (problem.llc, problem.linear) == (None, linear)


def test_five_scalar_layers_at_zero_are_a_normal_crossing():
    problem = toys.deep_linear((1,) * 6, rank=0, nbeta=400.0)
    exact = toys.crossing_llc([1] * 5, nbeta=200.0, localization=1.0)
    assert problem.llc_finite == pytest.approx(exact, abs=3.5 * problem.llc_finite_se)
    assert problem.llc_finite_se < 0.01


def test_bad_input_is_refused_by_name():
    with pytest.raises(InputError, match="num_examples=5"):
        toys.lookup_regression(5, num_examples=5)
    with pytest.raises(InputError, match="curvatures"):
        toys.tilted_quadratic([-1.0], [0.0], nbeta=2.0)
