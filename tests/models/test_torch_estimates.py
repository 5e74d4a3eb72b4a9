"""Estimates of an exported network: those of the same network written by hand in JAX."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

import lltc
from lltc import models

X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
Y = np.tanh(X[:, :1]) + 0.3 * np.random.default_rng(1).normal(size=(200, 1)).astype(np.float32)


def by_hand(params, batch):
    first, last = params["0"], params["2"]
    hidden = jnp.tanh(batch[0] @ first["weight"].T + first["bias"])
    return 0.5 * jnp.square(hidden @ last["weight"].T + last["bias"] - batch[1]).sum(1)


def test_the_learning_coefficient_is_that_of_the_network_by_hand():
    """With the same key the chains are the same but for rounding."""
    model = models.torch_exported(Path(__file__).parent / "exported" / "mlp.pt2", "regression")
    options = {"key": 3, "num_chains": 4, "num_draws": 200, "progress": False}
    ours, theirs = (lltc.estimate_llc(loss, model.params, (X, Y), **options) for loss in (model, by_hand))
    assert ours.num_params == theirs.num_params == 21
    np.testing.assert_allclose(ours.llc, theirs.llc, rtol=1e-3)
    np.testing.assert_allclose(ours.llc_se, theirs.llc_se, rtol=1e-2)
