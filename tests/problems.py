"""Small losses shared by the tests."""

import jax
import jax.numpy as jnp
import numpy as np

DUMMY = np.zeros((4, 1), np.float32)


def constant(loss):
    """Turn a function of the params into a model that ignores its batch."""
    return lambda params, batch: loss(params) * jnp.ones(jax.tree.leaves(batch)[0].shape[0])


def linear_loss(params, batch):
    """½‖ABx - y‖² of a two-layer linear network."""
    x, y = batch
    return 0.5 * jnp.sum((x @ params["first"] @ params["second"] - y) ** 2, -1)


def balanced(rank: int, inputs: int = 5, hidden: int = 3, outputs: int = 5):
    """Return the balanced rank-`rank` point of a two-layer linear network and its population data."""
    first, second = np.zeros((inputs, hidden), np.float32), np.zeros((hidden, outputs), np.float32)
    first[range(rank), range(rank)] = second[range(rank), range(rank)] = 1
    x = (np.sqrt(inputs) * np.eye(inputs)).astype(np.float32)
    return {"first": first, "second": second}, (x, x @ first @ second)


def regression(key: int, size: int, width: int, noise: float = 1.0):
    """Return a noisy linear regression: its per-example loss, least-squares weights and data."""
    rng = np.random.default_rng(key)
    x = rng.normal(size=(size, width)).astype(np.float32)
    y = (x @ rng.normal(size=width) + noise * rng.normal(size=size)).astype(np.float32)
    weights = np.linalg.lstsq(x, y, rcond=None)[0].astype(np.float32)
    return lambda w, batch: 0.5 * (batch[0] @ w - batch[1]) ** 2, weights, (x, y)
