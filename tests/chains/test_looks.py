"""What is seen of the chains while they draw: temperature of the stiff directions, acceptance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lltc import Status, estimate_llc
from lltc.chains.curvature import make_prober
from lltc.chains.gradients import measure_anchor
from lltc.chains.looks import Visit
from lltc.diagnostics.budget import step_size_error, stiff_temperature
from lltc.diagnostics.measured import Measured
from lltc.kernels import baoab, euler, leimkuhler_matthews
from lltc.posterior.target import local_posterior
from lltc.toys.values.tempered import euler_quadratic_llc
from tests.problems import DUMMY, constant, regression

SETTINGS = {"nbeta": 100, "localization": 1.0, "num_draws": 8000, "progress": False}
STEEP = np.array([1.0, 1.0, 1.0, 1.0, 0.1])


def steep(w):
    return 0.5 * jnp.sum(jnp.asarray(STEEP) * w**2)


@pytest.mark.parametrize("step_size", [2e-3, 1e-2])
def test_euler_steps_heat_the_stiff_directions_by_the_known_factor(step_size):
    found = estimate_llc(
        constant(steep), jnp.zeros(5), DUMMY, kernel=euler(), step_size=step_size, num_chains=32, **SETTINGS
    )
    q = 100 * STEEP + 1
    expected = np.sum(STEEP / (1 - step_size * q / 4)) / np.sum(STEEP)
    assert abs(found.stiff_temperature.value - expected) < 4 * found.stiff_temperature.se
    exact = euler_quadratic_llc(STEEP, nbeta=100, localization=1.0, step_size=step_size)
    assert abs(found.draws.mean() - exact) < 4 * found.draws.mean(1).std() / np.sqrt(32)


@pytest.mark.parametrize("batch_size", [32, 500])
def test_the_gradient_alone_is_that_of_the_surroundings(batch_size):
    model, weights, data = regression(0, 500, 6)
    posterior = local_posterior(model, weights, data, batch_size=batch_size)
    prober = make_prober(posterior, measure_anchor(posterior), jax.random.key(0))
    positions = 0.1 * jax.random.normal(jax.random.key(1), (4, 6))
    wanted = prober(positions, positions).gradient
    np.testing.assert_allclose(prober.gradient(positions), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("key", range(3))
def test_kinks_are_no_heat(key):
    """The gradient of |w| jumps at 0, and the Hessian beside it knows nothing of that."""
    loss = constant(lambda w: jnp.sum(0.5 * w**2 + 0.2 * jnp.abs(w)))
    options = SETTINGS | {"kernel": baoab(), "step_size": 2e-4, "num_chains": 16}
    estimate = estimate_llc(loss, jnp.zeros(6), DUMMY, key=key, **options)
    assert abs(estimate.stiff_temperature.value - 1) < 4 * estimate.stiff_temperature.se
    assert estimate.stiff_temperature.se < 0.1
    assert estimate.budget.step_size < 0.05 * estimate.llc


def test_a_step_size_that_heats_is_named_in_budget_and_status():
    found = estimate_llc(
        constant(steep), jnp.zeros(5), DUMMY, kernel=euler(), step_size=2e-2, num_chains=32, **SETTINGS
    )
    assert found.budget.step_size > 0.1 * found.llc
    assert found.status is Status.too_coarse
    assert "step_size" in found.status.value
    calm = estimate_llc(
        constant(steep), jnp.zeros(5), DUMMY, kernel=leimkuhler_matthews(), step_size=2e-3, **SETTINGS
    )
    assert calm.budget.step_size == 0
    assert calm.status is Status.ok


def test_acceptance_is_one_for_small_steps_and_falls_with_them():
    model, weights, data = regression(0, 5000, 20)
    options = {"localization": 1.0, "num_draws": 1000, "num_warmup": 400, "progress": False}
    shares = [
        estimate_llc(model, weights, data, step_size=step_size, **options).acceptance
        for step_size in (1e-6, 1e-3, 3e-3)
    ]
    assert shares[0] > 0.999
    assert shares[0] > shares[1] > shares[2] > 0.1


def test_acceptance_without_a_test_is_that_of_the_test():
    loss = constant(lambda w: 0.25 * jnp.sum(w**4) + 0.5 * jnp.sum(w**2))
    options = {"nbeta": 100, "localization": 1.0, "num_draws": 16_000, "num_chains": 16, "progress": False}
    tested = estimate_llc(loss, jnp.zeros(6), DUMMY, **options)
    untested = estimate_llc(loss, jnp.zeros(6), DUMMY, step_size=tested.step_size, **options)
    assert tested.kernel == "ghmc"
    assert untested.kernel == "baoab"
    assert untested.acceptance == pytest.approx(tested.acceptance, abs=0.03)


def test_temperature_is_a_ratio_of_means_with_the_chains_spread():
    visits = [Visit(np.array([2.0, 4.0]), np.array([2.0, 2.0]), np.ones(2), np.ones(2)) for _ in range(3)]
    found = stiff_temperature(visits)
    assert found.value == pytest.approx(1.5)
    assert found.se == pytest.approx(np.std([-1.0, 1.0], ddof=1) / np.sqrt(2) / 2)
    assert np.isnan(stiff_temperature([]).value)


def test_what_the_chains_of_a_visit_share_is_in_the_error_of_the_temperature():
    """Batches that move T by a quarter are covered, whether one was seen or many."""
    rng = np.random.default_rng(0)
    for count in (1, 4, 16):
        covered = []
        for _ in range(400):
            forces = 1 + 0.25 * rng.standard_normal((count, 1)) + 0.02 * rng.standard_normal((count, 8))
            visits = [Visit(force, np.ones(8), np.ones(8), np.ones(8)) for force in forces]
            temperature = stiff_temperature(visits, full_batch=False)
            covered.append(abs(temperature.value - 1) < 3 * temperature.se)
        assert np.mean(covered) > 0.98
    whole = Visit(np.ones(8) + 0.02 * rng.standard_normal(8), np.ones(8), np.ones(8), np.ones(8))
    assert stiff_temperature([whole], full_batch=True).se < 0.02


def test_only_what_exceeds_its_noise_is_a_step_size_error():
    assert step_size_error(10.0, Measured(1.2, 0.1)) == 0
    assert step_size_error(10.0, Measured(1.5, 0.1)) == pytest.approx(2.0)
    assert step_size_error(10.0, Measured(float("nan"), 0.1)) == 0


def test_a_low_acceptance_is_no_fault_of_a_kernel_without_a_test():
    loss = constant(lambda w: 0.5 * jnp.sum(w**2))
    found = estimate_llc(
        loss,
        jnp.zeros(3000),
        DUMMY,
        nbeta=100,
        localization=1.0,
        step_size=2e-2,
        num_draws=500,
        progress=False,
    )
    assert found.acceptance < 0.05
    assert found.status is Status.ok
    assert abs(found.llc - 1500 * 100 / 101) < 3.5 * found.llc_se
