"""What people really give: each matter is found, and the right number or one sentence comes of it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc import InputError, LLCWarning
from lltc.models import cross_entropy

RNG = np.random.default_rng(0)
SIZE = 400
X = RNG.normal(size=(SIZE, 5)).astype(np.float32)
Y = (X.sum(1) + RNG.normal(size=SIZE)).astype(np.float32)
W = np.linalg.lstsq(X, Y, rcond=None)[0].astype(np.float32)
LABELS = RNG.integers(0, 4, SIZE).astype(np.int32)
LOGITS = (0.1 * RNG.normal(size=(5, 4))).astype(np.float32)
MANY = (0.1 * RNG.normal(size=(5, 128))).astype(np.float32)
MARKED = np.where(np.arange(SIZE) % 10, LABELS, -100).astype(np.int32)
LAST = np.where(np.arange(SIZE) % 10, LABELS, -1).astype(np.int32)
BEYOND = np.where(np.arange(SIZE) % 7, LABELS, 4).astype(np.int32)
TOKENS = RNG.normal(size=(SIZE, 6, 5)).astype(np.float32)
PRESENT = (np.arange(6) < RNG.integers(1, 7, SIZE)[:, None]).astype(np.float32)
SPOKEN = np.where(PRESENT > 0, RNG.integers(0, 90, (SIZE, 6)), -100).astype(np.int32)
KEY = jax.random.key(1)


def loss(w: Any, batch: Any) -> Any:
    return 0.5 * (batch[0] @ w - batch[1]) ** 2


def by_token(w: Any, batch: Any) -> Any:
    """Return a loss of each token, zero where there is none."""
    return batch[1] * (batch[0] @ w) ** 2


def contrastive(w: Any, batch: Any) -> Any:
    scores = (batch[0] * w) @ batch[0].T
    return -jnp.diag(jax.nn.log_softmax(scores, -1))


def balanced(w: Any, batch: Any) -> Any:
    """Add a small term of the whole batch, as mixtures of experts do to balance their load."""
    return loss(w, batch) + 0.05 * jnp.sum(jax.nn.softmax(batch[0] * w).mean(0) ** 2)


def by_label(w: Any, batch: Any, *, reduce: bool = True) -> Any:
    """Index with the label of each token."""
    logits = jax.nn.log_softmax(batch[0] @ w)
    losses = -jnp.take_along_axis(logits, batch[1][..., None] % w.shape[1], -1)[..., 0]
    return losses.mean(1) if reduce else losses


def picked(w: Any, batch: Any) -> Any:
    """Index with the label, which counts from the end where it is negative."""
    return -jax.nn.log_softmax(batch[0] @ w)[jnp.arange(len(batch[1])), batch[1]]


def one_hot(w: Any, batch: Any) -> Any:
    return -(jax.nn.one_hot(batch[1], 4) * jax.nn.log_softmax(batch[0] @ w)).sum(-1)


def random_at_each_call(w: Any, batch: Any) -> Any:
    noise = jax.pure_callback(lambda: np.float32(np.random.rand()), jax.ShapeDtypeStruct((), np.float32))
    return loss(w, batch) + noise


NETWORK = {"in": RNG.normal(size=(5, 6)).astype(np.float32), "out": np.ones(6, np.float32)}
CASES: dict[str, tuple[Callable, Any, Any, set[tuple[str, str]]]] = {
    "a regression": (loss, W, (X, Y), set()),
    "its mean": (lambda w, b: loss(w, b).mean(), W, (X, Y), set()),
    "two examples": (loss, W, (X[:2], Y[:2]), set()),
    "dropout by a key closed over": (
        lambda w, b: loss(w, (b[0] * jax.random.bernoulli(KEY, 0.8, b[0].shape), b[1])),
        W,
        (X, Y),
        {("position in the batch", "refused")},
    ),
    "noise by NumPy": (
        lambda w, b: loss(w, (b[0] + RNG.normal(size=b[0].shape).astype(np.float32), b[1])),
        W,
        (X, Y),
        {("randomness", "refused")},
    ),
    "one random factor": (
        lambda w, b: loss(w, b) * RNG.uniform(1, 2),
        W,
        (X, Y),
        {("randomness", "refused")},
    ),
    "noise at each call": (random_at_each_call, W, (X, Y), {("randomness", "refused")}),
    "weights by position": (
        lambda w, b: loss(w, b) * jnp.linspace(0.5, 1.5, len(b[1])),
        W,
        (X, Y),
        {("position in the batch", "refused")},
    ),
    "contrastive": (contrastive, W, (X, Y), {("company in the batch", "refused")}),
    "load balancing": (balanced, W, (X, Y), {("company in the batch", "refused")}),
    "mean over all tokens": (
        lambda w, b: by_token(w, b).sum() / b[1].sum(),
        W,
        (TOKENS, PRESENT),
        {("mean over the batch", "refused")},
    ),
    "losses over the batch's tokens": (
        lambda w, b: by_token(w, b).sum(1) / b[1].sum(),
        W,
        (TOKENS, PRESENT),
        {("company in the batch", "refused")},
    ),
    "mean over an example's tokens": (
        lambda w, b: by_token(w, b).sum(1) / b[1].sum(1),
        W,
        (TOKENS, PRESENT),
        set(),
    ),
    "a sum": (lambda w, b: loss(w, b).sum(), W, (X, Y), {("batch size", "status")}),
    "logarithms of negative numbers": (
        lambda w, b: w[0] * jnp.log(1 + b[0][:, 0]),
        W,
        (X, Y),
        {("losses", "refused")},
    ),
    "infinite losses": (
        lambda w, b: loss(w, b) / (b[0][:, 0] < 1),
        W,
        (X, Y),
        {("losses", "refused")},
    ),
    "overflow": (
        lambda w, b: 1e38 * (1 + loss(w, b)) ** 2,
        W,
        (X, Y),
        {("losses", "refused")},
    ),
    "a root at zero": (
        lambda w, b: loss(w, b) + jnp.sqrt(jnp.abs(w[0] - W[0]) * (b[0][:, 0] > 1)),
        W,
        (X, Y),
        {("losses", "refused")},
    ),
    "labels -100": (
        lambda w, b: cross_entropy(b[0] @ w, b[1]),
        LOGITS,
        (X, MARKED),
        {("losses", "refused")},
    ),
    "label -1 for the last": (picked, LOGITS, (X, LAST), {("ignored labels", "warning")}),
    # JAX cuts the index off in the loss and leaves it out of the gradient.
    "label -100 cut off": (
        picked,
        LOGITS,
        (X, MARKED),
        {("gradient", "status"), ("ignored labels", "warning")},
    ),
    "label -1 masked": (
        lambda w, b: jnp.where(b[1] < 0, 0.1 * jnp.sum(w**2), picked(w, b)),
        LOGITS,
        (X, LAST),
        set(),
    ),
    "label -100 for the 28th of 128": (picked, MANY, (X, MARKED), {("ignored labels", "warning")}),
    "label -1 where the last is not in the data": (picked, MANY, (X, LAST), {("ignored labels", "warning")}),
    "tokens -100 for others": (by_label, MANY, (TOKENS, SPOKEN), {("ignored labels", "warning")}),
    "tokens -100 masked": (
        lambda w, b: (by_label(w, b, reduce=False) * (b[1] >= 0)).sum(1) / (b[1] >= 0).sum(1).clip(1),
        MANY,
        (TOKENS, SPOKEN),
        set(),
    ),
    "labels beyond the classes": (one_hot, LOGITS, (X, BEYOND), {("idle examples", "warning")}),
    "an accuracy": (
        lambda w, b: 1.0 + (jnp.argmax(b[0] * w, 1) != 0),
        W,
        (X, Y),
        {("gradient", "status")},
    ),
    "integer weights": (
        lambda w, b: loss(jnp.trunc(100 * w) / 100, b),
        W,
        (X, Y),
        {("gradient", "status")},
    ),
    "a constant": (lambda _, b: jnp.ones(len(b[1])), W, (X, Y), {("parameters", "status")}),
    "a leaf that does nothing": (
        lambda p, b: loss(p["w"], b),
        {"w": W, "old": X[:2]},
        (X, Y),
        {("idle leaves", "warning")},
    ),
    "a tied leaf twice": (
        lambda p, b: loss(p["in"].sum(1) + p["head"].sum(1), b),
        {"in": NETWORK["in"], "head": NETWORK["in"]},
        (X, Y),
        {("equal leaves", "warning")},
    ),
    "and transposed": (
        lambda p, b: loss(p["in"].sum(1) + p["head"].sum(0), b),
        {"in": NETWORK["in"], "head": NETWORK["in"].T},
        (X, Y),
        {("equal leaves", "warning")},
    ),
    "quantized weights": (
        lambda p, b: loss(p["scale"] * p["q"], b),
        {"scale": np.float32(0.01), "q": np.round(100 * W).astype(np.int8)},
        (X, Y),
        {("fixed numbers", "warning")},
    ),
    "a step count": (
        lambda p, b: loss(p["w"].sum(1), b),
        {"w": NETWORK["in"], "step": 3},
        (X, Y),
        {("fixed numbers", "note")},
    ),
    "running statistics": (
        lambda p, b: loss(p["params"], (b[0] - p["batch_stats"]["mean"], b[1])),
        {"params": W, "batch_stats": {"mean": np.zeros(5, np.float32)}},
        (X, Y),
        {("running statistics", "note")},
    ),
    "an adapter that was not trained": (
        lambda p, b: loss(W + (p["lora_A"] @ p["lora_B"])[:, 0], b),
        {"lora_A": X[:5, :2], "lora_B": np.zeros((2, 1), np.float32)},
        (X, Y),
        {("zero adapters", "warning")},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_matter_is_found_by_name(name):
    model, params, data, expected = CASES[name]
    findings = lltc.check(model, params, data, nbeta=50.0, linear=False)
    assert {(finding.matter, finding.kind) for finding in findings.found} == expected
    for finding in findings.found:
        assert finding.sentence in findings.summary()
        assert finding.sentence.endswith(".")
        assert "\n" not in finding.sentence


@pytest.mark.parametrize("micro_batch", [1, 8])
@pytest.mark.parametrize(
    "name", ["dropout by a key closed over", "contrastive", "losses over the batch's tokens"]
)
def test_batches_cut_up_hide_nothing(name, micro_batch):
    """Where only a few examples are evaluated at once, what couples them shows all the same."""
    model, params, data, expected = CASES[name]
    findings = lltc.check(model, params, data, nbeta=50.0, micro_batch=micro_batch)
    assert {finding.kind for finding in findings.found} == {kind for _, kind in expected}


FEW: dict[str, Any] = {"num_draws": 128, "num_warmup": 32, "num_chains": 4, "nbeta": 50.0, "progress": False}
VERBS: dict[str, Callable] = {
    "estimate_llc": lltc.estimate_llc,
    "estimate_llc_ladder": lambda *given, **few: lltc.estimate_llc_ladder(
        *given, **few | {"nbeta": [25.0, 50.0]}
    ),
    "estimate_llc_team": lambda *given, **few: lltc.estimate_llc_team(*given, components=["*"], **few),
    "reference_llc": lltc.reference_llc,
    "susceptibilities": lltc.susceptibilities,
    "probe": lambda model, params, data, **few: lltc.probe(model, params, params, data, **few),
    "compression_curve": lltc.compression_curve,
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_every_verb_looks_before_its_chains(verb):
    model, params, data, _ = CASES["contrastive"]
    with pytest.raises(InputError, match="depends on the other examples of its batch"):
        verb(model, params, data, **FEW)
    model, params, data, _ = CASES["a leaf that does nothing"]
    with pytest.warns(LLCWarning, match="does not depend on old, 10 of the 15 numbers"):
        verb(model, params, data, **FEW)


def test_a_row_of_a_sweep_is_refused_with_its_reason(tmp_path):
    model, params, data, _ = CASES["contrastive"]
    with pytest.raises(InputError, match=r"at any of 1 steps; .* the other examples of its batch"):
        lltc.sweep([(1, params)], model, data, out=tmp_path, **FEW)


def test_rows_that_are_not_finite_are_counted_and_named():
    bad = X.copy()
    bad[[7, 300]] = np.nan
    with pytest.raises(InputError, match=r"not finite at params on 2 of the 400 examples \(rows 7, 300\)"):
        lltc.estimate_llc(loss, W, (bad, Y), **FEW)
    with pytest.raises(InputError, match=r"2 of the 400 examples \(rows 7, 300\)"):
        lltc.estimate_llc(lambda w, b: loss(w, b).mean(), W, (bad, Y), batch_size=64, **FEW)


def test_a_leaf_without_numbers_is_no_matter():
    model = lambda w, b: loss(w, b[:2])
    nothing = np.zeros((len(X), 0), np.int32)
    assert lltc.check(model, W, (X, Y, nothing), nbeta=50.0).found == ()


def test_a_model_that_cannot_be_differentiated_is_refused():
    with pytest.raises(InputError, match="no gradient that JAX can take"):
        lltc.estimate_llc(
            lambda w, b: jax.lax.while_loop(lambda c: c.sum() > 9, jnp.tanh, loss(w, b)), W, (X, Y)
        )


def test_both_parts_of_complex_numbers_move():
    """½|x·w - y|² with 5 complex w: ten real directions, so that λ = 5 where the prior is far away."""
    model = lambda w, b: 0.5 * jnp.abs(b[0] @ w - b[1]) ** 2
    settings: dict[str, Any] = {"nbeta": 200.0, "localization": 0.02, "progress": False}
    estimate = lltc.estimate_llc(model, W.astype(np.complex64), (X, Y), **settings)
    assert (estimate.num_params, estimate.status.name) == (10, "ok")
    assert abs(estimate.llc - 5) < 4 * estimate.llc_se
    half = lltc.estimate_llc(model, W.astype(np.complex64), (X, Y), restrict="[:2]", **settings)
    assert half.num_params == 4
    assert abs(half.llc - 2) < 4 * half.llc_se


def test_running_statistics_never_move():
    model, params, data, _ = CASES["running statistics"]
    named = lltc.estimate_llc(model, params, data, restrict="*", **FEW)
    alone = lltc.estimate_llc(lambda w, b: loss(w, b), W, data, **FEW)
    assert named.num_params == 5
    np.testing.assert_array_equal(named.draws, alone.draws)


def test_the_summary_says_what_one_example_is():
    estimate = lltc.estimate_llc(loss, W, (X, Y), **FEW)
    assert "n = 400, one example is [0] float32 (5,), [1] float32 ()" in estimate.summary()
