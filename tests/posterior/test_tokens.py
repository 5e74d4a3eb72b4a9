"""Losses of tokens with a mask: an example's loss is their mean, wherever losses are used."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc import InputError
from lltc.models import Model, token_cross_entropy
from lltc.models.losses import resolve_loss
from tests.fluctuations.tokens.gaussian import DATA, POINT, model

OPTIONS: dict[str, Any] = {
    "nbeta": 20.0,
    "localization": 1.0,
    "num_draws": 200,
    "num_warmup": 100,
    "progress": False,
}


def of_examples(w, batch):
    losses, mask = model(w, batch)
    return jnp.sum(jnp.where(mask, losses, 0), -1) / mask.sum(-1)


@pytest.mark.parametrize(
    "options",
    [{}, {"batch_size": 16}, {"micro_batch": 8}, {"linear": False}, {"weights": np.arange(1.0, 41.0)}],
)
def test_an_estimate_of_tokens_is_that_of_their_means(options):
    both = [lltc.estimate_llc(loss, POINT, DATA, **(OPTIONS | options)) for loss in (model, of_examples)]
    np.testing.assert_allclose(both[0].draws, both[1].draws, rtol=1e-4, atol=1e-4)


def test_susceptibilities_and_probes_take_them_too():
    options = OPTIONS | {"components": ["[:2]"], "slices": {"first": tuple(a[:10] for a in DATA)}}
    both = [lltc.susceptibilities(loss, POINT, DATA, **options).chi.value for loss in (model, of_examples)]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-2, atol=1e-5)


def test_a_sweep_observes_sub_losses_of_tokens(tmp_path):
    few = tuple(a[:7] for a in DATA)
    pairs = [(step, POINT + np.float32(step)) for step in (0, 1)]
    swept = lltc.sweep(pairs, model, DATA, out=tmp_path, observables={"few": few}, **OPTIONS)
    exact = [float(of_examples(params, few).mean()) for _, params in pairs]
    np.testing.assert_allclose(swept.curve["few"], exact, rtol=1e-5)


def test_an_adapter_with_the_loss_of_tokens():
    logits = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    labels = np.array([[0, 1, -100, 4], [1, 1, 1, 1], [2, -1, -1, 3]])
    adapter = Model(lambda w, batch: w * batch["x"], resolve_loss("token_cross_entropy"))
    losses, mask = adapter(1.0, {"x": logits, "y": labels})
    np.testing.assert_array_equal(mask, labels >= 0)
    np.testing.assert_array_equal(losses[~mask], 0)
    rows = logits[labels >= 0]
    exact = np.log(np.exp(rows).sum(-1)) - rows[np.arange(len(rows)), labels[labels >= 0]]
    np.testing.assert_allclose(losses[mask], exact, rtol=1e-5)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [(np.zeros((2, 3)), np.zeros(2, int)), (np.zeros((2, 3, 4)), np.zeros((3, 2), int))],
)
def test_shapes_that_do_not_fit_are_refused(logits, labels):
    with pytest.raises(InputError, match=r"takes logits \(batch, tokens, classes\)"):
        token_cross_entropy(logits, labels)


def test_labels_beyond_the_classes_are_no_number():
    losses, mask = token_cross_entropy(jnp.zeros((1, 2, 3)), jnp.array([[0, 3]]))
    assert np.isnan(losses).tolist() == [[False, True]]
    assert mask.all()
