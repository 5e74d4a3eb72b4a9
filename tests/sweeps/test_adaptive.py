"""A sweep within a budget: where it looks first, where it looks next, and that it finds the same markers."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lltc import InputError, estimate_llc, sweep, sweep_adaptively
from lltc.sweeps.adaptive import look_everywhere
from lltc.sweeps.jobs import worker
from lltc.sweeps.jobs.sources import make_tasks
from lltc.sweeps.reading.refinement import choose_next, coarse_grid, pace
from lltc.transitions import find_transitions

MODEL = lambda w, x: 0.5 * jnp.sum((w - x) ** 2, -1)
DATA = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
QUICK = {"num_draws": 60, "num_warmup": 40, "num_chains": 4, "progress": False}


def staircase(steps, sizes, places, width):
    """Return smooth rises of `sizes` at `places`, as wide as `width` in log step."""
    shape = lambda place: 1 / (1 + np.exp(-(np.log(steps) - np.log(place)) / width))
    rises = [size * shape(place) for size, place in zip(sizes, places, strict=True)]
    return np.sum(rises, axis=0)


@pytest.mark.parametrize("seed", range(4))
def test_a_fifth_of_the_estimates_finds_the_markers_of_them_all(seed):
    steps = np.unique(np.round(np.geomspace(1, 3000, 900)))[-400:]
    places = (159, 505, 1837)
    exact = 6.2 + staircase(steps, (1.7, 1.4, 1.2), places, 0.06)
    loss = 8.8 - staircase(steps, (8.0, 0.72, 0.06), (150, 490, 1800), 0.06)
    llc_se = np.full(400, 0.08)
    llc = exact + llc_se * np.random.default_rng(seed).normal(size=400)
    passed = pace({"loss": loss}, 400)
    done = coarse_grid(passed, 26)
    while len(done) < 80:
        chosen = choose_next(steps, passed, done, llc[list(done)], llc_se[list(done)], size=3)
        if not chosen:
            break
        done = tuple(sorted({*done, *chosen}))
    kept = np.array(done)
    found = find_transitions(steps[kept], llc[kept], llc_se[kept])
    dense = find_transitions(steps, llc, llc_se)
    assert len(done) <= 80
    assert [t.kind for t in found] == [t.kind for t in dense] == ["rise"] * 3
    for mine, theirs, place in zip(found, dense, places, strict=True):
        assert mine.halfway[0] <= place * 1.05
        assert place <= mine.halfway[1] * 1.05
        assert abs(mine.delta_llc - theirs.delta_llc) < 3.5 * np.hypot(mine.delta_llc_se, theirs.delta_llc_se)


def test_a_flat_curve_is_left_alone_once_it_has_been_looked_at():
    steps, passed = np.arange(200.0), np.linspace(0, 1, 200)
    llc = 5 + 0.1 * np.random.default_rng(0).normal(size=200)
    done = coarse_grid(passed, 20)
    probability_only = choose_next(steps, passed, done, llc[list(done)], np.full(20, 0.1), size=100)
    assert len(probability_only) == 19
    every = tuple(range(200))
    assert choose_next(steps, passed, every, llc, np.full(200, 0.1)) == ()


@pytest.mark.parametrize("error", [0.0, np.nan, np.inf])
def test_an_estimate_without_an_error_tells_nothing(error):
    steps, done = np.arange(9.0), [0, 2, 4, 6, 8]
    llc, llc_se = np.array([0.0, 1.0, 1.0, 5.0, 5.0]), np.array([error, 0.1, 0.1, 0.1, 0.1])
    masked = np.where(np.arange(5) == 0, np.nan, llc)
    (chosen,) = choose_next(steps, steps / 8, done, llc, llc_se)
    assert (chosen,) == choose_next(steps, steps / 8, done, masked, llc_se) == (5,)


@given(st.integers(2, 60), st.integers(2, 80), st.integers(0, 99))
def test_a_coarse_grid_holds_both_ends_and_no_more_than_asked(size, count, seed):
    loss = np.random.default_rng(seed).uniform(size=count)
    found = coarse_grid(pace({"loss": loss}, count), size)
    assert found[0] == 0
    assert found[-1] == count - 1
    assert len(found) <= max(size, 2)
    assert list(found) == sorted(set(found))


def test_checkpoints_crowd_where_the_loss_moves():
    loss = np.concatenate([np.full(50, 4.0), np.linspace(4, 1, 20), np.full(30, 1.0)])
    grid = np.array(coarse_grid(pace({"loss": loss}, 100), 20))
    assert np.sum((grid >= 49) & (grid <= 70)) >= 10


def test_observables_that_say_nothing_change_nothing():
    even = pace({}, 10)
    np.testing.assert_allclose(pace({"flat": np.ones(10), "bad": np.full(10, np.nan)}, 10), even)


def test_what_is_estimated_is_what_a_dense_sweep_estimates(tmp_path):
    pairs = [(step, jnp.full(2, 3.0 * (step > 9) + 1e-3 * step)) for step in range(20)]
    dense = sweep(pairs, MODEL, DATA, out=tmp_path / "dense", nbeta=10.0, **QUICK)
    some = sweep_adaptively(pairs, MODEL, DATA, out=tmp_path / "some", budget=8, nbeta=10.0, **QUICK)
    assert some.curve.sizes["step"] <= 8
    same = dense.curve.sel(step=some.curve["step"])
    np.testing.assert_array_equal(some.curve["llc"], same["llc"])
    more = sweep_adaptively(pairs, MODEL, DATA, out=tmp_path / "some", budget=12, nbeta=10.0, **QUICK)
    assert set(some.curve["step"].values) <= set(more.curve["step"].values)
    assert more.curve.sizes["step"] <= 12
    fewer = sweep_adaptively(pairs, MODEL, DATA, out=tmp_path / "some", budget=4, nbeta=10.0, **QUICK)
    assert fewer.curve.equals(more.curve)
    everything = sweep_adaptively(pairs, MODEL, DATA, out=tmp_path / "some", budget=20, nbeta=10.0, **QUICK)
    np.testing.assert_array_equal(everything.curve["llc"], dense.curve["llc"])


@pytest.mark.parametrize("budgets", [(8, 30), (28, 30)])
def test_a_larger_budget_goes_on_from_what_is_there(tmp_path, monkeypatch, budgets):
    """Also where the coarse grid of the larger one is another, and does not fit beside what is there."""
    pairs = [(step, jnp.full(2, 3.0 * (step > 40) + 1e-3 * step)) for step in range(60)]
    sample = estimate_llc(MODEL, pairs[0][1], DATA, **QUICK)
    drawn = []

    def draw(_setup, _key, params, _component):
        drawn.append(params)
        return replace(sample, llc=float(jnp.sum(params**2)), llc_se=0.3)

    monkeypatch.setattr(worker, "_draw", draw)
    steps = []
    for budget in budgets:
        steps.append(
            set(
                sweep_adaptively(pairs, MODEL, DATA, out=tmp_path, budget=budget, **QUICK)
                .curve["step"]
                .values
            )
        )
        assert len(drawn) == len(steps[-1]) <= budget
    assert steps[0] < steps[1]


@pytest.mark.parametrize("together", [0, -1, 2.5, True])
def test_how_many_together_is_a_number(together, tmp_path):
    with pytest.raises(InputError, match="together must be an integer ≥ 1, but"):
        sweep_adaptively([(0, jnp.zeros(2))], MODEL, DATA, out=tmp_path, budget=4, together=together)


def test_every_checkpoint_is_looked_at_and_a_bad_one_is_filled_in():
    pairs = [(0, jnp.zeros(2)), (1, {"no": "weights"}), (2, jnp.full(2, 2.0))]
    tasks = make_tasks(pairs, {})
    seen = look_everywhere(tasks, MODEL, DATA, None, {"first": lambda w: w[0]})
    slope = np.linalg.norm([2.0, 2.0] - DATA.mean(0))
    np.testing.assert_allclose(seen["weight_norm"], [0, np.sqrt(2), np.sqrt(8)], rtol=1e-6)
    np.testing.assert_allclose(seen["first"], [0, 1, 2])
    assert seen["gradient_norm"][2] == pytest.approx(slope, rel=1e-5)
    assert seen["loss"][0] == pytest.approx(0.5 * np.mean(np.sum(DATA**2, -1)), rel=1e-5)


@pytest.mark.parametrize("budget", [3, 0, 2.5, True, "many"])
def test_a_budget_that_is_none_is_refused_in_one_sentence(budget, tmp_path):
    with pytest.raises(InputError, match="budget must be an integer"):
        sweep_adaptively([(0, jnp.zeros(2))], MODEL, DATA, out=tmp_path, budget=budget)
