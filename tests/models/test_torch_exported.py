"""PyTorch's networks without PyTorch: files of torch.export.save against what PyTorch computed in 64 bits."""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lltc import models
from lltc.models.torch_graph.weights import Weights

FOLDER = Path(__file__).parent / "exported"
NAMES = sorted(path.stem for path in FOLDER.glob("*.npz"))
# Of the largest number, in float32: values, gradients, Hessians times a vector.
TOLERANCE = {"y": 2e-6, "g": 2e-6, "h": 4e-6}


@cache
def load(name: str) -> tuple[models.Model, dict[str, dict[str, np.ndarray]]]:
    """Return a network, and PyTorch's arrays by kind: inputs x, outputs y, gradients g, directions v, h."""
    arrays: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in "xygvh"}
    with np.load(FOLDER / f"{name}.npz") as stored:
        for key in stored.files:
            kind, _, at = key.partition("/")
            arrays[kind][at] = stored[key]
    named = not all(key.isdigit() for key in arrays["x"])
    inputs = None if named else lambda batch: tuple(batch[key] for key in sorted(batch))
    model = models.torch_exported(
        FOLDER / f"{name}.pt2",
        lambda y, _: jnp.sqrt(1 + y * y).reshape(len(y), -1).mean(1),
        inputs=inputs,
    )
    return model, arrays


def named(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def replaced(params: Weights, moved: dict[str, Any]) -> Weights:
    """Return params with the moved arrays, by name, in the place of their own."""
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator=".")
    return jax.tree_util.tree_map_with_path(lambda path, leaf: moved.get(name(path), leaf), params)


def largest(arrays: dict[str, Any], expected: dict[str, np.ndarray]) -> float:
    """Return the largest difference, of the largest number there is."""
    assert set(arrays) == set(expected)
    scale = max(float(np.abs(value).max()) for value in expected.values())
    return max(float(np.abs(arrays[key] - expected[key]).max()) for key in expected) / scale


def test_no_torch_is_needed():
    assert len(NAMES) == 10
    assert "torch" not in sys.modules


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_pytorch(name: str):
    model, arrays = load(name)
    outputs = jax.jit(model.apply)(model.params, arrays["x"])
    assert largest({"": outputs}, arrays["y"]) < TOLERANCE["y"]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_and_curvatures_are_those_of_pytorch_chain_by_chain(name: str):
    """Under jit(vmap(jvp(grad))), as chains and curvatures use a network."""
    model, arrays = load(name)
    point = {key: value for key, value in named(model.params).items() if key in arrays["g"]}
    assert set(point) == set(arrays["g"])
    loss = lambda moved: model(replaced(model.params, moved), arrays["x"]).mean()
    other = {key: 1.1 * value + 0.01 for key, value in point.items()}
    stacked = jax.tree.map(lambda a, b: jnp.stack([a, b]), point, other)
    both = jax.tree.map(lambda v: jnp.stack([v, v]), arrays["v"])
    gradient, curved = jax.jit(jax.vmap(lambda p, v: jax.jvp(jax.grad(loss), (p,), (v,))))(stacked, both)
    first = lambda tree: {key: value[0] for key, value in tree.items()}
    assert largest(first(gradient), arrays["g"]) < TOLERANCE["g"]
    assert largest(first(curved), arrays["h"]) < TOLERANCE["h"]
    assert largest({key: value[1] for key, value in gradient.items()}, arrays["g"]) > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_one_row_gives_what_it_gives_among_others(name: str):
    model, arrays = load(name)
    alone = jax.jit(model.apply)(model.params, {key: value[2:3] for key, value in arrays["x"].items()})
    scale = np.abs(arrays["y"][""]).max()
    rows = {"": arrays["y"][""][2:3]}
    if name != "types":  # It takes a mean over its batch.
        assert np.abs(alone - rows[""]).max() < TOLERANCE["y"] * scale
    assert alone.shape == rows[""].shape


def test_params_are_named_like_the_state_dict():
    model, _ = load("images")
    params = model.params
    assert isinstance(params, Weights)
    assert params["batch"]["running_mean"].shape == params["batch"]["weight"].shape == (6,)
    assert params.held == {"batch/running_mean", "batch/running_var", "batch/num_batches_tracked"}
    tied = load("gpt")[0].params
    assert "head" not in tied
    assert tied.tied == {"head/weight": "tokens/weight"}
