"""The networks that speed is measured on: random parameters, random data, the loss a user would write."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.types import PyTree

Loss = Callable[[PyTree, PyTree], jax.Array]


class Network(NamedTuple):
    """A loss `(params, batch) -> (batch,)`, its params and data, and the chains and examples of a step.

    `outputs` are what a language model predicts, `(params, batch) -> (batch, token, class)`.
    """

    name: str
    loss: Loss
    params: PyTree
    data: PyTree
    num_chains: int
    batch_size: int
    outputs: Callable[[PyTree, PyTree], jax.Array] | None = None

    @property
    def num_params(self) -> int:
        """The number of parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))


def linear_net(width: int = 20, *, num_examples: int = 100_000) -> Network:
    """Return a two-layer linear network with equal widths, 8 chains of 512 examples."""
    rng = np.random.default_rng(0)
    params = {name: normal(rng, width, width) for name in ("first", "second")}
    x = normal(rng, num_examples, width, scale=1.0)
    y = x @ params["first"] @ params["second"] + normal(rng, num_examples, width, scale=1.0)

    def loss(params: PyTree, batch: PyTree) -> jax.Array:
        return 0.5 * jnp.sum((batch["x"] @ params["first"] @ params["second"] - batch["y"]) ** 2, -1)

    return Network(f"linear {width}-{width}-{width}", loss, params, {"x": x, "y": y}, 8, 512)


def mlp(*sizes: int, num_examples: int = 20_000, num_chains: int = 4, batch_size: int = 512) -> Network:
    """Return a ReLU network's cross entropy; sizes from inputs to classes."""
    rng = np.random.default_rng(0)
    params = [
        {"kernel": normal(rng, inputs, outputs), "bias": np.zeros(outputs, np.float32)}
        for inputs, outputs in pairwise(sizes)
    ]
    data = {
        "x": normal(rng, num_examples, sizes[0], scale=1.0),
        "y": rng.integers(0, sizes[-1], num_examples),
    }

    def loss(params: PyTree, batch: PyTree) -> jax.Array:
        hidden = batch["x"]
        for layer in params[:-1]:
            hidden = jax.nn.relu(hidden @ layer["kernel"] + layer["bias"])
        return cross_entropy(hidden @ params[-1]["kernel"] + params[-1]["bias"], batch["y"])

    return Network(f"MLP {'-'.join(map(str, sizes))}", loss, params, data, num_chains, batch_size)


def transformer(
    *,
    layers: int,
    width: int,
    heads: int,
    vocabulary: int,
    feed_forward: bool = True,
    context: int = 64,
    batch_size: int = 4,
    num_chains: int = 2,
) -> Network:
    """Return a causal language model's mean cross entropy a sequence: pre-norm, no biases."""
    rng = np.random.default_rng(0)

    def block() -> dict[str, np.ndarray]:
        made = {"qkv": normal(rng, width, 3 * width), "out": normal(rng, width, width)}
        return made | (
            {"up": normal(rng, width, 4 * width), "down": normal(rng, 4 * width, width)}
            if feed_forward
            else {}
        )

    params = {
        "embed": normal(rng, vocabulary, width, scale=0.02),
        "position": normal(rng, context, width, scale=0.02),
        "blocks": [block() for _ in range(layers)],
        "unembed": normal(rng, width, vocabulary),
    }

    def attend(layer: PyTree, hidden: jax.Array) -> jax.Array:
        count, length, _ = hidden.shape
        q, k, v = jnp.split((hidden @ layer["qkv"]).reshape(count, length, 3 * heads, -1), 3, axis=2)
        mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        return mixed.reshape(count, length, width) @ layer["out"]

    def outputs(params: PyTree, batch: PyTree) -> jax.Array:
        hidden = params["embed"][batch["tokens"][:, :-1]] + params["position"]
        for layer in params["blocks"]:
            hidden = hidden + attend(layer, norm(hidden))
            if feed_forward:
                hidden = hidden + jax.nn.gelu(norm(hidden) @ layer["up"]) @ layer["down"]
        return norm(hidden) @ params["unembed"]

    def loss(params: PyTree, batch: PyTree) -> jax.Array:
        return cross_entropy(outputs(params, batch), batch["tokens"][:, 1:]).mean(-1)

    data = {"tokens": rng.integers(0, vocabulary, (512, context + 1))}
    name = f"{layers}-layer {'transformer' if feed_forward else 'attention-only'}"
    return Network(name, loss, params, data, num_chains, batch_size, outputs)


def speed_networks() -> tuple[Network, ...]:
    """Return the four networks of the speed table."""
    return (
        linear_net(),
        mlp(784, 256, 256, 10),
        transformer(layers=2, width=128, heads=4, vocabulary=4096, feed_forward=False),
        transformer(layers=6, width=320, heads=8, vocabulary=4096),
    )


def gpt2_small() -> Network:
    """Return a transformer of the size of GPT-2 small, 124 M parameters but for its untied output layer."""
    return transformer(
        layers=12, width=768, heads=12, vocabulary=50257, context=1024, batch_size=8, num_chains=4
    )


def normal(rng: np.random.Generator, *shape: int, scale: float | None = None) -> np.ndarray:
    """Return normal numbers, by default of variance 1/inputs."""
    scale = shape[0] ** -0.5 if scale is None else scale
    return np.float32(scale) * rng.standard_normal(shape, np.float32)


def norm(hidden: jax.Array) -> jax.Array:
    """Return the last axis centred and of unit variance."""
    centred = hidden - hidden.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-5)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return -log p(label), the last axis of `logits` being classes."""
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], -1)[..., 0]
