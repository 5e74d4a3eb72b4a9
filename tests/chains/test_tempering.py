"""Ladders of temperatures: spaced evenly, only where few rungs are enough, and far arms found by them."""

from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lltc
from lltc import Status, estimate_llc, estimate_llc_ladder
from lltc.chains.cost import measure_footprint
from lltc.chains.steps import OBSERVE_EVERY
from lltc.chains.tempering import (
    MOST_BARRIER,
    RUNGS,
    TUNING_STEPS,
    barrier,
    expected_arrivals,
    measure_prior_rise,
    respace,
    temper,
)
from lltc.estimates import estimator, exchange
from lltc.estimates.estimator import TYPICAL_WARMUP, draw_estimates, prepare_run
from lltc.estimates.exchange import MOST_CHEAP_DRAWS
from lltc.estimates.options import complete
from lltc.estimates.progress import Progress
from lltc.kernels import ghmc
from lltc.posterior.target import local_posterior
from lltc.toys import crossing_llc, quadratic_llc
from tests.problems import DUMMY, constant

NBETA = 1e5
SETTINGS: dict[str, Any] = {"nbeta": NBETA, "localization": 1.0, "progress": False}
CUSP = constant(lambda w: (w[0] ** 2 + w[1] ** 3) ** 2)
LINES = constant(lambda w: w[0] ** 2 * w[1] ** 6)
# By the trapezoidal rule over y for every x, on points graded towards each root of the polynomial.
CUSP_LLC = {1e3: 0.37404, 1e4: 0.38474, 1e5: 0.39209}
VALLEYS = pytest.mark.parametrize(
    ("loss", "value"),
    [(CUSP, CUSP_LLC[NBETA]), (LINES, crossing_llc([1, 3], nbeta=NBETA, localization=1.0))],
    ids=["cusp", "lines"],
)
SHARES = st.lists(st.floats(0, 1), min_size=2, max_size=12)


def prepared(loss, num_params, key=0):
    posterior = local_posterior(loss, jnp.zeros(num_params), DUMMY, nbeta=NBETA, localization=1.0)
    return prepare_run(posterior, key, None, kernel=ghmc())


@given(SHARES, st.floats(1e-6, 1e2))
def test_respacing_keeps_ends_and_order(shares, lowest):
    rungs = np.append(0.0, np.geomspace(lowest, 1e5, len(shares)))
    spaced = respace(rungs, np.array(shares))
    assert (spaced[0], spaced[-1]) == (rungs[0], rungs[-1])
    assert np.all(np.diff(spaced) > 0)


def test_evenly_spaced_rungs_stay():
    rungs = np.append(0.0, np.geomspace(0.1, 1e3, 5))
    np.testing.assert_allclose(respace(rungs, np.full(5, 0.3)), rungs)


def test_few_rungs_lead_to_a_valley_and_many_to_a_broad_minimum():
    """What is refused on the way grows with √λ."""
    valley, broad = prepared(CUSP, 2), prepared(constant(lambda w: 0.5 * jnp.sum(w**2)), 40)
    rises = [measure_prior_rise(run, 8) for run in (valley, broad)]
    assert barrier(0.39, NBETA, rises[0]) < MOST_BARRIER < barrier(20.0, NBETA, rises[1])
    assert barrier(-1.0, NBETA, rises[1]) == np.inf
    assert rises[1] == pytest.approx(20, rel=0.1)


def test_a_tuned_ladder_refuses_evenly():
    run = prepared(CUSP, 2)
    prior_rise = measure_prior_rise(run, 8)
    ladder = temper(run, jnp.zeros((8, 2)), 1e-4, prior_rise, targets=np.array([NBETA]), first=1)
    assert ladder is not None
    assert ladder.ladder.rungs[0] == 0
    assert ladder.ladder.rungs[-1] == pytest.approx(NBETA)
    assert 0.1 < ladder.rejection.min() <= ladder.rejection.max() < 0.75
    assert ladder.rejection.sum() == pytest.approx(barrier(0.39, NBETA, prior_rise), rel=0.5)


def test_arrivals_before_the_first_draw_do_not_count():
    run, target = prepared(CUSP, 2), np.array([NBETA])
    tempered = temper(run, jnp.zeros((8, 2)), 1e-4, measure_prior_rise(run, 8), targets=target, first=1)
    assert tempered is not None
    np.testing.assert_array_equal(tempered.state.arrivals, np.zeros(8))
    later = tempered.sample(tempered.state, first=1 + TUNING_STEPS, count=2000).state
    assert later.arrivals.sum() > 0


@VALLEYS
@pytest.mark.parametrize("key", range(3))
def test_far_arms_of_narrow_valleys_are_found(loss, value, key):
    estimate = estimate_llc(loss, jnp.zeros(2), DUMMY, key=key, **SETTINGS)
    assert abs(estimate.llc - value) < 3.5 * estimate.llc_se
    assert estimate.llc_se < 0.1 * value
    assert estimate.status is Status.ok
    assert estimate.num_rungs == RUNGS
    assert estimate.arrivals >= 50
    assert estimate.evaluations <= 8 * (TYPICAL_WARMUP + MOST_CHEAP_DRAWS)
    assert "9 rungs" in estimate.summary()


@pytest.mark.parametrize("key", range(2))
def test_a_long_warm_up_leaves_replicas_their_draws(monkeypatch, key):
    monkeypatch.setattr(exchange, "MOST_CHEAP_DRAWS", 20_000)
    estimate = estimate_llc(CUSP, jnp.zeros(2), DUMMY, key=key, num_warmup=20_000, **SETTINGS)
    assert estimate.num_rungs == RUNGS
    assert estimate.status is not Status.interrupted
    assert np.isfinite(estimate.llc)
    assert 20_000 < estimate.evaluations / 8 <= 40_000


def test_the_bar_holds_the_steps_of_exchange_before_they_are_made(monkeypatch):
    told = []

    class Told(Progress):
        def advance(self, steps):
            told.append(-steps)
            super().advance(steps)

        def extend(self, steps):
            told.append(steps)
            super().extend(steps)

    monkeypatch.setattr(estimator, "Progress", Told)
    estimate = estimate_llc(CUSP, jnp.zeros(2), DUMMY, num_draws=1000, **SETTINGS)
    assert estimate.num_rungs == RUNGS
    longer = [place for place, steps in enumerate(told) if steps > 0]
    parts = [told[low:high] for low, high in pairwise([*longer, len(told)])]
    assert [sum(part) for part in parts] == [0, 0]
    assert sum(told[longer[-1] :][1:]) == -1000


def test_memory_does_not_decide_whether_replicas_exchange():
    """Enough for all chains at once is not enough for nine times as many: yet the numbers are the same."""
    options: dict[str, Any] = SETTINGS | {"num_draws": 1000}
    memory = measure_footprint(prepared(CUSP, 2).posterior).total(8, len(DUMMY))
    lean, plenty = (
        estimate_llc(CUSP, jnp.zeros(2), DUMMY, memory=size, **options) for size in (memory, "1 GB")
    )
    assert lean.num_rungs == plenty.num_rungs == RUNGS
    np.testing.assert_allclose(lean.llc, plenty.llc)


@VALLEYS
@pytest.mark.parametrize("key", range(3))
def test_far_arms_are_found_within_the_draws_asked_for(loss, value, key):
    estimate = estimate_llc(loss, jnp.zeros(2), DUMMY, key=key, num_draws=4000, **SETTINGS)
    assert (estimate.num_draws, estimate.num_rungs) == (4000, RUNGS)
    assert abs(estimate.llc - value) < 3.5 * estimate.llc_se
    assert estimate.llc_se < 0.15 * value
    assert estimate.status is Status.ok
    refused = barrier(value, NBETA, measure_prior_rise(prepared(loss, 2, key), 8))
    assert 0.4 < estimate.arrivals / expected_arrivals(4000, 8, refused) < 2.5


def test_too_few_draws_for_arrivals_are_those_of_plain_chains_and_not_ok():
    loss = constant(lambda w: w[0] ** 4 + w[1] ** 2)
    options: dict[str, Any] = SETTINGS | {"nbeta": 1e3, "num_draws": 400}
    estimate = estimate_llc(loss, jnp.zeros(2), DUMMY, **options)
    plain = estimate_llc(loss, jnp.zeros(2), DUMMY, kernel=ghmc(), **options)
    assert (estimate.num_rungs, estimate.status, plain.status) == (1, Status.few_draws, Status.ok)
    np.testing.assert_array_equal(estimate.draws, plain.draws)
    assert estimate.llc == plain.llc


@pytest.mark.parametrize("key", range(2))
def test_far_arms_are_found_at_every_temperature_of_a_ladder(key):
    """Every nβ is a rung beside the nine; the slope is that of the exact values."""
    nbeta, values = np.array([*CUSP_LLC]), np.array([*CUSP_LLC.values()])
    options: dict[str, Any] = SETTINGS | {"nbeta": nbeta, "num_draws": 4000}
    ladder = estimate_llc_ladder(CUSP, jnp.zeros(2), DUMMY, key=key, **options)
    assert np.all(np.abs(ladder.llc - values) < 3.5 * ladder.llc_se)
    assert np.all(ladder.llc_se < 0.15 * values)
    assert all(estimate.status is Status.ok for estimate in ladder.estimates)
    assert all(estimate.num_rungs == RUNGS + 2 for estimate in ladder.estimates)
    slope = np.polyfit(1 / nbeta, values / nbeta, 1, w=nbeta)[0]
    assert abs(ladder.slope.value - slope) < 3.5 * ladder.slope.se


def test_a_ladder_through_several_targets_gives_back_their_chains():
    run, targets = prepared(CUSP, 2), np.array([1e2, 1e3, NBETA])
    tempered = temper(run, jnp.zeros((8, 2)), 1e-4, measure_prior_rise(run, 8), targets=targets, first=1)
    assert tempered is not None
    assert len(tempered.ladder.rungs) == RUNGS + 2
    np.testing.assert_allclose(tempered.target.nbeta, np.repeat(targets, 8), rtol=1e-6)
    trace = tempered.sample(tempered.state, first=5000, count=32)
    heights = trace.draws.energy.mean((1, 2)).reshape(3, 8).mean(1)
    assert np.all(np.diff(heights) < 0)


def test_endless_arms_are_not_ok():
    """At γ = 0 x² + y³ = f(s³x, s²y)/s⁶ makes λ̂ 5/12 at any nβ, and far arms hold much of the mass."""
    options: dict[str, Any] = SETTINGS | {"localization": 0.0, "num_draws": 2000}
    estimates = [estimate_llc(CUSP, jnp.zeros(2), DUMMY, key=key, **options) for key in range(4)]
    calm = [estimate for estimate in estimates if estimate.status is Status.ok]
    assert len(calm) <= 1
    assert all(abs(estimate.llc - 5 / 12) < 3.5 * estimate.llc_se for estimate in calm)


@pytest.mark.parametrize("key", range(2))
def test_without_a_prior_an_end_of_the_minimum_is_enough(key):
    """At γ = 0 the powers x⁴ + y⁴ make λ̂ ½ at any nβ."""
    loss = constant(lambda w: jnp.sum(w**4))
    options: dict[str, Any] = SETTINGS | {"localization": 0.0, "num_draws": 8000}
    estimate = estimate_llc(loss, jnp.zeros(2), DUMMY, key=key, **options)
    assert (estimate.num_rungs, estimate.status) == (1, Status.ok)
    assert abs(estimate.llc - 0.5) < 3.5 * estimate.llc_se


@pytest.mark.parametrize("key", range(2))
def test_a_deeper_region_beyond_a_barrier_is_told_and_left_out(key):
    """Replicas find the pit that chains around the crossing lines do not come to."""
    loss = constant(lambda w: w[0] ** 2 * w[1] ** 6 - 0.2 * jnp.exp(-jnp.sum((w - 0.8) ** 2) / 0.02))
    estimate = estimate_llc(loss, jnp.zeros(2), DUMMY, key=key, **SETTINGS)
    assert estimate.status is Status.unexplored
    assert any(finding.startswith("deeper region: ") for finding in estimate.findings)
    # Without exchange the lines' far ends may be missed.
    assert abs(estimate.llc / crossing_llc([1, 3], nbeta=NBETA, localization=1.0) - 1) < 0.1


def observed(loss, **options):
    """Return the estimate of an observed run, the positions `(draw, chain, d)` told, and their rises."""
    told = []
    posterior = local_posterior(loss, jnp.zeros(2), DUMMY, nbeta=NBETA, localization=1.0)
    settings = complete("probe", {"progress": False, **options})
    (estimate,) = draw_estimates(
        posterior, np.array([NBETA]), settings, observe=lambda positions: told.append(np.array(positions))
    )
    rises = [[float(loss(point, DUMMY)[0]) for point in positions] for positions in told]
    return estimate, np.array(told), np.array(rises) - float(loss(jnp.zeros(2), DUMMY)[0])


@VALLEYS
def test_an_observer_reads_the_replicas_that_make_the_estimate(loss, value):
    estimate, positions, rises = observed(loss, num_draws=4000)
    plain = estimate_llc(loss, jnp.zeros(2), DUMMY, num_draws=4000, **SETTINGS)
    assert estimate.num_rungs == RUNGS
    assert estimate.llc == plain.llc
    assert positions.shape == (4000 // OBSERVE_EVERY, 8, 2)
    # Few readings of a long series: its error is several times that of all draws.
    assert abs(NBETA * rises.mean() - value) < 0.25 * value


def test_an_observer_is_not_told_of_a_deeper_region():
    loss = constant(lambda w: w[0] ** 2 * w[1] ** 6 - 0.2 * jnp.exp(-jnp.sum((w - 0.8) ** 2) / 0.02))
    estimate, positions, rises = observed(loss)
    assert estimate.status is Status.unexplored
    assert abs(len(positions) - estimate.num_draws // OBSERVE_EVERY) <= 1
    assert NBETA * rises.min() > -10


def test_a_reading_of_a_narrow_valley_is_not_ok(tmp_path):
    record = lltc.read(CUSP, jnp.zeros(2), DUMMY, store=tmp_path, num_draws=1024, **SETTINGS)
    assert record.estimate.status is Status.unexplored
    assert any(finding.startswith("narrow valley: ") for finding in record.estimate.findings)


def test_a_regular_minimum_needs_no_exchange():
    curvatures = np.array([1.0, 3.0])
    loss = constant(lambda w: 0.5 * jnp.sum(curvatures * w**2))
    options: dict[str, Any] = SETTINGS | {"nbeta": 100}
    estimate = estimate_llc(loss, jnp.zeros(2), DUMMY, **options)
    value = quadratic_llc(curvatures, nbeta=100, localization=1.0)
    assert abs(estimate.llc - value) < 3.5 * estimate.llc_se
    assert estimate.llc_se < 0.02 * value
    assert estimate.num_rungs == 1


@pytest.mark.parametrize(
    "options",
    [{"localization": 0.0}, {"kernel": ghmc()}],
    ids=["no prior", "kernel given"],
)
def test_without_a_prior_or_with_a_choice_nothing_is_exchanged(options):
    loss = constant(lambda w: w[0] ** 4 + w[1] ** 2)
    estimate = estimate_llc(loss, jnp.zeros(2), DUMMY, **(SETTINGS | {"target_rel_se": 0.1} | options))
    assert (estimate.num_rungs, estimate.kernel) == (1, "ghmc")


def test_the_same_key_gives_the_same_numbers_and_observables_follow():
    options = SETTINGS | {"target_rel_se": 0.2, "observables": {"square": lambda w: w @ w}}
    first, again = (estimate_llc(LINES, jnp.zeros(2), DUMMY, key=5, **options) for _ in range(2))
    np.testing.assert_array_equal(first.draws, again.draws)
    assert first.num_rungs == RUNGS
    every = first.observables["square"].shape[1]
    assert every == -(-first.num_draws // 16)


@pytest.mark.parametrize(("center", "linear"), [(0.0, True), (0.3, True), (0.3, False)])
def test_a_parabola_has_no_far_arms(center, linear):
    """Flat directions make λ less than d/2; on a slope the identity of virial and rise holds all the same."""
    curvatures = np.array([0.01, 0.1, 10.0])
    loss = constant(lambda w: 0.5 * jnp.sum(curvatures * (w - center) ** 2))
    options: dict[str, Any] = SETTINGS | {"nbeta": 100, "linear": linear}
    estimate = estimate_llc(loss, jnp.zeros(3), DUMMY, **options)
    assert estimate.num_rungs == 1
    assert estimate.llc_se < 0.02 * abs(estimate.llc)


def test_an_exchange_that_is_stopped_at_once_keeps_what_was_drawn(monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lltc.chains.tempering.sample", stop)
    estimate = estimate_llc(CUSP, jnp.zeros(2), DUMMY, **SETTINGS)
    assert estimate.status is Status.interrupted
    assert estimate.num_draws == 1000
