"""Quadratic networks f(x) = Vᵀ(Wᵀx)² on addition modulo p: λ̂ beside K(3p - 1)/2 and its relatives.

The law (Cullen, Estan-Ruiz, Danait & Li 2026, arXiv:2603.01192) counts the atoms v⊗wwᵀ of generic weights: a
unit of 2p + p weights gives 3p - 1 directions, one less for the scaling (w, v) → (sw, v/s²), until all
p·p(2p + 1) quadratic forms are reached. A pair of one-hot numbers a, b sees only w'(a) + w''(b). Moving a
constant from w' to w'' then changes nothing either, and functions on the p² pairs have p³ dimensions.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from law_rows import Row, curvatures, half_rank, measure

# Rows of the p² pairs weigh together what this many examples would.
NUM_EXAMPLES = 20_000
GAUSSIAN_EXAMPLES = 500


def outputs(params: Any, x: jax.Array | np.ndarray) -> jax.Array:
    return (x @ params["in"]) ** 2 @ params["out"]


def pairs(p: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs as two one-hot vectors side by side `(p², 2p)`, and their one-hot sums `(p², p)`."""
    a, b = np.divmod(np.arange(p**2), p)
    one = np.eye(p, dtype=np.float32)
    return np.concatenate([one[a], one[b]], axis=1), one[(a + b) % p]


def paper_law(p: int, width: int) -> float:
    """Return min(K(3p - 1), p²(2p + 1))/2."""
    return min(width * (3 * p - 1), p**2 * (2 * p + 1)) / 2


def pairs_law(p: int, width: int) -> float:
    """Return min(K(3p - 2), p³)/2, the count of generic weights on the pairs."""
    return min(width * (3 * p - 2), p**3) / 2


def random_network(p: int, width: int, key: int = 0) -> dict[str, jax.Array]:
    """Return weights of no particular kind."""
    left, right = jax.random.split(jax.random.key(key))
    return {
        "in": jax.random.normal(left, (2 * p, width)) / np.sqrt(2),
        "out": jax.random.normal(right, (width, p)) / np.sqrt(width),
    }


def fourier_network(p: int) -> dict[str, jax.Array]:
    """Return the exact solution of odd p with 2p - 1 units: two for each cosine and sine, one for the mean.

    (cos α + cos β)² + (sin α - sin β)² = 2 + 2 cos(α + β), with α = ωa - φ/2 and β = ωb - φ/2.
    """
    number = np.arange(p)
    ins, outs = [np.r_[np.ones(p), np.zeros(p)]], [np.full(p, 1 / p)]
    for frequency in 2 * np.pi / p * np.arange(1, (p + 1) // 2):
        for phase in (0.0, np.pi / 2):
            angle, out = frequency * number - phase / 2, np.cos(frequency * number - phase) / p
            ins += [np.r_[np.cos(angle), np.cos(angle)], np.r_[np.sin(angle), -np.sin(angle)]]
            outs += [out, out]
            outs[0] = outs[0] - 2 * out
    ins, outs = np.stack(ins, axis=1), np.stack(outs)
    scale = (np.linalg.norm(outs, axis=1) / np.linalg.norm(ins, axis=0)) ** (1 / 3)
    return {
        "in": jnp.asarray(ins * scale, jnp.float32),
        "out": jnp.asarray(outs / scale[:, None] ** 2, jnp.float32),
    }


def trained_network(p: int, width: int, *, num_steps: int = 20_000, key: int = 1) -> dict[str, jax.Array]:
    """Return a network trained on all pairs by Adam, with a weight decay that fades with the rate."""
    x, y = pairs(p)
    optimizer = optax.adamw(optax.cosine_decay_schedule(0.01, num_steps), weight_decay=0.01)
    gradient = jax.grad(lambda w: jnp.mean(jnp.sum((outputs(w, x) - y) ** 2, axis=1)))

    def step(_: int, state: tuple[Any, Any]) -> tuple[Any, Any]:
        updates, memory = optimizer.update(gradient(state[0]), state[1], state[0])
        return optax.apply_updates(state[0], updates), memory

    start = random_network(p, width, key)
    return jax.jit(lambda s: jax.lax.fori_loop(0, num_steps, step, s))((start, optimizer.init(start)))[0]


def gaussian_row(p: int, width: int) -> Row:
    """Return the row of random weights seen by Gaussian inputs, where the law's count holds as it is."""
    params = random_network(p, width)
    x = np.random.default_rng(0).normal(size=(GAUSSIAN_EXAMPLES, 2 * p)).astype(np.float32)
    name = f"Gaussian inputs, p = {p}, K = {width}"
    return measure(name, outputs, params, x, outputs(params, x), law=paper_law(p, width))


def pairs_row(
    name: str, p: int, params: dict[str, jax.Array], *, moved: str | None = None, **options: Any
) -> Row:
    """Return the row of a network on all pairs, whose own outputs are the targets."""
    x, _ = pairs(p)
    width = params["out"].shape[0]
    weights = np.full(p**2, NUM_EXAMPLES / p**2)
    law = p * width / 2 if moved else paper_law(p, width)
    name = f"{name}, p = {p}, K = {width}"
    return measure(
        name, outputs, params, x, outputs(params, x), law=law, weights=weights, moved=moved, **options
    )


def rank_lines(shapes: Sequence[tuple[int, int]]) -> list[str]:
    """Return a table of half ranks at random weights, Gaussian inputs and pairs beside what is counted."""
    lines = [
        "| p | K | Gaussian inputs | law | all pairs | min(K(3p - 2), p³)/2 |",
        "|---|---|---|---|---|---|",
    ]
    for p, width in shapes:
        params = random_network(p, width)
        inputs = np.random.default_rng(0).normal(size=(GAUSSIAN_EXAMPLES, 2 * p))
        halves = [half_rank(curvatures(outputs, params, x)) for x in (inputs, pairs(p)[0])]
        counts = (paper_law(p, width), pairs_law(p, width))
        lines.append(f"| {p} | {width} | {halves[0]:g} | {counts[0]:g} | {halves[1]:g} | {counts[1]:g} |")
    return lines
