"""One look at the loss around w*: losses that cannot be sampled as given have a status, good ones none."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc.diagnostics.status import Status
from lltc.estimates.estimator import prepare_run
from lltc.inspection.gradients import make_directions
from lltc.inspection.look import inspect
from lltc.inspection.sampled import draw_sample
from lltc.kernels import baoab

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4000, 5)).astype(np.float32)
Y = (X.sum(1) + RNG.normal(size=4000)).astype(np.float32)
WEIGHTS = np.linalg.lstsq(X, Y, rcond=None)[0].astype(np.float32)
NETWORK = {
    "in": RNG.normal(size=(5, 64)).astype(np.float32),
    "out": (RNG.normal(size=64) / 8).astype(np.float32),
}
stop = jax.lax.stop_gradient


def loss(w: Any, batch: Any) -> Any:
    return 0.5 * (batch[0] @ w - batch[1]) ** 2


def network(params: Any, batch: Any) -> Any:
    return 0.5 * (jnp.maximum(batch[0] @ params["in"], 0) @ params["out"] - batch[1]) ** 2


def coarse(params: Any, batch: Any) -> Any:
    """Compute in bfloat16."""
    first, last = (jnp.asarray(params[name], jnp.bfloat16) for name in ("in", "out"))
    hidden = jnp.maximum(batch[0].astype(jnp.bfloat16) @ first, 0)
    return 0.5 * ((hidden @ last).astype(jnp.float32) - batch[1]) ** 2


def normalised(params: Any, batch: Any) -> Any:
    """Normalise by the statistics of the batch."""
    hidden = batch[0] @ params["in"]
    hidden = (hidden - hidden.mean(0)) / hidden.std(0)
    return 0.5 * (jnp.maximum(hidden, 0) @ params["out"] - batch[1]) ** 2


@jax.custom_vjp
def auxiliary(w: Any) -> Any:
    return w


auxiliary.defvjp(lambda w: (w, w), lambda w, g: (g + 0.5 * jnp.ones_like(w),))

GOOD: dict[str, tuple[Callable, Any]] = {
    "regression": (loss, WEIGHTS),
    "means": (lambda w, batch: loss(w, batch).mean(), WEIGHTS),
    "relu": (network, NETWORK),
    "bfloat16 inside": (coarse, NETWORK),
    "bfloat16 weights": (network, jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), NETWORK)),
    "a large constant": (lambda w, batch: loss(w, batch) + 1e6, WEIGHTS),
    "quartic": (lambda w, batch: jnp.sum(w**4) * jnp.ones(len(batch[1])), 0 * WEIGHTS),
    "behavioral": (lltc.behavioral(lambda w, batch: batch[0] @ w, "squared"), WEIGHTS),
    "one dead parameter": (lambda w, batch: loss(w[:5], batch), np.append(WEIGHTS, 1).astype(np.float32)),
}
BAD: dict[str, tuple[Callable, Any, Status | None]] = {
    "1 weight of 5 blocked": (
        lambda w, batch: loss(jnp.append(w[:4], stop(w[4])), batch),
        WEIGHTS,
        Status.wrong_gradient,
    ),
    "a leaf blocked": (
        lambda p, batch: network(p | {"out": stop(p["out"])}, batch),
        NETWORK,
        Status.wrong_gradient,
    ),
    "rounded weights": (lambda w, batch: loss(jnp.round(64 * w) / 64, batch), WEIGHTS, Status.wrong_gradient),
    "straight through": (
        lambda w, batch: loss(w + stop(jnp.round(16 * w) / 16 - w), batch),
        WEIGHTS,
        Status.wrong_gradient,
    ),
    "an auxiliary term": (lambda w, batch: loss(auxiliary(w), batch), WEIGHTS, Status.wrong_gradient),
    "divided by the batch": (lambda w, batch: loss(w, batch) / len(batch[1]), WEIGHTS, Status.coupled),
    "a sum for a mean": (lambda w, batch: loss(w, batch).sum(), WEIGHTS, Status.coupled),
    "batch statistics": (normalised, NETWORK, None),
    "own weights": (lambda w, batch: loss(WEIGHTS, batch) + 0 * w.sum(), WEIGHTS, Status.unused),
}


@pytest.mark.parametrize("key", range(3))
@pytest.mark.parametrize("name", GOOD)
def test_good_losses_pass(name, key):
    model, params = GOOD[name]
    posterior = lltc.local_posterior(model, params, (X, Y), linear=False)
    assert inspect(prepare_run(posterior, key, None, kernel=baoab())) == ()


@pytest.mark.parametrize("name", ["a sum for a mean", "batch statistics"])
def test_coarse_numbers_hide_no_batch(name):
    model = {
        "a sum for a mean": lambda p, batch: coarse(p, batch).sum(),
        "batch statistics": lambda p, batch: coarse(p, batch) / coarse(p, batch).mean(),
    }[name]
    posterior = lltc.local_posterior(model, NETWORK, (X, Y), linear=False)
    matters = [finding.matter for finding in inspect(prepare_run(posterior, 0, None, kernel=baoab()))]
    assert {"batch size", "company in the batch"}.intersection(matters)


class Rows:
    """Examples read from the host."""

    def __init__(self, data: Any):
        self.data = data

    def __len__(self) -> int:
        return len(self.data[1])

    def __getitem__(self, index: Any) -> Any:
        return tuple(column[index] for column in self.data)


def test_marks_are_sought_on_the_host_too():
    labels = np.where(np.arange(4000) % 3, np.arange(4000) % 7, -1).astype(np.int32)
    model = lambda w, batch: -jax.nn.log_softmax(batch[0] @ w)[jnp.arange(len(batch[1])), batch[1]]
    findings = lltc.check(model, 0.1 * RNG.normal(size=(5, 7)).astype(np.float32), Rows((X, labels)))
    (marks,) = (finding.sentence for finding in findings.found if finding.matter == "ignored labels")
    assert "examples looked at, which often stands" in marks
    assert "is that of the label 6 there" in marks


def test_examples_that_do_not_count_are_not_looked_at():
    weights = np.zeros(4000, np.float32)
    weights[:50] = 1
    findings = lltc.check(loss, WEIGHTS, (X, Y), weights=weights, linear=False)
    assert [
        finding.matter for finding in findings.found if finding.matter in ("parameters", "idle examples")
    ] == []


@pytest.mark.parametrize("seed", range(20, 25))
def test_kinks_of_a_narrow_network_that_is_not_trained_are_no_wrong_gradient(seed):
    """Where biases are 0 a way bends at a few places only, and five nodes may all miss them."""
    chance = np.random.default_rng(seed)
    draw = lambda *shape: chance.normal(size=shape).astype(np.float32)
    data = draw(64, 2), draw(64)
    params = {"in": 0.3 * draw(2, 4), "out": 0.3 * draw(4), "bias": jnp.zeros(4), "constant": jnp.zeros(())}

    def model(params: Any, batch: Any) -> Any:
        hidden = jnp.maximum(batch[0] @ params["in"] + params["bias"], 0)
        return 0.5 * (hidden @ params["out"] + params["constant"] - batch[1]) ** 2

    posterior = lltc.local_posterior(model, params, data, linear=False)
    findings = inspect(prepare_run(posterior, 0, None, kernel=baoab()))
    assert "gradient" not in [finding.matter for finding in findings]


@pytest.mark.parametrize("key", range(3))
@pytest.mark.parametrize("name", BAD)
def test_bad_losses_are_told_by_name(name, key):
    model, params, status = BAD[name]
    posterior = lltc.local_posterior(model, params, (X, Y), linear=False)
    (finding,) = inspect(prepare_run(posterior, key, None, kernel=baoab()))
    assert finding.status is status


def test_a_sample_of_any_number_of_rows_is_drawn_at_once():
    data = SimpleNamespace(size=1 << 40, arrays=(), batch=lambda rows: rows)
    posterior = SimpleNamespace(data=data, target=SimpleNamespace(micro_batch=None))
    run: Any = SimpleNamespace(posterior=posterior, key=jax.random.key(0))
    sample = draw_sample(run, thorough=True)
    assert sample is not None
    assert len(np.unique(sample.rows)) == sample.size * 3 // 2


def test_directions_take_the_room_of_a_few_checkpoints():
    """However many groups of coordinates there are; nine are evaluated at a time."""
    posterior = lltc.local_posterior(network, NETWORK, (X, Y))
    directions = make_directions(prepare_run(posterior, 0, None, kernel=baoab()), thorough=True)
    assert len(directions.ranges) > 9
    held = sum(leaf.size for leaf in jax.tree.leaves((directions.whole, directions.key)))
    assert held < 9 * posterior.num_params


def test_an_estimate_carries_the_finding_and_draws_no_more_for_it():
    model, params, status = BAD["own weights"]
    estimate = lltc.estimate_llc(model, params, (X, Y), num_warmup=64, progress=False)
    assert (estimate.status, estimate.num_draws) == (status, 1000)
    assert Status.unused.value in estimate.summary()
