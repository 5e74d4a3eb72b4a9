"""Each term of the error budget and each sensitivity against its formula."""

import jax.numpy as jnp
import numpy as np
import pytest

from lltc import Status, estimate_llc
from lltc.chains.looks import look
from lltc.chains.loop import Trace
from lltc.chains.rounds import flung
from lltc.chains.rungs import Ladder, is_hot
from lltc.chains.steps import Draws
from lltc.chains.warmup import warm_up
from lltc.diagnostics.budget import ErrorBudget, predicted_heat, spread_error
from lltc.diagnostics.control_variates import controlled
from lltc.diagnostics.mixing import Mixing, equilibration_error, hot_cold_gap, mixing, monte_carlo_error
from lltc.diagnostics.status import judge
from lltc.estimates.estimator import prepare_run
from lltc.kernels import baoab
from lltc.kernels.baoab import BaoabState
from lltc.posterior.target import local_posterior
from lltc.toys.values.tempered import quadratic_llc
from tests.problems import DUMMY, constant, regression

CURVATURES = np.array([0.003, 0.01, 0.1, 1.0])


def quadratic_estimate(**options):
    loss = constant(lambda w: 0.5 * jnp.sum(CURVATURES * w**2))
    settings = {"nbeta": 100, "localization": 1.0, "num_draws": 8000, "progress": False}
    return estimate_llc(loss, jnp.zeros(4), DUMMY, **(settings | options))


def test_sensitivities_and_heat_capacity_of_a_quadratic():
    estimate = quadratic_estimate()
    th = 100 * CURVATURES
    slope = 0.5 * np.sum(th / (th + 1) ** 2)
    capacity = 0.5 * np.sum((th / (th + 1)) ** 2)
    for found, exact in (
        (estimate.d_llc_d_log_nbeta, slope),
        (estimate.d_llc_d_log_localization, -slope),
        (estimate.heat_capacity, capacity),
    ):
        assert abs(found.value - exact) < 4 * found.se
        assert found.se < 0.1 * abs(exact) + 0.02


def test_heat_capacity_of_minibatches_carries_no_batch_noise():
    model, weights, data = regression(0, 20_000, 6)
    hessian = np.linalg.eigvalsh(data[0].T @ data[0] / 20_000)
    estimate = estimate_llc(model, weights, data, localization=1.0, num_draws=4000, progress=False)
    th = estimate.nbeta * hessian
    capacity = 0.5 * np.sum((th / (th + 1)) ** 2)
    assert abs(estimate.heat_capacity.value - capacity) < 4 * estimate.heat_capacity.se
    naive = estimate.nbeta**2 * estimate.energy.mean(-1).var()
    assert naive > 3 * capacity


def test_minibatch_heat_is_predicted_and_taken_out():
    model, weights, data = regression(1, 5000, 8)
    hessian = np.linalg.eigvalsh(data[0].T @ data[0] / 5000)
    posterior = local_posterior(model, weights, data, localization=1.0, batch_size=16)
    run = prepare_run(posterior, 0, None, kernel=baoab())
    ladder = Ladder(np.array([posterior.nbeta]), 16)
    warm = warm_up(run, ladder, num_warmup=1000, step_size=1e-3)
    visits = [look(run, warm.settings, warm.state.position, number) for number in range(50)]
    settings = {"localization": 1.0, "batch_size": 16, "num_draws": 8000, "num_chains": 16, "progress": False}
    estimate = estimate_llc(model, weights, data, step_size=1e-3, **settings)
    exact = quadratic_llc(hessian, nbeta=estimate.nbeta, localization=1.0)
    noise = monte_carlo_error(estimate.draws)
    heat = estimate.draws.mean() - exact
    assert heat > 6 * noise
    predicted = predicted_heat(visits, warm.reach[0], posterior.nbeta)
    assert 0.5 * heat < predicted < 1.5 * heat
    assert abs(estimate.llc - exact) < 3 * estimate.llc_se


def test_the_linear_control_lowers_the_error_and_keeps_the_mean():
    model, weights, data = regression(2, 200_000, 4)
    estimate = estimate_llc(model, weights, data, localization=1.0, num_draws=2000, progress=False)
    plain = estimate.nbeta * estimate.energy.mean(-1).astype(float)
    assert monte_carlo_error(estimate.draws) < 0.5 * monte_carlo_error(plain)
    assert abs(estimate.draws.mean() - plain.mean()) < 4 * monte_carlo_error(plain)


def test_controlled_leaves_a_series_without_noise_alone():
    series = np.random.default_rng(0).normal(size=(4, 50))
    np.testing.assert_array_equal(controlled(series, np.zeros_like(series)), series)


def test_without_its_linear_term_a_slope_has_the_coefficient_of_a_minimum():
    shift = np.array([1.0, -2.0, 0.5, 0.1])
    loss = constant(lambda w: 0.5 * jnp.sum(CURVATURES * (w - shift) ** 2))
    settings = {"nbeta": 100, "localization": 1.0, "num_draws": 4000, "progress": False}
    straight = estimate_llc(loss, jnp.zeros(4), DUMMY, linear=False, **settings)
    exact = quadratic_llc(CURVATURES, nbeta=100, localization=1.0)
    assert abs(straight.llc - exact) < 4 * straight.llc_se
    downhill = estimate_llc(loss, jnp.zeros(4), DUMMY, **settings)
    th = 100 * CURVATURES
    mean = th * shift / (th + 1)
    slid = exact + 100 * np.sum(0.5 * CURVATURES * ((mean - shift) ** 2 - shift**2))
    assert abs(downhill.llc - slid) < 4 * downhill.llc_se
    assert downhill.status is Status.negative
    assert downhill.gradient_contribution == pytest.approx(-100 * np.sum(CURVATURES * shift * mean), rel=0.02)


def test_minibatches_without_the_linear_term():
    model, weights, data = regression(3, 10_000, 5)
    hessian = np.linalg.eigvalsh(data[0].T @ data[0] / 10_000)
    estimate = estimate_llc(model, weights + 0.5, data, localization=10.0, linear=False, progress=False)
    exact = quadratic_llc(hessian, nbeta=estimate.nbeta, localization=10.0)
    assert abs(estimate.llc - exact) < 4 * estimate.llc_se
    assert estimate.llc_se < 0.1 * exact


def test_virial_and_prior_shares_of_an_equilibrated_quadratic():
    estimate = quadratic_estimate()
    assert estimate.virial_share == pytest.approx(1, abs=0.05)
    assert estimate.prior_share == pytest.approx(np.mean(1 / (100 * CURVATURES + 1)), rel=0.1)
    assert estimate.budget.spread < 0.02 * estimate.llc
    assert 0.9 < estimate.acceptance <= 1


def test_spread_is_the_move_along_log_localization():
    assert spread_error(2.0, -0.5, 5.0, 1.0, 6) == pytest.approx(0.5 * np.log(2))
    assert spread_error(2.0, -0.5, 6.2, 1.0, 6) == 0


def test_hot_and_cold_chains_meet_from_both_sides():
    loss = constant(lambda w: 0.5 * jnp.sum(w**2))
    settings = {"nbeta": 100, "localization": 1.0, "step_size": 2e-4, "num_chains": 128, "progress": False}
    early, late = (
        estimate_llc(loss, jnp.zeros(500), DUMMY, num_warmup=warmup, num_draws=8, **settings)
        for warmup in (200, 2000)
    )
    hot, exact = is_hot(128), quadratic_llc(np.ones(500), nbeta=100, localization=1.0)
    gap, error = hot_cold_gap(early.draws, hot)
    assert early.draws[~hot].mean() < exact < early.draws[hot].mean()
    assert gap > 4 * error
    assert early.budget.equilibration > 0.4 * gap
    gap, error = hot_cold_gap(late.draws, hot)
    assert abs(gap) < 3 * error


def test_monte_carlo_error_is_that_of_white_and_of_slow_chains():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(8, 4000))
    assert monte_carlo_error(white) == pytest.approx(1 / np.sqrt(32_000), rel=0.5)
    stuck = white + 3 * rng.normal(size=(8, 1))
    assert monte_carlo_error(stuck) == pytest.approx(stuck.mean(1).std(ddof=1) / np.sqrt(8))


def test_shared_noise_is_not_averaged_over_chains():
    rng = np.random.default_rng(1)
    shared = rng.normal(size=4000) + 0.01 * rng.normal(size=(8, 4000))
    assert monte_carlo_error(shared) == pytest.approx(1 / np.sqrt(4000), rel=0.2)


def test_a_gap_beyond_its_noise_enters_the_budget_by_half():
    rng = np.random.default_rng(2)
    hot = is_hot(8)
    apart = rng.normal(size=(8, 4000)) + np.where(hot, 2.0, 0.0)[:, None]
    assert equilibration_error(apart, hot) == pytest.approx(1.0, rel=0.05)
    assert ErrorBudget(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 3.0).total == pytest.approx(10.0)
    assert mixing(apart, hot).rhat > 1.2


def test_directions_that_have_not_spread_out_are_named_in_the_status():
    flat = constant(lambda w: 0.5 * w[0] ** 2 + 0.0 * w[1] + 0.0 * w[2])
    settings = {"nbeta": 1e4, "localization": 1e-2, "num_draws": 400, "num_warmup": 200, "progress": False}
    # A step size that is given keeps the coordinates of the weights, in which flat directions are slow.
    estimate = estimate_llc(flat, jnp.zeros(3), DUMMY, step_size=4e-5, **settings)
    assert estimate.virial_share < 0.75
    assert estimate.status is Status.unexplored
    assert "localization" in estimate.status.value


def test_a_chain_thrown_far_is_told_from_a_hot_one():
    """A draw of the posterior has nβ(L - L*) > 100(d + 10) with probability below exp(-90 d)."""
    ladder = Ladder(np.array([100.0]), 4)
    state = BaoabState(jnp.zeros((4, 3)), jnp.zeros((4, 3)))

    def trace(energy):
        columns = np.zeros((7, 4, 60))
        return Trace(Draws(np.broadcast_to(energy[:, None, None], (4, 60, 2)), *columns[1:]), {}, state, True)

    hot = np.array([0.0, 0.015, 0.06, 0.2])  # up to nβ(L - L*) = 20 at nβ = 100
    assert not flung(ladder, trace(hot))
    assert flung(ladder, trace(np.array([0.0, 0.015, 0.06, 14.0])))


def test_chains_that_are_far_from_equilibrium_are_told():
    """Such as one still on its way back: its virial is far above d, though R-hat and gap see only noise."""
    budget, mixed = ErrorBudget(50.0, 0, 0, 0, 0, 0, 0), Mixing(ess=2000, rhat=1.001, gap=10.0, gap_se=9.0)
    judged = [
        judge(60.0, budget, mixed, acceptance=1.0, virial_share=share, complete=True)
        for share in (0.7, 1.0, 1.4, 1.6, 1e4)
    ]
    assert [status.name for status in judged] == ["unexplored", "ok", "ok", *["not_equilibrated"] * 2]


def test_the_spread_error_is_no_more_than_the_largest_coefficient():
    """λ ≤ d/2: chains that drift make the sensitivity to γ, by which spread is judged, very large."""
    virial = 4.0
    assert spread_error(1e6, -1e6, virial, 2.0, 10) == 5.0
    assert spread_error(2.0, -1.0, virial, 2.0, 10) == pytest.approx(np.log1p(6 / 2))


def test_a_sensitivity_beyond_any_quadratics_is_noise():
    """Of ½ Σ h w² it is Σ -½ nβh γ/(nβh + γ)², which no h makes larger than λ = Σ ½ nβh/(nβh + γ)."""
    stiffness, gamma = np.geomspace(1e-6, 1e6, 1000), 1.0
    llc = np.sum(0.5 * stiffness / (stiffness + gamma))
    assert 0 < np.sum(0.5 * stiffness * gamma / (stiffness + gamma) ** 2) < llc
    assert spread_error(1.0, -1e3, 9.0, 9.0, 10) == pytest.approx(2 * np.log1p(1 / 9))


def test_large_losses_are_rounded_and_the_bar_says_so():
    """A constant does not change λ̂, but float32 leaves less of the rises: the error covers what it takes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 5)).astype(np.float32)
    y = (x.sum(1) + rng.normal(size=4000)).astype(np.float32)
    weights = np.linalg.lstsq(x, y, rcond=None)[0]
    loss = lambda shift: lambda w, batch: 0.5 * (batch[0] @ w - batch[1]) ** 2 + shift
    small, large = (
        estimate_llc(
            loss(shift), weights, (x, y), num_draws=500, num_warmup=300, num_chains=4, progress=False
        )
        for shift in (0.0, 1e6)
    )
    assert small.budget.rounding < 0.01 * small.llc
    assert abs(large.llc - small.llc) < 3 * np.hypot(large.llc_se, small.llc_se)
    coarse = estimate_llc(
        lambda w, batch: loss(16)(w, batch).astype(jnp.bfloat16),
        weights,
        (x, y),
        num_draws=500,
        num_warmup=300,
        num_chains=4,
        progress=False,
    )
    rounded = small.nbeta * 2.0**-7 * (small.init_loss + 16) / np.sqrt(6 * 4000)
    assert coarse.budget.rounding == pytest.approx(rounded, rel=0.02)
    expected = small.nbeta * 2.0**-23 * 1e6 / np.sqrt(6 * 4000)
    assert large.budget.rounding == pytest.approx(expected, rel=0.01)
