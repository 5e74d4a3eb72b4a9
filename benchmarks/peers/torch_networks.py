"""The networks of `networks.py` written in PyTorch, given lltc's weights."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

Arrays = dict[str, np.ndarray]


class Block(nn.Module):
    """Causal attention and, where wanted, a feed-forward layer; pre-norm, no biases."""

    def __init__(self, width: int, heads: int, feed_forward: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False) if feed_forward else None
        self.down = nn.Linear(4 * width, width, bias=False) if feed_forward else None

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the residual stream after the block."""
        count, length, width = hidden.shape
        heads = self.qkv(self.norm(hidden)).view(count, length, 3 * self.heads, -1).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(*heads.chunk(3, dim=1), is_causal=True)
        hidden = hidden + self.out(mixed.transpose(1, 2).reshape(count, length, width))
        if self.up is not None and self.down is not None:
            grown = functional.gelu(self.up(self.norm(hidden)), approximate="tanh")
            hidden = hidden + self.down(grown)
        return hidden


class Transformer(nn.Module):
    """A causal language model: token ids to logits."""

    def __init__(
        self, *, vocabulary: int, width: int, context: int, layers: int, heads: int, feed_forward: bool
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.zeros(context, width))
        self.blocks = nn.ModuleList(Block(width, heads, feed_forward) for _ in range(layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.unembed = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of each next token."""
        hidden = self.embed(tokens) + self.position
        for block in self.blocks:
            hidden = block(hidden)
        return self.unembed(self.norm(hidden))


def build(arrays: Arrays, heads: int) -> nn.Module:
    """Return the network that has weights of these names and shapes."""
    if "first" in arrays:
        return filled(linear_net(arrays), arrays, {"0.weight": "first", "1.weight": "second"})
    if "0/kernel" in arrays:
        model = mlp(arrays)
        own = {name: name.split(".") for name in model.state_dict()}
        kinds = {"weight": "kernel", "bias": "bias"}
        return filled(
            model, arrays, {name: f"{int(i) // 2}/{kinds[kind]}" for name, (i, kind) in own.items()}
        )
    model = transformer(arrays, heads)
    return filled(
        model, arrays, {name: name.removesuffix(".weight").replace(".", "/") for name in model.state_dict()}
    )


def linear_net(arrays: Arrays) -> nn.Module:
    """Return linear layers without biases."""
    return nn.Sequential(*(nn.Linear(*arrays[name].shape, bias=False) for name in ("first", "second")))


def mlp(arrays: Arrays) -> nn.Module:
    """Return layers with ReLU between them."""
    biases = [arrays[f"{i}/bias"] for i in range(sum(name.endswith("bias") for name in arrays))]
    sizes = [len(arrays["0/kernel"]), *map(len, biases)]
    layers = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def transformer(arrays: Arrays, heads: int) -> nn.Module:
    """Return the language model; its heads are not to be seen in the shapes."""
    vocabulary, width = arrays["embed"].shape
    return Transformer(
        vocabulary=vocabulary,
        width=width,
        context=len(arrays["position"]),
        layers=sum(name.endswith("qkv") for name in arrays),
        heads=heads,
        feed_forward="blocks/0/up" in arrays,
    )


def filled(model: nn.Module, arrays: Arrays, names: dict[str, str]) -> nn.Module:
    """Return the model with lltc's weights; a layer keeps (outputs, inputs), tables are as they are."""
    layers = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    weights = {own: arrays[name].T if own in layers else arrays[name] for own, name in names.items()}
    model.load_state_dict({own: torch.tensor(weight) for own, weight in weights.items()})
    return model
