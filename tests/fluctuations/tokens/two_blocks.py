"""Tokens of two kinds, the loss of each kind a function of its own block of weights."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import lltc

SIZE, LENGTH, WIDTH = 50, 8, 3
NBETA, GAMMA = 40.0, 10.0
BLOCKS = ("left", "right")
OPTIONS: dict[str, Any] = {"nbeta": NBETA, "localization": GAMMA, "num_draws": 4000, "progress": False}


def make_data(seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return inputs, targets, the kind of each token, what it weighs, and a gate before the right block."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(SIZE, LENGTH, WIDTH)).astype(np.float32)
    kind = rng.integers(2, size=(SIZE, LENGTH))
    y = (0.3 * rng.normal(size=(SIZE, LENGTH))).astype(np.float32)
    return x, y, kind, np.ones_like(y), np.ones_like(y)


def train(data: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
    """Return the weights of least loss, all gates being open."""
    x, y, kind, weight, _ = data
    root = np.sqrt(weight)
    rows = [(root[..., None] * x)[kind == block] for block in (0, 1)]
    aims = [(root * y)[kind == block] for block in (0, 1)]
    fits = [np.linalg.lstsq(*pair, rcond=None)[0] for pair in zip(rows, aims, strict=True)]
    blocks = [fit.astype(np.float32) for fit in fits]
    return dict(zip(BLOCKS, blocks, strict=True))


DATA = make_data()
KIND = DATA[2].ravel()


def model(params, batch):
    """½(x·w - y)² with the block of the token's kind, times what the token weighs."""
    x, y, kind, weight, gate = batch
    outputs = jnp.where(kind == 0, x @ params["left"], gate * (x @ params["right"]))
    return weight * 0.5 * (outputs - y) ** 2, jnp.ones(weight.shape, bool)


def read(folder: Path, *, gate: float = 1.0, **changed: Any) -> lltc.LossRecord:
    """Read the tokens into a folder, behind a gate that may be closed."""
    data = (*DATA[:4], np.full_like(DATA[4], gate))
    options: dict[str, Any] = {"components": BLOCKS} | OPTIONS | changed
    return lltc.read(model, train(DATA), data, store=folder, **options)


def hessians(weights: np.ndarray) -> list[np.ndarray]:
    """Return each block's Hessian of L_n with tokens weighing so much `(token,)`."""
    x = DATA[0].reshape(-1, WIDTH).astype(float)
    return [(weights * (kind == KIND) / len(KIND) * x.T) @ x for kind in (0, 1)]
