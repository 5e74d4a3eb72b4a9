"""Two linear networks side by side, each with a bottleneck, learn their teachers' modes in turn.

`python two_blocks.py --out runs` trains and saves one run a seed; `lltc sweep runs --runs --model
two_blocks:behavioral --data two_blocks:data --out sweeps --nbeta 1000 --localization 1` measures them.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lltc

WIDTH, HIDDEN, RATE, SCALE = 5, 2, 0.02, 1e-6
MODES = {"left": (4.0, 1.0), "right": (2.0, 0.5)}  # singular values of the teachers
POSTERIOR = {"nbeta": 1000.0, "localization": 1.0}


def apply(params: Any, batch: Any) -> jax.Array:
    """Return the outputs of both blocks, `(batch, 10)`."""
    return jnp.concatenate([batch[name] @ params[name]["in"] @ params[name]["out"] for name in MODES], axis=1)


def data() -> dict[str, jax.Array]:
    """Return ten examples: the first five speak to the left block, the others to the right one.

    The mean loss over them is the sum of both blocks' `½‖out in - teacher‖²`; a teacher is diagonal.
    """
    inputs = np.sqrt(2 * WIDTH) * np.eye(2 * WIDTH, dtype=np.float32)
    teachers = [np.diag([*values, *[0.0] * (WIDTH - HIDDEN)]) for values in MODES.values()]
    halves = (inputs[:, :WIDTH], inputs[:, WIDTH:])
    targets = np.concatenate([half @ teacher for half, teacher in zip(halves, teachers, strict=True)], axis=1)
    return {
        "left": jnp.asarray(halves[0]),
        "right": jnp.asarray(halves[1]),
        "y": jnp.asarray(targets, jnp.float32),
    }


def model(params: Any, batch: Any) -> jax.Array:
    return 0.5 * jnp.sum((apply(params, batch) - batch["y"]) ** 2, axis=1)


behavioral = lltc.behavioral(apply, "squared", loss=model)
COMPONENTS = {name: f"{name}/*" for name in MODES}
EXAMPLES = {"left": slice(0, WIDTH), "right": slice(WIDTH, 2 * WIDTH)}


def initialise(key: int) -> Any:
    """Return tiny random weights, different in every run."""
    keys = iter(jax.random.split(jax.random.key(key), 2 * len(MODES)))
    draw = lambda *shape: SCALE * jax.random.normal(next(keys), shape)
    return {name: {"in": draw(WIDTH, HIDDEN), "out": draw(HIDDEN, WIDTH)} for name in MODES}


def train(folder: str | Path, steps: Iterable[int], *, key: int = 0) -> None:
    """Descend the gradient and save the parameters at `steps`."""
    saver, examples, params, at = lltc.Saver(folder, tuple(steps)), data(), initialise(key), 0
    gradient = jax.grad(lambda w: model(w, examples).mean())
    descend = lambda _, w: jax.tree.map(lambda a, g: a - RATE * g, w, gradient(w))
    advance = jax.jit(lambda count, w: jax.lax.fori_loop(0, count, descend, w))
    for step in sorted(saver.steps):
        params, at = advance(step - at, params), step
        saver(step, params)


def ranks(params: Any) -> dict[str, int | None]:
    """Return how many modes each block has learnt; None where one is on its way.

    Learnt is a singular value above 0.9 of the teacher's; one so small that nβ s² ≤ 0.1 the posterior does
    not see.
    """
    found = {}
    for name, values in MODES.items():
        first, second = (np.asarray(params[name][layer], float) for layer in ("in", "out"))
        reached = np.linalg.svd(first @ second)[1][:HIDDEN]
        learnt = reached > 0.9 * np.array(values)
        unseen = POSTERIOR["nbeta"] * reached**2 <= 0.1
        found[name] = int(learnt.sum()) if np.all(learnt | unseen) else None
    return found


def exact_llc(params: Any, name: str) -> float:
    """Return one block's λ̂ of the behavioral loss at this nβ and γ, by exact Gibbs sampling."""
    kernels = [np.asarray(params[name][layer], float) for layer in ("in", "out")]
    moments = {"input_moment": np.eye(WIDTH), "cross_moment": kernels[0] @ kernels[1]}
    return lltc.toys.gibbs_llc(kernels, **moments, **POSTERIOR, num_sweeps=500).llc


def saved_steps(count: int) -> list[int]:
    """Return step 0 and `count` steps from 60 to 3000, evenly spaced in their logarithm."""
    return [0, *np.unique(np.geomspace(60, 3000, count).astype(int)).tolist()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train two blocks and save checkpoints.")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--num-runs", type=int, default=3)
    arguments = parser.parse_args()
    for seed in range(arguments.num_runs):
        train(arguments.out / f"seed{seed}", saved_steps(40), key=seed)
