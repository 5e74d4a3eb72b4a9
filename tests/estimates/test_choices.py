"""What a user may choose: the kernel, a preconditioner, how much data anchors the gradient."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest

from lltc import InputError, behavioral, estimate_llc, reference_llc
from lltc.diagnostics.status import Status
from lltc.estimates.described_options import describe_option
from lltc.kernels import baoab, exchanging, ghmc, leimkuhler_matthews, mala, rmsprop, scheduled, sgnht
from lltc.models import numpyro_model, unconstrained
from lltc.toys.values.tempered import quadratic_llc
from tests.problems import DUMMY, constant, regression

CURVATURES = np.geomspace(0.01, 10, 6)
EXACT = quadratic_llc(CURVATURES, nbeta=1000, localization=1.0)
LOSS = constant(lambda w: 0.5 * jnp.sum(CURVATURES * w**2))


def run(**options):
    defaults = {"nbeta": 1000, "localization": 1.0, "progress": False}
    return estimate_llc(LOSS, jnp.zeros(6), DUMMY, **(defaults | options))


@pytest.mark.parametrize("kernel", [baoab(), ghmc(), leimkuhler_matthews(), mala(), sgnht()])
def test_every_kernel_finds_the_known_value_and_is_named(kernel):
    found = run(kernel=kernel)
    assert found.kernel == kernel.name
    assert abs(found.llc - EXACT) < 3.5 * found.llc_se
    assert found.llc_se < 0.05 * EXACT


def test_a_step_size_schedule_of_optax_serves_any_kernel():
    schedule = optax.linear_schedule(1.0, 0.3, 500)
    found = run(kernel=scheduled(baoab(), schedule), num_draws=4000)
    assert found.kernel == "scheduled baoab"
    assert abs(found.llc - EXACT) < 3.5 * found.llc_se


def test_a_thermostat_that_has_learned_the_noise_leaves_no_heat():
    model, weights, data = regression(0, 3000, 3)
    options = {"step_size": 1e-3, "batch_size": 16, "num_draws": 4000, "progress": False}
    learned, heated = (estimate_llc(model, weights, data, kernel=k, **options) for k in (sgnht(), baoab()))
    assert (learned.budget.heat, heated.budget.heat > 0) == (0.0, True)


def test_a_schedule_scales_the_heat_and_goes_on_after_warm_up():
    model, weights, data = regression(0, 3000, 3)
    options = {"batch_size": 16, "num_draws": 1000, "num_warmup": 200, "progress": False}
    tenth = scheduled(baoab(), optax.constant_schedule(0.1))
    one = estimate_llc(model, weights, data, kernel=tenth, step_size=1e-2, **options)
    other = estimate_llc(model, weights, data, kernel=baoab(), step_size=1e-3, **options)
    assert one.budget.heat == pytest.approx(other.budget.heat, rel=0.01)
    assert one.llc == pytest.approx(other.llc, rel=0.01)
    late = scheduled(baoab(), lambda count: jnp.where(count < 200, 1e-3, 1.0))
    going_on = estimate_llc(model, weights, data, kernel=late, step_size=1e-3, **options)
    assert going_on.energy[:, 100:200].mean() > 0.5 * other.energy.mean()


def test_exchange_is_no_kernel_to_be_passed():
    with pytest.raises(InputError, match="replicas need temperatures that are measured for them"):
        run(kernel=exchanging(ghmc(), 2))


def test_steps_that_do_not_move_are_not_ok():
    assert run(step_size=1e-20, num_draws=200).status is not Status.ok
    assert run(kernel=ghmc(), step_size=100.0, num_draws=200).status is Status.too_coarse


def test_functions_that_cannot_be_hashed_serve():
    @dataclass
    class Norm:
        scale: float

        def __call__(self, params):
            return self.scale * jnp.sum(params**2)

    assert run(observables={"norm": Norm(2.0)}, num_draws=64).observables["norm"].shape == (8, 4)

    @dataclass
    class Outputs:
        scale: float

        def __call__(self, params, batch):
            return self.scale * params[None, :1] * batch[:, None]

    loss = behavioral(Outputs(2.0), "squared")
    few = {"nbeta": 9.0, "num_draws": 64, "num_warmup": 64, "progress": False}
    assert estimate_llc(loss, jnp.ones(2), jnp.ones(30), **few).llc >= 0


def test_rmsprop_biases_the_estimate_and_needs_a_step_size():
    with pytest.raises(InputError, match="step_size"):
        run(kernel=rmsprop())
    found = [run(kernel=rmsprop(), step_size=1e-4, num_draws=16_000, key=key).llc for key in range(5)]
    assert np.mean(found) > EXACT + 3 * np.std(found, ddof=1) / np.sqrt(5)


def test_a_corrected_kernel_is_refused_on_minibatches():
    model, weights, data = regression(0, 3000, 3)
    with pytest.raises(InputError, match="batch_size=3000"):
        estimate_llc(model, weights, data, kernel=ghmc(), progress=False)
    found = estimate_llc(model, weights, data, kernel=mala(), batch_size=3000, num_draws=200, progress=False)
    assert found.kernel == "mala"


@pytest.mark.parametrize("kernel", ["baoab", baoab, 3])
def test_what_is_no_kernel_is_refused_in_one_sentence(kernel):
    with pytest.raises(InputError, match=r"kernel must be one of lltc\.kernels"):
        run(kernel=kernel)


@pytest.mark.parametrize("transformation", [optax.scale_by_rms(0.99), optax.scale_by_adam(b2=0.99)])
def test_an_optax_preconditioner_speeds_up_the_slow_directions(transformation):
    # A localization at which steps in the coordinates of the weights do for lack of better ones.
    options = {"kernel": leimkuhler_matthews(), "num_draws": 4000, "num_chains": 16, "localization": 50.0}
    plain, scaled = run(**options), run(preconditioner=transformation, **options)
    exact = quadratic_llc(CURVATURES, nbeta=1000, localization=50.0)
    assert abs(scaled.llc - exact) < 3.5 * scaled.llc_se
    slow = lambda found: np.abs(
        np.corrcoef(found.distance[:, :-200].ravel(), found.distance[:, 200:].ravel())[0, 1]
    )
    assert slow(scaled) < 0.7 * slow(plain)


def test_a_transformation_without_second_moment_is_refused():
    with pytest.raises(InputError, match="second moment"):
        run(preconditioner=optax.sgd(0.1), num_draws=10, num_warmup=100)


def test_an_anchor_from_part_of_the_data_is_paid_for_in_the_budget():
    model, weights, data = regression(5, 50_000, 8)
    options = {"nbeta": 1000.0, "localization": 1.0, "progress": False}
    exact = quadratic_llc(np.linalg.eigvalsh(data[0].T @ data[0] / 50_000), nbeta=1000.0, localization=1.0)
    found = [estimate_llc(model, weights, data, anchor_examples=500, key=key, **options) for key in range(6)]
    z = np.array([(f.llc - exact) / f.llc_se for f in found])
    off = np.array([f.llc - exact for f in found])
    assert np.max(np.abs(off)) > 0.5
    assert np.all([f.budget.anchor > f.budget.monte_carlo for f in found])
    assert np.sqrt(np.mean(z**2)) < 2
    whole = estimate_llc(model, weights, data, **options)
    assert whole.budget.anchor == 0
    assert abs(whole.llc - exact) < 3.5 * whole.llc_se


@pytest.mark.parametrize("examples", [0, 1, -5, 2.5, True])
def test_anchor_examples_are_checked(examples):
    with pytest.raises(InputError, match="anchor_examples"):
        run(anchor_examples=examples)


def test_a_numpyro_program_is_estimated_in_unconstrained_space():
    rng = np.random.default_rng(0)
    x = rng.normal(size=600).astype(np.float32)
    y = (1.5 * x - 0.5 + 0.7 * rng.normal(size=600)).astype(np.float32)

    def line(x, y):
        slope = numpyro.sample("slope", dist.Normal(0.0, 10.0))
        offset = numpyro.sample("offset", dist.Normal(0.0, 10.0))
        sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
        with numpyro.plate("data", x.shape[0]):
            numpyro.sample("y", dist.Normal(slope * x + offset, sigma), obs=y)

    slope, offset = np.polyfit(x, y, 1)
    sigma = float(np.std(y - slope * x - offset))
    point = unconstrained(line, {"slope": slope, "offset": offset, "sigma": sigma}, (x, y))
    found = estimate_llc(numpyro_model(line), point, (x, y), localization=1.0, progress=False)
    exact = reference_llc(numpyro_model(line), point, (x, y), localization=1.0)
    assert abs(found.llc - exact.llc) < 3.5 * np.hypot(found.llc_se, exact.llc_se)
    assert found.llc == pytest.approx(1.5, abs=0.1)


def test_a_sweep_tells_kernels_and_preconditioners_apart():
    schedules = [scheduled(baoab(), optax.linear_schedule(1.0, end, 500)) for end in (0.3, 0.2, 0.3)]
    first, other, again = (describe_option(kernel) for kernel in schedules)
    assert first == again != other
    assert describe_option(optax.scale_by_rms(0.99)) != describe_option(optax.scale_by_rms(0.9))
    assert describe_option(baoab()) != describe_option(ghmc())


def test_a_second_checkpoint_compiles_nothing():
    model, weights, data = regression(0, 2000, 3)
    quick = {"num_draws": 400, "num_warmup": 200, "progress": False}
    compiled = []

    def watch(event: str, duration_secs: float, **_: str | int) -> None:
        del duration_secs
        compiled.extend([event] if "backend_compile" in event else [])

    estimate_llc(model, weights, data, **quick)
    jax.monitoring.register_event_duration_secs_listener(watch)
    estimate_llc(model, 0.9 * weights, data, **quick)
    assert compiled == []
    estimate_llc(model, weights, data, num_chains=6, **quick)
    assert compiled != []
