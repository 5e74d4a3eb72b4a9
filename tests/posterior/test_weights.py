"""Weights of examples, weight decay and tied leaves: each against the same posterior written by hand."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc import InputError
from lltc.posterior.weighing import WeighedRows

RNG = np.random.default_rng(0)
SIZE = 300
X = RNG.normal(size=(SIZE, 4)).astype(np.float32)
Y = (X.sum(1) + RNG.normal(size=SIZE)).astype(np.float32)
COUNTS = RNG.integers(1, 4, SIZE)
W = np.linalg.lstsq(X * np.sqrt(COUNTS)[:, None], Y * np.sqrt(COUNTS), rcond=None)[0].astype(np.float32)
FEW: dict[str, Any] = {"localization": 4.0, "num_draws": 400, "num_warmup": 200, "progress": False}


def loss(w: Any, batch: Any) -> Any:
    return 0.5 * (batch[0] @ w - batch[1]) ** 2


def exact(nbeta: float, gamma: float, hessian: Any) -> float:
    """Return λ̂ of a parabola."""
    values = np.linalg.eigvalsh(hessian)
    return float(np.sum(0.5 * nbeta * values / (nbeta * values + gamma)))


def test_weights_of_mean_one_are_a_loss_multiplied_with_them():
    weights = (COUNTS * SIZE / COUNTS.sum()).astype(np.float32)
    by_hand = lltc.estimate_llc(lambda w, b: b[2] * loss(w, b), W, (X, Y, weights), **FEW)
    given = lltc.estimate_llc(loss, W, (X, Y), weights=weights, **FEW)
    assert given.nbeta == pytest.approx(by_hand.nbeta, rel=1e-6)
    np.testing.assert_allclose(given.energy, by_hand.energy, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("batch_size", [None, 64])
def test_integer_weights_are_repeated_rows(batch_size):
    repeated = lltc.local_posterior(loss, W, (np.repeat(X, COUNTS, 0), np.repeat(Y, COUNTS)))
    posterior = lltc.local_posterior(loss, W, (X, Y), weights=COUNTS)
    assert posterior.data.count == COUNTS.sum()
    assert posterior.nbeta == pytest.approx(repeated.nbeta)
    estimate = lltc.estimate_llc(loss, W, (X, Y), weights=COUNTS, batch_size=batch_size, **FEW)
    hessian = (X * COUNTS[:, None]).T @ X / COUNTS.sum()
    assert abs(estimate.llc - exact(repeated.nbeta, 4.0, hessian)) < 4 * estimate.llc_se
    assert f"n = {COUNTS.sum()}, one example is [0] float32 (4,)" in estimate.summary()


def test_a_key_of_the_data_names_them():
    data = {"x": X, "y": Y, "count": COUNTS}
    by_key = lltc.estimate_llc(lambda w, b: loss(w, (b["x"], b["y"])), W, data, weights="count", **FEW)
    given = lltc.estimate_llc(loss, W, (X, Y), weights=COUNTS, **FEW)
    np.testing.assert_array_equal(by_key.draws, given.draws)


def test_behavioral_losses_are_weighted_too():
    model = lltc.behavioral(lambda w, b: b[0] @ w, "squared", loss=loss)
    estimate = lltc.estimate_llc(model, W, (X, Y), weights=COUNTS, nbeta=100.0, **FEW)
    hessian = (X * COUNTS[:, None]).T @ X / COUNTS.sum()
    assert abs(estimate.llc - exact(100.0, 4.0, hessian)) < 4 * estimate.llc_se
    assert estimate.init_loss == pytest.approx(np.average(loss(W, (X, Y)), weights=COUNTS), rel=1e-4)


def test_weights_on_the_host_are_read_with_their_rows():
    class Rows:
        def __len__(self) -> int:
            return SIZE

        def __getitem__(self, rows: Any) -> Any:
            return X[rows], Y[rows]

    posterior = lltc.local_posterior(loss, W, Rows(), weights=COUNTS)
    held = lltc.local_posterior(loss, W, (X, Y), weights=COUNTS)
    rows = np.array([3, 0, 7])
    batches = [p.target.losses_at_center(p.center, p.data.batch(rows)) for p in (posterior, held)]
    np.testing.assert_allclose(*batches, rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (COUNTS[:5], r"weights must be 300 numbers, one an example, but an array of shape \(5,\)"),
        (-COUNTS, "weights must be finite numbers ≥ 0"),
        (0 * COUNTS, "with a sum > 0"),
        ("count", "weights='count' must be a key of data, which has no keys"),
    ],
)
def test_weights_that_are_none_are_refused(weights, match):
    with pytest.raises(InputError, match=match):
        lltc.estimate_llc(loss, W, (X, Y), weights=weights)


def test_a_mean_cannot_be_weighted():
    with pytest.raises(InputError, match="weights need one loss an example"):
        lltc.estimate_llc(lambda w, b: loss(w, b).mean(), W, (X, Y), weights=COUNTS)


@pytest.mark.parametrize("micro_batch", [None, 16])
def test_weight_decay_is_the_loss_with_its_term(micro_batch):
    """Ridge regression: a minimum with the term, a slope without, which is told and named."""
    decay, nbeta = 0.5, 200.0
    hessian = X.T @ X / SIZE
    w = np.linalg.solve(hessian + decay * np.eye(4), X.T @ Y / SIZE).astype(np.float32)
    few = FEW | {"nbeta": nbeta, "micro_batch": micro_batch}
    estimate = lltc.estimate_llc(loss, w, (X, Y), weight_decay=decay, **few)
    assert abs(estimate.llc - exact(nbeta, 4.0, hessian + decay * np.eye(4))) < 4 * estimate.llc_se
    with pytest.warns(lltc.LLCWarning, match=r"no minimum.* pass weight_decay=0\.5"):
        lltc.estimate_llc(loss, w, (X, Y), **few)


def test_a_slope_is_told_by_how_far_the_posterior_falls():
    """A parabola ½(w - s)² of 4 weights: the log density rises by (nβ)²|s|²/2(nβ + γ)."""
    nbeta, gamma, shift = 100.0, 1.0, 0.2
    model = lambda w, x: 0.5 * jnp.sum((w - shift) ** 2) * jnp.ones(len(x))
    findings = lltc.check(model, jnp.zeros(4), jnp.zeros(50), nbeta=nbeta, localization=gamma)
    assert [finding.matter for finding in findings.found] == ["slope"]
    fall = nbeta**2 * 4 * shift**2 / (2 * (nbeta + gamma))
    assert f"rises by {fall:.3g} nats" in findings.found[0].sentence
    assert lltc.check(model, jnp.zeros(4), jnp.zeros(50), nbeta=nbeta, localization=gamma, linear=False).ok


EMBEDDING = RNG.normal(size=(4, 3)).astype(np.float32)


@pytest.mark.parametrize("transposed", [False, True])
def test_tied_leaves_move_as_one(transposed):
    """½Σ((e + head) u)², written out twice or once, has the same draws where they are tied."""
    head = EMBEDDING.T.copy() if transposed else EMBEDDING.copy()
    direct = lambda p, b: 0.5 * jnp.sum((b[0] @ (2 * p["e"])) ** 2, -1)
    twice = lambda p, b: (
        0.5 * jnp.sum((b[0] @ (p["e"] + (p["head"].T if transposed else p["head"]))) ** 2, -1)
    )
    few = FEW | {"nbeta": 50.0, "linear": False}
    once = lltc.estimate_llc(direct, {"e": EMBEDDING}, (X, Y), **few)
    tied = lltc.estimate_llc(twice, {"e": EMBEDDING, "head": head}, (X, Y), tie={"head": "e"}, **few)
    assert (tied.num_params, tied.findings) == (12, ())
    np.testing.assert_allclose(tied.energy, once.energy, rtol=1e-3, atol=1e-5)
    with pytest.warns(lltc.LLCWarning, match=r"e and head hold the same numbers.*tie=\{\"head\": \"e\"\}"):
        lltc.estimate_llc(twice, {"e": EMBEDDING, "head": head}, (X, Y), **few)


def test_to_name_a_tied_leaf_is_to_name_the_other():
    params = {"e": EMBEDDING, "head": EMBEDDING.T.copy(), "b": np.zeros(3, np.float32)}
    model = lambda p, b: 0.5 * jnp.sum((b[0] @ (p["e"] + p["head"].T) + p["b"]) ** 2, -1)
    moved = lambda restrict: (
        lltc.local_posterior(model, params, (X, Y), tie={"head": "e"}, restrict=restrict).num_params
    )
    assert (moved(["head", "b"]), moved("head"), moved("head[0]"), moved(None)) == (15, 12, 4, 15)


@pytest.mark.parametrize(
    ("tie", "match"),
    [
        ({"out": "e"}, "must name two leaves of params, the second not tied itself, but 'out' is none"),
        ({"head": "e", "e": "head"}, "'e' is tied"),
        ({"b": "e"}, r"hold the same numbers, .* shapes \(3,\) and \(4, 3\) differ"),
    ],
)
def test_ties_that_do_not_hold_are_refused(tie, match):
    params = {"e": EMBEDDING, "head": EMBEDDING, "b": np.zeros(3)}
    with pytest.raises(InputError, match=match):
        lltc.local_posterior(lambda p, b: b[0] @ p["b"][:1], params, (X[:, :1], Y), tie=tie)


class SortedRows:
    """A source that takes sorted indices without repetition alone, as HDF5 does."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, indices):
        if np.ndim(indices) and not (np.diff(indices) > 0).all():
            raise TypeError("indices must be increasing")
        return self.rows[indices]


def test_a_source_that_takes_sorted_indices_alone_may_be_weighed():
    rows, weights = np.arange(12.0).reshape(6, 2), np.arange(1.0, 7.0)
    weighed = WeighedRows(SortedRows(rows), weights).__getitems__([4, 1, 1])
    np.testing.assert_array_equal(weighed.examples, rows[[4, 1, 1]])
    np.testing.assert_array_equal(weighed.weights, weights[[4, 1, 1]])
