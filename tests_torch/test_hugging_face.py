"""Tiny Hugging Face networks as they are, with random weights: values, gradients, their own losses."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from families import CAUSAL, IDS, MASK, MASKED, WIDTHS, build, compare, losses_of, vit_sizes
from torch.nn.attention import SDPBackend, sdpa_kernel

from lltc import models
from lltc.errors import InputError


@pytest.mark.parametrize("family", CAUSAL)
def test_causal_language_models(family):
    module = build(family, "CausalLM", CAUSAL[family])
    model = models.torch(module, "causal_lm")
    batch = {"input_ids": IDS, "attention_mask": MASK}
    tensors = {name: torch.tensor(value) for name, value in batch.items()}
    labels = torch.tensor(np.where(MASK == 1, IDS, -100))
    with sdpa_kernel(SDPBackend.MATH):
        expected = losses_of(module(**tensors).logits[:, :-1], labels[:, 1:])
    compare(module, model, batch, expected)
    if family == "GPT2":
        own = models.torch(module, "own")
        np.testing.assert_allclose(
            own(own.params, batch | {"labels": labels.numpy()}), expected.detach(), rtol=1e-5
        )
        assert module.config.use_cache


@pytest.mark.parametrize("family", MASKED)
def test_masked_language_models(family):
    module = build(family, "MaskedLM", MASKED[family])
    model = models.torch(module, "masked_lm")
    labels = np.where(IDS % 3 == 0, IDS, -100)
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": labels}
    tensors = {name: torch.tensor(value) for name, value in batch.items()}
    with sdpa_kernel(SDPBackend.MATH):
        expected = losses_of(module(**tensors).logits, tensors["labels"])
    compare(module, model, batch, expected)


def test_classifiers_of_sentences_and_of_images():
    sentences = build("Bert", "SequenceClassification", WIDTHS | {"num_labels": 3})
    images = build("ViT", "ImageClassification", vit_sizes())
    labels, pixels = (
        np.array([0, 1, 2, 1]),
        np.random.default_rng(1).normal(size=(4, 3, 8, 8)).astype(np.float32),
    )
    for module, batch in [
        (sentences, {"input_ids": IDS, "attention_mask": MASK, "labels": labels}),
        (images, {"pixel_values": pixels, "labels": labels}),
    ]:
        tensors = {name: torch.tensor(value) for name, value in batch.items()}
        with sdpa_kernel(SDPBackend.MATH):
            expected = F.cross_entropy(module(**tensors).logits, tensors["labels"], reduction="none")
        compare(module, models.torch(module, "classification"), batch, expected)


def test_a_family_with_a_derivative_of_its_own_is_refused_by_its_line():
    module = build("Bloom", "CausalLM", {"vocab_size": 40, "hidden_size": 16, "n_layer": 2, "n_head": 2})
    model = models.torch(module, "causal_lm")
    with pytest.raises(InputError, match=r"GeLUFunction, at line \d+ of modeling_bloom.py"):
        model(model.params, {"input_ids": IDS, "attention_mask": MASK})
