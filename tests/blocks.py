"""A network of two independent blocks that learn in turn, and a quick sweep of it with its components."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import lltc

STEPS = tuple(range(0, 120, 10))
LEARNT = {"left": 30, "right": 80}  # the first step at which each block's gate is open
DATA = np.ones((4, 1), np.float32)
QUICK: dict[str, Any] = {
    "num_draws": 1000,
    "num_warmup": 100,
    "num_chains": 4,
    "nbeta": 20.0,
    "localization": 1.0,
    "progress": False,
}


def params_at(step: int, learnt: dict[str, int] = LEARNT) -> dict[str, dict[str, np.ndarray]]:
    """Return blocks of four weights each, two of them behind a gate that opens at the step given.

    The step is an integer among them, so that no two checkpoints are the same.
    """
    return {
        name: {
            "weights": np.ones(4, np.float32),
            "gate": np.array(step >= at, np.int32),
            "at": np.array(step),
        }
        for name, at in learnt.items()
    }


def apply(params: Any, batch: Any) -> Any:
    """Return all weights, those behind closed gates as zero."""
    blocks = [(block["weights"], block["gate"]) for block in params.values()]
    outputs = jnp.concatenate([part for w, gate in blocks for part in (w[:2], gate * w[2:])])
    return batch * outputs


def loss(params: Any, batch: Any) -> Any:
    """Return half the squared distance of the outputs from ones."""
    return 0.5 * jnp.sum((apply(params, batch) - 1) ** 2, -1)


MODEL = lltc.behavioral(apply, "squared", loss=loss)
OBSERVABLES: dict[str, Any] = {
    "left closed": lambda params: 1 - params["left"]["gate"],
    "right closed": lambda params: 1 - params["right"]["gate"],
    "constant": lambda params: params["left"]["weights"].sum(),
}
COMPONENTS = {"left": "left/*", "right": "right/*"}


def sweep_blocks(out: Path, *, learnt: dict[str, int] = LEARNT, **options: Any) -> lltc.Sweep:
    """Sweep the two blocks, with components and observables unless others are asked for."""
    pairs = [(step, params_at(step, learnt)) for step in STEPS]
    asked = QUICK | {"components": COMPONENTS, "observables": OBSERVABLES} | options
    return lltc.sweep(pairs, MODEL, DATA, out=out, **asked)
