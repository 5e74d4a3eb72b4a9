"""The estimator against known values, its invariances, and what it does when chains fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc import LLCEstimate, Status, estimate_llc
from lltc.estimates.exchange import MOST_CHEAP_DRAWS
from lltc.report.wording import measured
from lltc.toys.values.tempered import quadratic_llc, quartic_llc, squared_product_llc
from tests.problems import DUMMY, balanced, constant, linear_loss, regression

QUICK = {"num_draws": 400, "num_warmup": 200, "progress": False}


def run(*arguments, **options) -> LLCEstimate:
    return estimate_llc(*arguments, **({"progress": False} | options))


def within(estimate: LLCEstimate, value: float, *, errors: float = 3.5, other_error: float = 0.0) -> bool:
    return abs(estimate.llc - value) < errors * np.hypot(estimate.llc_se, other_error)


def test_quadratic():
    curvatures = np.array([1.0, 3.0, 10.0, 0.01])
    loss = constant(lambda w: 0.5 * jnp.sum(curvatures * w**2))
    estimate = run(loss, jnp.zeros(4), DUMMY, nbeta=100, localization=1)
    assert estimate.status is Status.ok
    assert within(estimate, quadratic_llc(curvatures, nbeta=100, localization=1))
    assert estimate.llc_se < 0.05 * estimate.llc


@pytest.mark.parametrize("nbeta", [10, 100, 1e4])
def test_quartic(nbeta):
    estimate = run(constant(lambda w: w[0] ** 4), jnp.zeros(1), DUMMY, nbeta=nbeta, localization=1)
    assert within(estimate, quartic_llc(nbeta=nbeta, localization=1))
    assert estimate.llc_se < 0.1 * estimate.llc


@pytest.mark.parametrize("nbeta", [10, 100, 1e4])
def test_crossing_valleys(nbeta):
    loss = constant(lambda w: w[0] ** 2 * w[1] ** 2)
    estimate = run(loss, jnp.zeros(2), DUMMY, nbeta=nbeta, localization=1)
    assert within(estimate, squared_product_llc(nbeta=nbeta, localization=1))
    assert estimate.llc_se < 0.15 * estimate.llc


@pytest.mark.parametrize(("rank", "value"), [(0, 6.22), (1, 7.85), (2, 9.29), (3, 10.49)])
def test_two_layer_linear_network_at_each_rank(rank, value):
    params, data = balanced(rank)
    estimate = run(linear_loss, params, data, nbeta=1e3, localization=1)
    assert within(estimate, value, other_error=0.01)
    assert estimate.llc_se < 0.03 * value


def test_minibatches_of_a_noisy_regression():
    model, weights, data = regression(0, 20_000, 10)
    hessian = np.asarray(data[0]).T @ np.asarray(data[0]) / 20_000
    estimate = run(model, weights, data, localization=10.0)
    exact = quadratic_llc(np.linalg.eigvalsh(hessian), nbeta=estimate.nbeta, localization=10.0)
    assert estimate.nbeta == pytest.approx(20_000 / np.log(20_000))
    assert within(estimate, exact)
    assert estimate.llc_se < 0.05 * exact


def test_behavioral_loss_makes_any_point_a_minimum():
    rng = np.random.default_rng(0)
    params, (x, _) = balanced(1)
    params = {
        name: value + 0.3 * rng.normal(size=value.shape).astype(np.float32) for name, value in params.items()
    }
    apply = lambda p, inputs: inputs @ p["first"] @ p["second"]
    estimate = run(lltc.behavioral(apply, "squared"), params, x, nbeta=1e3, localization=1)
    target = params["first"] @ params["second"]
    direct = run(linear_loss, params, (x, x @ target), nbeta=1e3, localization=1)
    assert estimate.init_loss == 0
    assert within(estimate, direct.llc, other_error=direct.llc_se)


def test_same_key_same_numbers_and_another_key_others():
    model, weights, data = regression(1, 2000, 3)
    first, again, other = (run(model, weights, data, key=key, **QUICK) for key in (5, jax.random.key(5), 6))
    np.testing.assert_array_equal(first.draws, again.draws)
    assert first.llc != other.llc


def test_array_params_and_dict_params_give_the_same_numbers():
    model, weights, data = regression(1, 2000, 3)
    array = run(model, weights, data, **QUICK)
    mapped = run(lambda p, batch: model(p["w"], batch), {"w": weights}, data, **QUICK)
    np.testing.assert_array_equal(array.draws, mapped.draws)


def test_doubled_loss_at_half_nbeta_is_the_same_bit_for_bit():
    model, weights, data = regression(2, 2000, 3)
    single = run(model, weights, data, nbeta=100.0, **QUICK)
    double = run(lambda w, batch: 2 * model(w, batch), weights, data, nbeta=50.0, **QUICK)
    assert single.llc == double.llc
    np.testing.assert_array_equal(single.draws, double.draws)


def test_masked_equals_lower_dimensional():
    model, weights, data = regression(3, 1500, 4)
    x, y = data
    rest = x[:, 2:] @ weights[2:]
    small = lambda w, batch: 0.5 * (batch[0] @ w + batch[1] - batch[2]) ** 2
    masked = run(model, weights, data, restrict=lambda _, leaf: np.arange(leaf.size) < 2, localization=1.0)
    lower = run(small, weights[:2], (x[:, :2], rest, y), localization=1.0)
    assert masked.num_params == lower.num_params == 2
    assert abs(masked.llc - lower.llc) < 3.5 * np.hypot(masked.llc_se, lower.llc_se)


def test_restriction_by_glob_holds_the_rest_at_the_checkpoint():
    params, data = balanced(2)
    loss = lambda p, batch: linear_loss(p, batch)
    estimate = run(loss, params, data, restrict="second", nbeta=1e3, localization=1)
    assert estimate.num_params == 15
    assert within(estimate, quadratic_llc(np.repeat([1.0, 1.0, 0.0], 5), nbeta=1e3, localization=1))


def test_mean_loss_agrees_with_per_example_losses():
    model, weights, data = regression(4, 3000, 3)
    single = run(model, weights, data, **QUICK)
    mean = run(lambda w, batch: model(w, batch).mean(), weights, data, **QUICK)
    np.testing.assert_allclose(mean.llc, single.llc, rtol=1e-3)


def test_a_source_read_from_the_host_gives_the_same_numbers(tmp_path):
    model, weights, (x, y) = regression(5, 3000, 3)
    table = np.memmap(tmp_path / "rows", dtype=np.float32, mode="w+", shape=(3000, 4))
    table[:] = np.column_stack([x, y])
    host = run(lambda w, rows: model(w, (rows[:, :3], rows[:, 3])), weights, table, **QUICK)
    device = run(model, weights, (x, y), **QUICK)
    np.testing.assert_allclose(host.draws, device.draws, rtol=1e-4, atol=1e-5)


def test_observables_are_recorded_along_the_chains():
    loss = constant(lambda w: 0.5 * jnp.sum(w**2))
    estimate = run(
        loss, jnp.zeros(2), DUMMY, nbeta=50, localization=1, observables={"square": lambda w: w @ w}, **QUICK
    )
    assert estimate.observables["square"].shape == (8, 25)
    np.testing.assert_allclose(estimate.observables["square"], estimate.distance[:, ::16][:, :25], rtol=1e-5)


def test_fewer_draws_than_chains_are_saved_without_a_warning(tmp_path):
    """Observables are read every 16th draw, hence fewer of them than chains even in a run of 64 draws."""
    model, weights, data = regression(6, 500, 2)
    settings = {"num_draws": 64, "num_warmup": 64, "observables": {"norm": lambda w: jnp.sum(w**2)}}
    estimate = run(model, weights, data, **settings)
    assert estimate.observables["norm"].shape == (8, 4)
    estimate.save(tmp_path / "short.nc")
    loaded = LLCEstimate.load(tmp_path / "short.nc")
    np.testing.assert_array_equal(loaded.observables["norm"], estimate.observables["norm"])


def test_observables_of_every_type_are_saved(tmp_path):
    """Truth values stay what they are; floats that NumPy lacks keep their values in wider ones."""
    observables = {
        "up": lambda w: w > 0,
        "coarse": lambda w: w.astype(jnp.bfloat16),
        "count": lambda w: jnp.sum(w > 0),
        "complex": lambda w: w + 1j * w,
    }
    loss, few = constant(lambda w: 0.5 * jnp.sum(w**2)), {"num_draws": 64, "num_warmup": 16}
    estimate = run(loss, jnp.zeros(2), DUMMY, nbeta=50, localization=1, observables=observables, **few)
    estimate.save(tmp_path / "estimate.nc")
    loaded = LLCEstimate.load(tmp_path / "estimate.nc").observables
    assert loaded["up"].dtype == bool
    for name, values in estimate.observables.items():
        wide = np.float32 if name == "coarse" else values.dtype
        np.testing.assert_array_equal(loaded[name], values.astype(wide))


def test_draws_until_the_error_is_small_enough_twice_in_a_row():
    loss = constant(lambda w: w[0] ** 4 + w[1] ** 2)
    settings = {"nbeta": 100, "localization": 1, "kernel": lltc.kernels.ghmc()}
    coarse, fine = (run(loss, jnp.zeros(2), DUMMY, target_rel_se=at, **settings) for at in (0.2, 0.01))
    assert coarse.num_draws == 2000 < fine.num_draws
    assert fine.llc_se <= 0.01 * fine.llc or fine.num_draws == MOST_CHEAP_DRAWS


def test_draws_no_more_than_the_error_is_expected_to_need():
    """Half as many draws again should take a tenth off an error, not the twice as many of doubling."""
    loss = constant(lambda w: w[0] ** 4 + w[1] ** 2)
    problem = (loss, jnp.zeros(2), np.zeros(2048, np.float32))
    first = run(*problem, num_draws=1000)
    found = run(*problem, target_rel_se=0.9 * first.llc_se / first.llc)
    assert 1400 <= found.num_draws < 2000
    assert found.llc_se <= 0.9 * first.llc_se / first.llc * found.llc


def test_draws_until_flat_directions_are_explored():
    """Chains spread slowly around a circle, on which the loss is flat: that takes longer than precision."""
    loss = constant(lambda w: (w[0] ** 2 + w[1] ** 2 - 16) ** 2 / 16)
    settings = {"nbeta": 100, "localization": 1, "kernel": lltc.kernels.ghmc()}
    short = [run(loss, jnp.array([4.0, 0.0]), DUMMY, num_draws=1000, key=key, **settings) for key in range(3)]
    assert all(found.llc_se < 0.2 * found.llc for found in short)
    assert any(found.virial_share < 0.9 for found in short)
    long = [
        run(loss, jnp.array([4.0, 0.0]), DUMMY, target_rel_se=0.2, key=key, **settings) for key in range(3)
    ]
    assert all(estimate.virial_share >= 0.9 for estimate in long)
    assert max(estimate.num_draws for estimate in long) > 2000


def test_virial_identity_holds():
    loss = constant(lambda w: 0.5 * w[0] ** 2 + w[1] ** 4 + 3 * w[2] ** 2)
    estimate = run(loss, jnp.zeros(3), DUMMY, nbeta=10, localization=1, num_draws=8000)
    total = 10 * estimate.virial + 1.0 * estimate.distance
    error = total.mean(1).std(ddof=1) / np.sqrt(8)
    assert abs(total.mean() - 3) < 4 * error
    assert error < 0.1


def test_datatree_and_file_load_back_identical(tmp_path):
    model, weights, data = regression(6, 500, 2)
    estimate = run(model, weights, data, observables={"norm": lambda w: jnp.sum(w**2)}, **QUICK)
    estimate.save(tmp_path / "estimate.nc")
    for back in (
        LLCEstimate.from_datatree(estimate.to_datatree()),
        LLCEstimate.load(tmp_path / "estimate.nc"),
    ):
        assert repr(back) == repr(estimate)
        assert back.summary() == estimate.summary()
        for name in ("draws", "energy", "distance", "virial"):
            np.testing.assert_array_equal(getattr(back, name), getattr(estimate, name))
        np.testing.assert_array_equal(back.observables["norm"], estimate.observables["norm"])


def test_repr_is_one_line_and_summary_names_the_status():
    estimate = run(constant(lambda w: 0.5 * w @ w), jnp.zeros(2), DUMMY, nbeta=9, localization=1, **QUICK)
    assert "\n" not in repr(estimate)
    assert repr(estimate).startswith(f"LLCEstimate(llc {measured(estimate.llc, estimate.llc_se)}, ")
    assert estimate.status.value in estimate.summary()


def test_too_large_a_step_size_diverges_and_gives_no_number():
    estimate = run(
        constant(lambda w: 0.5 * w @ w), jnp.zeros(2), DUMMY, nbeta=100, localization=1, step_size=1.0
    )
    assert estimate.status is Status.diverged
    assert np.isnan(estimate.llc)
    assert np.isnan(estimate.llc_se)
    assert "step_size" in estimate.status.value


def test_one_chain_leaving_the_numbers_spoils_the_whole_estimate():
    loss = constant(lambda w: -jnp.log1p(-w[0]))
    estimate = run(loss, jnp.zeros(1), DUMMY, nbeta=1.0, localization=0.1, step_size=0.5)
    assert estimate.status is Status.diverged
    assert np.isnan(estimate.llc)


def test_running_downhill_is_said():
    model, weights, data = regression(7, 4000, 5)
    estimate = run(model, weights + 3.0, data)
    assert estimate.llc < 0
    assert estimate.status is Status.negative


def test_ctrl_c_keeps_the_draws_made(monkeypatch):
    from lltc.estimates.progress import Progress

    steps_seen = []

    def stop_late(_, steps):
        steps_seen.append(steps)
        if sum(steps_seen) > 1500:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "advance", stop_late)
    loss = constant(lambda w: 0.5 * w @ w)
    estimate = run(loss, jnp.zeros(3), DUMMY, nbeta=100, localization=1, num_draws=5000)
    assert estimate.status is Status.interrupted
    assert 100 < estimate.num_draws < 5000
    assert np.isfinite(estimate.llc)
