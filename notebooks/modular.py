"""A small network learns addition modulo 17: it memorises first and generalises long afterwards.

`python modular.py --out checkpoints` trains; `lltc sweep checkpoints --model modular:behavioral --data
modular:data --out sweep --nbeta 1000` measures every checkpoint.
"""

import argparse
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lltc

MODULUS, WIDTH, SHARE, SCALE, DECAY, RATE, NUM_STEPS = 17, 32, 0.55, 0.6, 0.2, 0.01, 6000


def apply(params: Any, batch: Any) -> jax.Array:
    """Return `(left[a] + right[b])² out`, `(batch, p)`: one hidden layer of squares."""
    return (params["left"][batch["a"]] + params["right"][batch["b"]]) ** 2 @ params["out"]


def model(params: Any, batch: Any) -> jax.Array:
    """Return half the squared distance from the one-hot sum."""
    sums = jax.nn.one_hot((batch["a"] + batch["b"]) % MODULUS, MODULUS)
    return 0.5 * jnp.sum((apply(params, batch) - sums) ** 2, axis=1)


behavioral = lltc.behavioral(apply, "squared", loss=model)
COMPONENTS = {"embeddings": ["left", "right"], "out": "out"}


@cache
def _pairs() -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Return the pairs (a, b) trained on and those held out."""
    order = np.random.default_rng(0).permutation(MODULUS**2)
    a, b = np.divmod(order, MODULUS)
    cut = int(SHARE * MODULUS**2)
    halves = (slice(0, cut), slice(cut, None))
    train, test = ({"a": jnp.asarray(a[part]), "b": jnp.asarray(b[part])} for part in halves)
    return train, test


def data() -> dict[str, jax.Array]:
    return _pairs()[0]


def held_out() -> dict[str, jax.Array]:
    return _pairs()[1]


def accuracy(params: Any, batch: Any) -> jax.Array:
    return jnp.mean(apply(params, batch).argmax(-1) == (batch["a"] + batch["b"]) % MODULUS)


def concentration(params: Any) -> Any:
    """Return the share of a hidden unit's input weights that lies in its strongest frequency, on average.

    Of the 8 frequencies one has at least 1/8; random weights have about a quarter; 1 is one wave a unit.
    """
    waves = jnp.abs(jnp.fft.rfft(jnp.stack([params["left"], params["right"]]), axis=1)[:, 1:]) ** 2
    power = waves.sum(0)
    weight = power.sum(0)
    return jnp.sum(power.max(0)) / jnp.sum(weight)


OBSERVABLES = {
    "test loss": held_out(),
    "train accuracy": lambda params: accuracy(params, data()),
    "test accuracy": lambda params: accuracy(params, held_out()),
    "concentration": concentration,
}


def initial(key: jax.Array) -> dict[str, jax.Array]:
    """Return random weights of one network."""
    keys = jax.random.split(key, 3)
    return {
        "left": SCALE * jax.random.normal(keys[0], (MODULUS, WIDTH)) / jnp.sqrt(2),
        "right": SCALE * jax.random.normal(keys[2], (MODULUS, WIDTH)) / jnp.sqrt(2),
        "out": SCALE * jax.random.normal(keys[1], (WIDTH, MODULUS)) / jnp.sqrt(WIDTH),
    }


def train(folder: str | Path, steps: Iterable[int], *, key: int = 0) -> None:
    """Train on all pairs at once by Adam with weight decay, and save the parameters at `steps`."""
    params, examples = initial(jax.random.key(key)), data()
    optimizer = optax.adamw(RATE, weight_decay=DECAY)
    gradient = jax.grad(lambda params: model(params, examples).mean())

    def step(_: int, state: tuple[Any, Any]) -> tuple[Any, Any]:
        params, opt_state = state
        updates, opt_state = optimizer.update(gradient(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    advance = jax.jit(lambda count, state: jax.lax.fori_loop(0, count, step, state))
    saver, state, at = lltc.Saver(folder, tuple(steps)), (params, optimizer.init(params)), 0
    for number in sorted(saver.steps):
        state, at = advance(number - at, state), number
        saver(number, state[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train on addition modulo 17 and save checkpoints.")
    parser.add_argument("--out", type=Path, default=Path("checkpoints"))
    parser.add_argument("--num-checkpoints", type=int, default=40)
    arguments = parser.parse_args()
    train(arguments.out, lltc.log_spaced_steps(NUM_STEPS, arguments.num_checkpoints))
