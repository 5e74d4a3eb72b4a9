"""Mislabelled digits stand out by how much their loss gains over the posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lltc

SIZE, WRONG, HIDDEN, STEPS = 400, 40, 24, 1500


def network(params, x):
    return jnp.tanh(x @ params["first"] + params["bias"]) @ params["second"]


def model(params, batch):
    x, y = batch
    return lltc.models.cross_entropy(network(params, x), y)


def mislabelled(key: int):
    """Return digits of which some labels are wrong, and which."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(key)
    rows = rng.choice(len(x), SIZE, replace=False)
    wrong = np.arange(SIZE) < WRONG
    labels = np.where(wrong, (y[rows] + rng.integers(1, 10, SIZE)) % 10, y[rows])
    return ((x[rows] / 16).astype(np.float32), labels.astype(np.int32)), wrong


def train(data, key: int):
    """Return a network trained until it has most of the wrong labels by heart."""
    keys = jax.random.split(jax.random.key(key))
    start = {
        "first": 0.2 * jax.random.normal(keys[0], (64, HIDDEN)),
        "bias": jnp.zeros(HIDDEN),
        "second": 0.2 * jax.random.normal(keys[1], (HIDDEN, 10)),
    }
    optimizer = optax.adam(1e-2)

    def step(_, state):
        params, moments = state
        gradient = jax.grad(lambda w: model(w, data).mean())(params)
        updates, moments = optimizer.update(gradient, moments)
        return optax.apply_updates(params, updates), moments

    run = jax.jit(lambda state: jax.lax.fori_loop(0, STEPS, step, state))
    return run((start, optimizer.init(start)))[0]


@pytest.mark.parametrize("key", [0, 1, 2])
def test_mislabelled_digits_are_found_by_their_loss_gain(tmp_path, key, capsys):
    from sklearn.metrics import roc_auc_score

    data, wrong = mislabelled(key)
    params = train(data, key)
    record = lltc.read(
        model, params, data, store=tmp_path, nbeta=100.0, localization=10.0, num_draws=800, num_warmup=400,
        key=key, progress=False,
    )  # fmt: skip
    gain = record.loss_gain()
    found = roc_auc_score(wrong, gain.value)
    by_loss = roc_auc_score(wrong, record.tokens.loss)
    of_prior = roc_auc_score(wrong, gain.control)
    with capsys.disabled():
        print(f"\nAUROC by loss gain {found:.3f}, by loss {by_loss:.3f}, by the prior's gain {of_prior:.3f}")
    assert found > 0.9
    right, left = gain.value[wrong].mean(), gain.value[~wrong].mean()
    assert right - left > 5 * np.sqrt(np.mean(gain.se[wrong] ** 2))
