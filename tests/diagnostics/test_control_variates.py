"""The virial as a control variate: how much it takes away, and when it keeps its hands off."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lltc import estimate_llc
from lltc.chains.rungs import is_hot
from lltc.diagnostics.control_variates import sharpened
from lltc.diagnostics.mixing import monte_carlo_error
from lltc.toys.values.tempered import quadratic_llc, quartic_llc
from tests.problems import DUMMY, constant, regression

HOT = is_hot(8)


def slow(rng, shape, memory=0.9):
    noise = rng.normal(size=shape)
    values = np.zeros(shape)
    for k in range(1, shape[1]):
        values[:, k] = memory * values[:, k - 1] + np.sqrt(1 - memory**2) * noise[:, k]
    return values


@settings(max_examples=20)
@given(st.floats(-2, 2).filter(lambda b: abs(b) > 0.1), st.integers(0, 1000))
def test_a_series_that_is_a_multiple_of_its_control_becomes_its_mean(coefficient, seed):
    control = slow(np.random.default_rng(seed), (8, 1000))
    control = control - control.mean()
    found = sharpened(5 + coefficient * control, control, HOT)
    assert found.coefficient == pytest.approx(coefficient)
    np.testing.assert_allclose(found.series, 5, atol=1e-9)


def test_an_unrelated_control_changes_nothing():
    rng = np.random.default_rng(0)
    series, control = slow(rng, (8, 2000)), slow(rng, (8, 2000))
    found = sharpened(series, control, HOT)
    assert found.coefficient == 0
    np.testing.assert_array_equal(found.series, series)


def test_slow_and_fast_parts_that_differ_are_left_alone():
    rng = np.random.default_rng(2)
    fast, drift = slow(rng, (8, 4000), memory=0.0), slow(rng, (8, 4000), memory=0.999)
    drift = drift - drift.mean()
    assert sharpened(0.5 * fast + 0.5 * drift, fast + drift, HOT).coefficient == pytest.approx(0.5)
    assert sharpened(0.5 * fast + 0.1 * drift, fast + drift, HOT).coefficient == 0


def test_a_control_away_from_its_mean_is_not_believed():
    control = slow(np.random.default_rng(1), (8, 2000))
    assert sharpened(control + 5, control - 1.0, HOT).coefficient == 0


def test_a_regular_minimum_is_known_to_a_per_mille_after_a_thousand_draws():
    curvatures = np.geomspace(1, 100, 10)
    loss = constant(lambda w: 0.5 * jnp.sum(curvatures * w**2))
    found = estimate_llc(
        loss, jnp.zeros(10), DUMMY, nbeta=1000, localization=1, num_draws=1000, progress=False
    )
    exact = quadratic_llc(curvatures, nbeta=1000, localization=1)
    assert abs(found.llc - exact) < 3.5 * found.llc_se
    assert found.llc_se < 0.002 * exact < 0.2 * monte_carlo_error(found.draws)
    assert found.variance_left < 0.01


@pytest.mark.parametrize("key", range(3))
def test_a_quartic_minimum_has_another_coefficient_found_from_the_chains(key):
    found = estimate_llc(
        constant(lambda w: w[0] ** 4), jnp.zeros(1), DUMMY, nbeta=1e4, localization=1, progress=False, key=key
    )
    exact = quartic_llc(nbeta=1e4, localization=1)
    assert abs(found.llc - exact) < 3.5 * found.llc_se
    assert found.llc_se < 0.005 * exact


def test_minibatch_heat_leaves_with_the_virial():
    model, weights, data = regression(1, 5000, 8)
    hessian = np.linalg.eigvalsh(data[0].T @ data[0] / 5000)
    options = {"localization": 1.0, "batch_size": 16, "num_draws": 4000, "num_chains": 16, "progress": False}
    found = estimate_llc(model, weights, data, step_size=1e-3, **options)
    exact = quadratic_llc(hessian, nbeta=found.nbeta, localization=1.0)
    heat = found.draws.mean() - exact
    assert found.variance_left < 0.2
    assert abs(found.llc - exact) < min(3.5 * found.llc_se, 0.2 * heat)
    assert found.budget.heat < 0.1 * heat


@pytest.mark.parametrize(("size", "coefficient"), [(0.01, 0.5), (2.0, 0.0)])
def test_a_tail_matters_where_it_reaches_far(size, coefficient):
    for seed in range(3):
        virial = np.random.default_rng(seed).normal(size=(8, 2000))
        series = 0.5 * (virial - virial.mean())
        series[0, 0] += size
        assert sharpened(series, virial - virial.mean(), HOT).coefficient == pytest.approx(
            coefficient, abs=0.01
        )
