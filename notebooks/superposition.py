"""Noisy gradient descent on the toy model of superposition, quenched at every checkpoint.

`python superposition.py --out checkpoints` trains and saves one run; `lltc sweep checkpoints --model
superposition:model --data superposition:data --out sweep --nbeta 100000 --localization 100` measures it.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lltc

FEATURES, RATE, FRAMES, EVERY = 6, 0.1, 60, 100
NUM_EXAMPLES = 700  # what the noise of training stands for: a temperature of 1/n
LENGTH = 0.5  # a shorter feature is no corner
model = lltc.toys.superposition_loss  # the integral over sizes is in closed form: one row a feature


def data() -> jax.Array:
    """Return one row for each of the 6 features."""
    return jnp.eye(FEATURES)


def loss(params: Any) -> jax.Array:
    return model(params, data()).mean()


def noisy_step(params: Any, key: jax.Array, temperature: float, decay: float = 0.0) -> Any:
    """Return `w - rate (∇L + T decay w) + √(2 rate T) ξ`; its stationary law is exp(-L/T - decay ‖w‖²/2)."""
    keys = dict(zip(params, jax.random.split(key, len(params)), strict=True))
    move = lambda w, g, k: (
        w
        - RATE * (g + temperature * decay * w)
        + jnp.sqrt(2 * RATE * temperature) * jax.random.normal(k, w.shape)
    )
    return jax.tree.map(move, params, jax.grad(loss)(params), keys)


@partial(jax.jit, static_argnames=("frames", "every"))
def wander(
    starts: Any,
    keys: jax.Array,
    temperature: float,
    *,
    frames: int = FRAMES,
    every: int = EVERY,
    decay: float = 0.0,
) -> Any:
    """Return what becomes of every start, at `frames` steps `every` apart: leaves `(run, frame, …)`."""

    def frame(params: Any, key: jax.Array) -> tuple[Any, Any]:
        step = lambda w, k: (noisy_step(w, k, temperature, decay), None)
        params = jax.lax.scan(step, params, jax.random.split(key, every))[0]
        return params, params

    run = lambda start, key: jax.lax.scan(frame, start, jax.random.split(key, frames))[1]
    return jax.vmap(run)(starts, keys)


def initialise(key: jax.Array) -> Any:
    """Return short random features with biases near -0.2: most are dead or hardly alive."""
    first, second = jax.random.split(key)
    return {
        "W": 0.6 * jax.random.normal(first, (2, FEATURES)),
        "b": -0.2 + 0.05 * jax.random.normal(second, (FEATURES,)),
    }


def train(num_runs: int, key: int = 0) -> Any:
    """Return `num_runs` independent runs at temperature 1/n, n = `NUM_EXAMPLES`: leaves `(run, frame, …)`."""
    keys = jax.random.split(jax.random.key(key), (num_runs, 2))
    return wander(jax.vmap(initialise)(keys[:, 0]), keys[:, 1], 1 / NUM_EXAMPLES)


@jax.jit
def quench(params: Any) -> Any:
    """Return where gradient descent without noise ends: the critical point under a noisy checkpoint."""
    step = lambda w, _: (jax.tree.map(lambda a, g: a - RATE * g, w, jax.grad(loss)(w)), None)
    return jax.lax.scan(step, params, None, length=4000)[0]


def sides(params: Any) -> int:
    """Return how many corners the features' convex hull has: the k of the k-gon."""
    from scipy.spatial import ConvexHull

    long = np.asarray(params["W"]).T[np.linalg.norm(params["W"], axis=0) > LENGTH]
    return len(ConvexHull(long).vertices) if len(long) > 2 else len(long)


def dead(params: Any) -> Any:
    """Return how many features' outputs are off for every input."""
    return jnp.sum(jnp.max(params["W"].T @ params["W"], axis=1) + params["b"] <= 0)


def constant(params: Any) -> Any:
    """Return how many features are no corner but put out a positive constant."""
    return jnp.sum((jnp.linalg.norm(params["W"], axis=0) <= LENGTH) & (params["b"] > 0))


def shape(params: Any) -> str:
    """Return the name of the phase, such as 5 or 5+ where a constant stands for the missing feature."""
    return f"{sides(params)}{'+' * int(constant(params))}"


@jax.jit
def quadratic_llc(params: Any, nbeta: float, localization: float) -> jax.Array:
    """Return `½ Σ nβh/(nβh + γ)` over the Hessian's spectrum h: λ̂ where the loss is a parabola."""
    flat, back = jax.flatten_util.ravel_pytree(params)
    stiff = nbeta * jnp.clip(jnp.linalg.eigvalsh(jax.hessian(lambda w: loss(back(w)))(flat)), 0)
    return 0.5 * jnp.sum(stiff / (stiff + localization))


OBSERVABLES = {"sides": sides, "dead": dead, "constant": constant}


def at(history: Any, *index: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], history)


def corners(history: Any) -> np.ndarray:
    """Return the number of long features, `(run, frame)`: the sides as a noisy frame shows them."""
    return np.asarray(jnp.sum(jnp.linalg.norm(history["W"], axis=-2) > 0.8, axis=-1))


def choose(history: Any) -> int:
    """Return the run that passes 4, 5 and 6 corners, the others dead, with the longest of shortest stays."""
    count = corners(history)
    off = np.asarray(jax.vmap(jax.vmap(dead))(history))
    stays = np.stack([((count == k) & (off == FEATURES - k)).sum(1) for k in (4, 5, 6)], axis=1)
    back = np.sum(np.diff(count, axis=1) < 0, axis=1)
    return int(np.argmax(stays.min(1) - 3 * back))


def quenched_run(history: Any, run: int) -> tuple[np.ndarray, list[Any]]:
    """Return the steps of one run and its quenched checkpoints, features in the order in which they came."""
    found = jax.device_get(jax.vmap(quench)(at(history, run)))
    long = np.linalg.norm(found["W"], axis=1) > LENGTH
    order = np.argsort(-long.sum(0), kind="stable")
    pairs = [{"W": w[:, order], "b": b[order]} for w, b in zip(found["W"], found["b"], strict=True)]
    return EVERY * np.arange(1, len(pairs) + 1), pairs


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the toy model of superposition with noise.")
    parser.add_argument("--out", type=Path, default=Path("checkpoints"))
    parser.add_argument("--num-runs", type=int, default=64)
    arguments = parser.parse_args()
    runs = train(arguments.num_runs)
    steps, pairs = quenched_run(runs, choose(runs))
    saver = lltc.Saver(arguments.out, steps.tolist())
    for step, params in zip(steps.tolist(), pairs, strict=True):
        saver(step, params)
