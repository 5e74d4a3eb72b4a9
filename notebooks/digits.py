"""A small Flax network learns scikit-learn's digits with Optax; Orbax saves checkpoints on the way.

`python digits.py --out checkpoints` trains, then
`lltc sweep checkpoints --model digits:behavioral --data digits:data --out sweep` measures every checkpoint.
"""

import argparse
from functools import cache
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
from flax import linen as nn

import lltc


class MLP(nn.Module):
    """64 pixels, one hidden layer, 10 logits."""

    width: int = 32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(10)(nn.tanh(nn.Dense(self.width)(x)))


network = MLP()
model = lltc.models.flax_linen(network, "cross_entropy")
behavioral = lltc.behavioral(model.apply, "kl", loss=model)


@cache
def data() -> dict[str, jax.Array]:
    """Return all 1797 digits: pixels in [0, 1] `(1797, 64)` and labels `(1797,)`."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return {"x": jnp.asarray(x / 16, jnp.float32), "y": jnp.asarray(y)}


def train(out: str | Path, *, num_steps: int = 10_000, num_checkpoints: int = 24, key: int = 0) -> None:
    """Train by Adam on batches of 128 and save `{"params", "opt_state"}` at log-spaced steps in `out`.

    A folder that already holds the last step is left as it is.
    """
    digits, start = data(), jax.random.key(key)
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, num_steps))

    def step(index: int | jax.Array, state: dict) -> dict:
        chosen = jax.random.choice(jax.random.fold_in(start, index), len(digits["y"]), (128,))
        batch = jax.tree.map(lambda leaf: leaf[chosen], digits)
        gradient = jax.grad(lambda params: model(params, batch).mean())(state["params"])
        updates, opt_state = optimizer.update(gradient, state["opt_state"])
        return {"params": optax.apply_updates(state["params"], updates), "opt_state": opt_state}

    advance = jax.jit(lambda first, last, state: jax.lax.fori_loop(first, last, step, state))
    params = network.init(start, digits["x"][:1])["params"]
    state = {"params": params, "opt_state": optimizer.init(params)}
    steps = lltc.checkpoints.log_spaced_steps(num_steps, num_checkpoints)
    with ocp.CheckpointManager(Path(out).resolve()) as manager:
        if manager.latest_step() == num_steps:
            return
        manager.save(0, args=ocp.args.StandardSave(state))
        for before, after in pairwise(steps):
            state = advance(before, after, state)
            manager.save(after, args=ocp.args.StandardSave(state))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train on the digits and save checkpoints.")
    parser.add_argument("--out", type=Path, default=Path("checkpoints"))
    parser.add_argument("--num-checkpoints", type=int, default=24)
    arguments = parser.parse_args()
    train(arguments.out, num_checkpoints=arguments.num_checkpoints)
