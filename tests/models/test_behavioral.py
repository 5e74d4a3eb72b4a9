"""The behavioral loss: known distances, an exact minimum at the anchor, precision near it."""

from decimal import Decimal, localcontext
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from lltc.errors import InputError
from lltc.estimates.llc import estimate_llc
from lltc.models import Behavioral, Model, behavioral, squared
from lltc.models.losses import resolve_loss

X = jax.random.normal(jax.random.key(0), (7, 3))


def network(params, batch):
    return jnp.tanh(batch @ params["first"]) @ params["last"]


def logits_are_params(params, _):
    return params


@partial(jax.jit, static_argnums=0)
def against(distance, params, anchor, batch):
    return distance.against(params, anchor, batch)


kl_of_logits = partial(against, behavioral(logits_are_params, "kl"))


def weights(seed):
    one, two = jax.random.split(jax.random.key(seed))
    return {"first": jax.random.normal(one, (3, 5)), "last": jax.random.normal(two, (5, 4))}


def exact_kl(anchor, logits):
    """The textbook formula in 50 digits, (...,)."""
    rows = zip(
        np.reshape(anchor, (-1, anchor.shape[-1])), np.reshape(logits, (-1, logits.shape[-1])), strict=True
    )
    return np.reshape([exact_kl_of_one(p, q) for p, q in rows], anchor.shape[:-1])


def exact_kl_of_one(anchor, logits):
    with localcontext(prec=50):
        p, q = ([Decimal(float(z)).exp() for z in row] for row in (anchor, logits))
        total = sum(p, Decimal(0))
        ratio = sum(q, Decimal(0)) / total
        terms = [a / total * (a / b * ratio).ln() for a, b in zip(p, q, strict=True)]
        return float(sum(terms, Decimal(0)))


def test_squared_distance_sums_over_output_axes():
    distance = behavioral(lambda w, batch: w * batch, "squared")
    batch = jnp.arange(8.0).reshape(2, 2, 2)
    np.testing.assert_array_equal(distance.against(3.0, 1.0, batch), [0.5 * 4 * 14, 0.5 * 4 * 126])


def test_kl_of_known_probabilities():
    p, q = jnp.array([[0.5, 0.5], [0.9, 0.1]]), jnp.array([[0.25, 0.75], [0.5, 0.5]])
    expected = [0.5 * np.log(2) + 0.5 * np.log(2 / 3), 0.9 * np.log(1.8) + 0.1 * np.log(0.2)]
    kl = kl_of_logits(jnp.log(q) + 5.0, jnp.log(p), X)
    np.testing.assert_allclose(kl, expected, rtol=1e-5)


def test_kl_of_sequences_is_the_mean_over_positions():
    anchor, logits = jax.random.normal(jax.random.key(3), (2, 6, 5, 4))
    kl = kl_of_logits(logits, anchor, X)
    np.testing.assert_allclose(kl, exact_kl(anchor, logits).mean(1), rtol=1e-5)


@pytest.mark.parametrize("kind", ["squared", "kl"])
def test_the_anchor_is_an_exact_minimum(kind):
    distance, params = behavioral(network, kind), weights(0)
    run = jax.jit(jax.value_and_grad(lambda w, anchor: distance.against(w, anchor, X).sum()))
    value, gradient = run(params, params)
    assert float(value) == 0.0
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_array_equal(leaf, np.zeros_like(leaf))


@pytest.mark.parametrize("kind", ["squared", "kl"])
def test_the_anchor_has_no_gradient(kind):
    distance = behavioral(network, kind)
    gradient = jax.grad(lambda anchor: against(distance, weights(0), anchor, X).sum())(weights(1))
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_array_equal(leaf, np.zeros_like(leaf))


@pytest.mark.parametrize("kind", ["squared", "kl"])
def test_gradient_and_curvature_match_finite_differences(kind):
    distance, anchor = behavioral(network, kind), weights(0)
    nearby = jax.tree.map(lambda a, b: a + 0.2 * b, anchor, weights(1))
    mean = jax.jit(lambda w: distance.against(w, anchor, X).mean())
    check_grads(mean, (nearby,), order=1, modes=["rev"], rtol=0.02, atol=0.005)
    slope = jax.jit(lambda w: jax.jvp(mean, (w,), (weights(2),))[1])
    check_grads(slope, (nearby,), order=1, modes=["rev"], rtol=0.02, atol=0.01)


def test_curvature_at_the_anchor_is_the_fisher_matrix():
    anchor = jax.random.normal(jax.random.key(4), (1, 5))
    hessian = jax.jit(jax.hessian(lambda z: kl_of_logits(z[None], anchor, X)[0]))(anchor[0])
    p = jax.nn.softmax(anchor[0])
    np.testing.assert_allclose(hessian, jnp.diag(p) - jnp.outer(p, p), atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.floats(-6.0, 1.2))
def test_kl_keeps_its_relative_precision_near_and_far(seed, log_size):
    one, two = jax.random.split(jax.random.key(seed))
    anchor = 3.0 * jax.random.normal(one, (20, 6))
    logits = anchor + 10.0**log_size * jax.random.normal(two, (20, 6))
    kl = np.asarray(kl_of_logits(logits, anchor, X))
    np.testing.assert_allclose(kl, exact_kl(anchor, logits), rtol=1e-5)
    assert (kl >= 0).all()


def test_kl_beyond_the_range_of_exp():
    anchor, logits = jnp.array([[0.0, -100.0, 0.0]]), jnp.array([[0.0, 200.0, 0.0]])
    value, gradient = jax.value_and_grad(lambda z: kl_of_logits(z, anchor, X).sum())(logits)
    np.testing.assert_allclose(value, 200.0 - np.log(2.0), rtol=1e-6)
    np.testing.assert_allclose(gradient, [[-0.5, 1.0, -0.5]], atol=1e-6)


@pytest.mark.parametrize("hidden", [-jnp.inf, -1e9])
def test_masked_classes_do_not_count(hidden):
    anchor, logits = jnp.array([[0.3, hidden, -1.0]]), jnp.array([[0.1, hidden, 2.0]])
    value, gradient = jax.value_and_grad(lambda z: kl_of_logits(z, anchor, X).sum())(logits)
    np.testing.assert_allclose(value, exact_kl(anchor[:, ::2], logits[:, ::2])[0], rtol=1e-5)
    expected = jax.nn.softmax(logits) - jax.nn.softmax(anchor)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_chains_share_one_anchor():
    distance, anchor = behavioral(network, "kl"), weights(0)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), weights(1), weights(2))
    both = jax.jit(jax.vmap(distance.against, (0, None, None)))(stacked, anchor, X)
    for row, seed in zip(both, (1, 2), strict=True):
        np.testing.assert_allclose(row, against(distance, weights(seed), anchor, X), rtol=1e-4)


def test_it_is_hashable_and_carries_the_task_loss():
    task = Model(network, lambda f, batch: squared(f, f + 1.0 + 0.0 * batch[:, :1]))
    one, two = behavioral(task.apply, "kl", loss=task), Behavioral(network, "kl", task)
    assert one == two
    assert hash(one) == hash(two)
    assert one != behavioral(network, "squared", loss=task)
    assert one.loss is task


def test_numpy_params_may_be_looked_up_by_the_batch():
    """As loaded from a file, the anchor's too: λ of an embedding is half the rows looked up."""
    embedding, tokens = np.ones((5, 1), np.float32), np.arange(8) % 4
    distance = behavioral(lambda table, batch: table[batch], "squared")
    found = estimate_llc(
        distance, embedding, tokens, nbeta=1e4, localization=1.0, num_draws=2000, progress=False
    )
    assert abs(found.llc - 2) < 4 * found.llc_se < 0.4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: behavioral(network, "cosine"),
            r"kind must be one of \['squared', 'kl'\]; received 'cosine'",
        ),
        (lambda: behavioral(3, "kl"), "apply must be a function .* received int"),  # pyright: ignore
        (lambda: behavioral(network, "kl", loss="squared"), "received 'squared'"),  # pyright: ignore
        (lambda: behavioral(network, "kl")(weights(0), X), r"against\(params, anchor_params, batch\)"),
        (lambda: behavioral(logits_are_params, "kl").against(jnp.ones(3), jnp.ones(3), X), r"gave \(3,\)"),
        (lambda: behavioral(logits_are_params, "squared").against(1.0, 1.0, X), "gave a scalar"),
    ],
)
def test_misuse_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_an_adapters_model_brings_its_loss_and_its_params():
    params = weights(0)
    model = Model(network, lambda outputs, _: squared(outputs, jnp.zeros_like(outputs)), params)
    distance = behavioral(model, "squared")
    assert distance == behavioral(network, "squared", loss=model)
    assert distance.params is params
    few = {"num_draws": 32, "num_warmup": 32, "num_chains": 2, "progress": False}
    estimate = estimate_llc(distance, params, X, nbeta=50.0, localization=1.0, **few)
    np.testing.assert_allclose(estimate.init_loss, model(params, X).mean(), rtol=1e-5)


def test_a_model_that_computes_its_own_loss_has_no_outputs_to_compare():
    own = Model(lambda w, batch: w * batch, lambda losses, _: losses, has_outputs=False)
    with pytest.raises(InputError, match=r"^apply is a model with the loss \"own\", which gives losses"):
        behavioral(own, "squared")


def test_an_adapter_with_losses_of_tokens_may_be_given_too():
    tokens = jnp.arange(24).reshape(6, 4) % 5
    table = jax.random.normal(jax.random.key(1), (5, 5))
    model = Model(lambda w, batch: w[batch], resolve_loss("causal_lm"), table)
    few = {"num_draws": 32, "num_warmup": 32, "num_chains": 2, "progress": False}
    estimate = estimate_llc(behavioral(model, "kl"), table, tokens, nbeta=50.0, localization=1.0, **few)
    losses, mask = model(table, tokens)
    np.testing.assert_allclose(estimate.init_loss, losses[mask].mean(), rtol=1e-5)
