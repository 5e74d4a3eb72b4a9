"""Batches evaluated in turns give the same losses, gradients and curvature, whatever the turns."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc.chains.curvature import make_prober
from lltc.chains.gradients import losses_and_gradient, measure_anchor
from lltc.posterior.target import local_posterior
from lltc.posterior.turns import cut, joined
from tests.problems import regression

MODEL, WEIGHTS, DATA = regression(0, 40, 3)
POSITIONS = jnp.arange(6.0).reshape(2, 3) / 5


def mean_of(params, batch):
    return MODEL(params, batch).mean()


@pytest.mark.parametrize("size", range(1, 9))
def test_every_example_is_seen_once(size):
    for count in range(size + 1, 10):
        rows = jnp.arange(float(count))
        turns = cut(rows, size, per_example=True)
        assert turns is not None
        np.testing.assert_array_equal(joined(turns.rows, count, per_example=True), rows)
        assert float((turns.rows * turns.weights).sum()) == pytest.approx(float(rows.mean()), rel=1e-5)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_of_an_odd_mean_no_example_is_left_out(size):
    assert cut(jnp.arange(5.0), size, per_example=False) is None


@pytest.mark.parametrize("size", range(1, 10))
def test_means_of_halves_are_means_of_their_turns(size):
    for count in range(size + 1 + (size + 1) % 2, 12, 2):
        turns = cut(jnp.arange(float(count)), size, per_example=False)
        assert turns is not None
        halves = turns.rows.reshape(len(turns.rows), 2, -1).mean((0, 2))
        np.testing.assert_allclose(halves, np.arange(count).reshape(2, -1).mean(1), rtol=1e-5)


def test_a_batch_that_is_small_enough_is_one_turn():
    assert cut(jnp.arange(4.0), 4, per_example=True) is cut(jnp.arange(4.0), None, per_example=False) is None


@pytest.mark.parametrize("size", [1, 3, 8, 19])
@pytest.mark.parametrize("model", [MODEL, mean_of])
def test_turns_change_nothing_but_rounding(model, size):
    whole = local_posterior(model, WEIGHTS, DATA, batch_size=20, nbeta=10.0)
    turned = replace(whole, target=replace(whole.target, micro_batch=size))
    batch = jax.tree.map(lambda a: jnp.asarray(a[:20]), DATA)
    seen = [losses_and_gradient(p.target, p.center, POSITIONS, batch) for p in (whole, turned)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *seen)
    probes = [
        make_prober(p, measure_anchor(p), jax.random.key(0))(POSITIONS, POSITIONS) for p in (whole, turned)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), *probes)


def test_an_estimate_is_the_same_in_turns():
    few = {"num_draws": 200, "num_warmup": 64, "batch_size": 20, "progress": False, "num_chains": 4}
    whole, turned = (lltc.estimate_llc(MODEL, WEIGHTS, DATA, micro_batch=size, **few) for size in (None, 6))
    assert turned.llc == pytest.approx(whole.llc, rel=1e-3)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "8"])
def test_what_is_no_number_of_examples_is_refused(wrong):
    with pytest.raises(lltc.InputError, match=r"^micro_batch must be an integer ≥ 1, but .* was given"):
        local_posterior(MODEL, WEIGHTS, DATA, micro_batch=wrong)
