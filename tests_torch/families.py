"""Tiny networks of Hugging Face's families, their losses and gradients by PyTorch."""

import jax
import numpy as np
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

WIDTHS = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
}
GPT2 = {
    "vocab_size": 40,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 32,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
GROUPED = WIDTHS | {"num_key_value_heads": 1, "head_dim": 8}
CAUSAL = {
    "GPT2": GPT2,
    "GPTNeoX": WIDTHS,
    "Llama": GROUPED,
    "Mistral": GROUPED,
    "Qwen2": GROUPED,
    "Qwen3": GROUPED,
    "Gemma": GROUPED,
    "Gemma2": GROUPED,
    "Phi": WIDTHS,
    "Olmo": WIDTHS,
    "OPT": {
        "vocab_size": 40,
        "hidden_size": 16,
        "word_embed_proj_dim": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "ffn_dim": 32,
        "max_position_embeddings": 32,
    },
}
MASKED = {
    "Bert": WIDTHS,
    "Roberta": WIDTHS | {"pad_token_id": 1},
    "DistilBert": {
        "vocab_size": 40,
        "dim": 16,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 32,
        "max_position_embeddings": 32,
    },
}
IDS = np.random.default_rng(0).integers(3, 40, (4, 12))
MASK = (np.arange(12) < np.array([12, 9, 5, 12])[:, None]).astype(np.int64)


def build(family, kind, sizes):
    """Return a network with random weights."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**sizes)
    return getattr(transformers, f"AutoModelFor{kind}").from_config(config).eval()


def vit_sizes():
    """Return the widths of an image classifier."""
    text = ("vocab_size", "max_position_embeddings", "pad_token_id")
    sizes = {name: WIDTHS[name] for name in WIDTHS if name not in text}
    return sizes | {"image_size": 8, "patch_size": 4, "num_labels": 3}


def as_on_the_hub(folder, module):
    """Write a GPT-2's weights as its first authors did: without their prefix, with masks beside them."""
    folder.mkdir()
    names = {name.removeprefix("transformer."): tensor for name, tensor in module.state_dict().items()}
    arrays = {name: tensor.clone() for name, tensor in names.items() if name != "lm_head.weight"}
    length = module.config.n_positions
    mask = {"h.0.attn.bias": torch.ones(1, 1, length, length).tril()}
    save_file(arrays | mask, folder / "model.safetensors", metadata={"format": "pt"})
    module.config.architectures = ["GPT2LMHeadModel"]
    module.config.save_pretrained(folder)


def losses_of(logits, labels):
    """Return each example's mean loss over the tokens that count."""
    each = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none", ignore_index=-100)
    return each.sum(1) / (labels != -100).sum(1)


def compare(module, model, batch, expected):
    """Check losses and the gradient of their mean."""

    def losses_by_example(params):
        losses = model(params, batch)
        if not isinstance(losses, tuple):
            return losses
        each, mask = losses
        return jax.numpy.where(mask, each, 0.0).sum(1) / mask.sum(1)

    gradient = jax.jit(jax.grad(lambda params: losses_by_example(params).mean(), allow_int=True))(
        model.params
    )
    np.testing.assert_allclose(jax.jit(losses_by_example)(model.params), expected.detach(), rtol=2e-6)
    named = {name: value for name, value in module.named_parameters() if value.requires_grad}
    wanted = torch.autograd.grad(expected.mean(), list(named.values()), allow_unused=True)
    scale = max(float(value.abs().max()) for value in wanted if value is not None)
    leaves = jax.tree_util.tree_leaves_with_path(gradient)
    ours = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    for name, value in zip(named, wanted, strict=True):
        value = torch.zeros_like(named[name]) if value is None else value
        assert np.abs(np.asarray(ours[name]) - value.numpy()).max() < 1e-5 * scale, name
