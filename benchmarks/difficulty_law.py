"""λ̂ against the difficulty of a task, in three families (Lakkapragada 2025, arXiv:2512.00686).

Polynomials of rising degree on [-1, 1] and less, linear networks of rising rank, and autoencoders of data of
rising dimension. There are 500 examples, as there; networks have 20 inputs, not 100, to fit on one core.
"""

from functools import cache
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from law_rows import Row, measure

from lltc.toys.values.gibbs import gibbs_llc

NUM_EXAMPLES, SIZE, HIDDEN = 500, 20, 24


def polynomial(params: Any, x: jax.Array | np.ndarray) -> jax.Array:
    powers = jnp.cumprod(jnp.broadcast_to(x, (len(x), len(params) - 1)), axis=1)
    return params[0] + powers @ params[1:, None]


def linear(params: Any, x: jax.Array | np.ndarray) -> jax.Array:
    return x @ params["first"] @ params["second"]


def autoencoder(params: Any, x: jax.Array | np.ndarray) -> jax.Array:
    values = jnp.asarray(x)
    for place, (kernel, bias) in enumerate(params):
        values = values @ kernel + bias
        values = jax.nn.relu(values) if place in (0, 2) else values
    return values


def polynomial_row(degree: int, reach: float) -> Row:
    """Return the row of a polynomial with coefficients in [-1, 1] on inputs in [-reach, reach].

    The law is d/2, as published. A polynomial that vanishes at more points than its degree is zero: all d + 1
    curvatures are positive, however small.
    """
    rng = np.random.default_rng(degree)
    params = jnp.asarray(rng.uniform(-1, 1, degree + 1), jnp.float32)
    x = rng.uniform(-reach, reach, (NUM_EXAMPLES, 1)).astype(np.float32)
    name = f"degree {degree}, x within ±{reach:g}"
    y = polynomial(params, x)
    return measure(name, polynomial, params, x, y, law=degree / 2, rank=min(degree + 1, NUM_EXAMPLES))


def linear_network(rank: int) -> tuple[dict[str, jax.Array], np.ndarray]:
    """Return random weights of x W₁ W₂ through `rank` hidden units, and inputs."""
    rng = np.random.default_rng(rank)
    params = {
        "first": jnp.asarray(rng.normal(size=(SIZE, rank)) / np.sqrt(SIZE), jnp.float32),
        "second": jnp.asarray(rng.normal(size=(rank, SIZE)) / np.sqrt(rank), jnp.float32),
    }
    return params, rng.normal(size=(NUM_EXAMPLES, SIZE)).astype(np.float32)


def exact_linear(params: dict[str, jax.Array], x: np.ndarray, nbeta: float, localization: float) -> float:
    """Return the λ̂ that block Gibbs sampling finds around a linear network: each factor is Gaussian alone."""
    kernels = [np.asarray(params[name], float) for name in ("first", "second")]
    moment = x.T.astype(float) @ x / len(x)
    cross = moment @ kernels[0] @ kernels[1]
    return gibbs_llc(
        kernels,
        input_moment=moment,
        cross_moment=cross,
        nbeta=nbeta,
        localization=localization,
        num_chains=8,
        num_sweeps=500,
        num_warmup=200,
    ).llc


def linear_row(rank: int) -> Row:
    """Return the row of a linear network at random weights; the law is r(2d - r)/2."""
    params, x = linear_network(rank)
    row = measure(f"rank {rank}", linear, params, x, linear(params, x), law=rank * (2 * SIZE - rank) / 2)
    return row._replace(at_nbeta=exact_linear(params, x, row.estimate.nbeta, row.estimate.localization))


@cache
def train_autoencoder(dimension: int, num_steps: int = 10_000) -> tuple[Any, np.ndarray, float]:
    """Return a trained autoencoder with `dimension` code units, its data, and the mean loss that is left.

    Data are Az with z of `dimension` normal numbers; inputs have variance about one.
    """
    rng = np.random.default_rng(dimension)
    x = rng.normal(size=(NUM_EXAMPLES, dimension)) @ rng.normal(size=(dimension, SIZE)) / np.sqrt(dimension)
    x = x.astype(np.float32)
    widths = (SIZE, HIDDEN, dimension, HIDDEN, SIZE)
    params = [
        (jnp.asarray(rng.normal(size=(a, b)) * np.sqrt(1.5 / a), jnp.float32), jnp.zeros(b))
        for a, b in pairwise(widths)
    ]
    loss = lambda w: jnp.mean(0.5 * jnp.sum((autoencoder(w, x) - x) ** 2, axis=1))
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, num_steps))

    def step(_: int, state: tuple[Any, Any]) -> tuple[Any, Any]:
        updates, memory = optimizer.update(jax.grad(loss)(state[0]), state[1])
        return optax.apply_updates(state[0], updates), memory

    trained, _ = jax.jit(lambda s: jax.lax.fori_loop(0, num_steps, step, s))((params, optimizer.init(params)))
    return trained, x, float(loss(trained))


def autoencoder_row(dimension: int) -> Row:
    """Return the row of a trained autoencoder around its own outputs; the law is only a straight line."""
    params, x, left = train_autoencoder(dimension)
    name = f"dimension {dimension}, loss {left:.2g}"
    return measure(name, autoencoder, params, x, autoencoder(params, x), law=None)


def straight(x: Any, y: Any) -> tuple[float, float, float]:
    """Return slope, intercept and R² of the least-squares line."""
    slope, intercept = np.polyfit(x, y, 1)
    residual = np.asarray(y) - slope * np.asarray(x) - intercept
    return float(slope), float(intercept), float(1 - np.var(residual) / np.var(y))


def parabola(x: Any, y: Any) -> tuple[float, float]:
    """Return a and b of the least-squares a r² + b r, as the paper fits it but without a constant."""
    columns = np.stack([np.square(x), x], axis=1).astype(float)
    (a, b), *_ = np.linalg.lstsq(columns, np.asarray(y), rcond=None)
    return float(a), float(b)
