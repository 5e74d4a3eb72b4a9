"""Several temperatures in one run: each rung right, and a slope that does not see L(w*)."""

import jax.numpy as jnp
import numpy as np
import pytest

from lltc import InputError, Status, estimate_llc, estimate_llc_ladder
from lltc.toys import normal_crossing, reduced_rank_regression
from lltc.toys.values.tempered import quadratic_llc, quartic_llc
from tests.problems import DUMMY, constant, regression

RUNGS = [50.0, 100.0, 400.0]


def test_each_rung_of_a_quartic_has_its_exact_value():
    found = estimate_llc_ladder(
        constant(lambda w: w[0] ** 4),
        jnp.zeros(1),
        DUMMY,
        nbeta=[400.0, 50.0, 100.0],
        localization=1,
        progress=False,
    )
    np.testing.assert_array_equal(found.nbeta, RUNGS)
    exact = np.array([quartic_llc(nbeta=nbeta, localization=1) for nbeta in RUNGS])
    assert np.all(np.abs(found.llc - exact) < 3.5 * found.llc_se)
    assert np.all(found.llc_se < 0.03 * exact)
    assert len({estimate.step_size for estimate in found.estimates}) == 3


def test_slope_of_the_crossing_is_the_mean_heat_capacity_between_the_rungs():
    problem = normal_crossing([1, 1])
    found = estimate_llc_ladder(
        problem.model, problem.params, problem.data, nbeta=RUNGS, localization=1.0, progress=False
    )
    values = np.array([normal_crossing([1, 1], nbeta=nbeta).llc_finite for nbeta in RUNGS], dtype=float)
    x, w = 1 / np.array(RUNGS), np.array(RUNGS) ** 2
    centred = x - np.sum(w * x) / np.sum(w)
    slope = np.sum(w * centred * values * x) / np.sum(w * centred**2)
    assert abs(found.slope.value - slope) < 3.5 * found.slope.se
    assert found.slope.se < 0.05 * slope


def test_slope_is_free_of_the_loss_at_the_checkpoint():
    model, weights, data = regression(0, 20_000, 6)
    options = {"localization": 1e-3, "nbeta": [500.0, 1000.0, 2000.0], "progress": False}
    shift = np.full(6, 0.03, np.float32)
    found = estimate_llc_ladder(model, weights + shift, data, **options)
    hessian = data[0].T @ data[0] / 20_000
    exact = quadratic_llc(np.linalg.eigvalsh(hessian), nbeta=1000.0, localization=1e-3)
    fallen = 0.5 * shift @ hessian @ shift * found.nbeta
    assert np.all(fallen > 1)
    assert np.all(np.abs(found.llc - (exact - fallen)) < 4 * found.llc_se)
    assert abs(found.slope.value - exact) < 4 * found.slope.se
    assert found.slope.se < 0.1 * exact


def test_a_rung_agrees_with_its_own_run():
    problem = reduced_rank_regression(3, 2, 3, 1)
    options = {"localization": 1.0, "progress": False}
    found = estimate_llc_ladder(problem.model, problem.params, problem.data, nbeta=[300, 1000], **options)
    alone = estimate_llc(problem.model, problem.params, problem.data, nbeta=1000, **options)
    assert abs(found.llc[1] - alone.llc) < 3.5 * np.hypot(found.llc_se[1], alone.llc_se)
    assert all(estimate.status is Status.ok for estimate in found.estimates)
    assert found.estimates[1].draws.shape[0] == 8


def test_default_ladder_is_centred_on_the_default_temperature():
    loss = constant(lambda w: 0.5 * w @ w)
    found = estimate_llc_ladder(
        loss, jnp.ones(2), jnp.zeros((64, 1)), num_draws=50, num_warmup=50, progress=False
    )
    np.testing.assert_allclose(found.nbeta, 64 / np.log(64) * np.array([0.25, 0.5, 1, 2]))


@pytest.mark.parametrize("nbeta", [[100.0], [100.0, 100.0], [100.0, -1.0], 100.0, "hot", [1.0, np.inf]])
def test_a_ladder_that_is_none_is_refused_in_one_sentence(nbeta):
    with pytest.raises(InputError, match="nbeta"):
        estimate_llc_ladder(constant(lambda w: w @ w), jnp.ones(2), DUMMY, nbeta=nbeta, progress=False)
