"""The stiffest directions of the loss at a checkpoint, by Hessian-vector products."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.derivatives import with_derivative
from lltc.posterior.examples import held_batches
from lltc.posterior.layout import Center, center_vector
from lltc.posterior.target import LocalPosterior, Target
from lltc.types import PyTree

EXACT = 512
PASSES = 2
AT_ONCE = 8


class Curved(NamedTuple):
    """Orthonormal `directions` `(d, k)` and the loss's curvature vᵀHv along each `(k,)`, falling.

    `exact` says that they are all eigenvectors of the Hessian; else they are its k largest, found by a block
    Krylov space, and others may follow.
    """

    directions: np.ndarray
    curvature: np.ndarray
    exact: bool


def find_directions(posterior: LocalPosterior, count: int, examples: int, seed: int) -> Curved:
    """Return the `count` directions of largest curvature of L_n at w*, or all of up to 512.

    The Hessian is that of up to `examples` examples. Where there are more, those found on one random sample
    are curved more on it than elsewhere, so that their curvature is measured on another.

    Source: Musco & Musco (2015, arXiv:1504.05477), algorithm 2, for the block Krylov space.
    """
    size, dimension = posterior.data.size, posterior.num_params
    rows = np.arange(size)
    if size > examples:
        half = min(examples, size // 2)
        half -= half % posterior.batch_size if half > posterior.batch_size else 0
        rows = np.random.default_rng((seed, 1)).choice(size, 2 * half, replace=False)
    found_on, measured_on = (rows, rows) if size <= examples else np.array_split(rows, 2)
    count = dimension if dimension <= EXACT else min(count, dimension // (PASSES + 1))
    product = _Product(posterior, np.sort(found_on), count)
    if dimension <= EXACT:
        values, vectors = _decompose(product(np.eye(dimension, dtype=np.float32)))
    else:
        values, vectors = _krylov(product, dimension, count, seed)
    if size > examples:
        values = np.sum(vectors * _Product(posterior, np.sort(measured_on), count)(vectors), 0)
        order = np.argsort(-values)
        values, vectors = values[order], vectors[:, order]
    return Curved(vectors, values, dimension <= EXACT)


def _decompose(hessian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues, falling, and eigenvectors."""
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T).astype(np.float64))
    return values[::-1], vectors[:, ::-1]


def _krylov(product: "_Product", dimension: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest Ritz values and vectors of span[Ω, HΩ, H²Ω], Ω random `(d, count)`."""
    block = np.random.default_rng((seed, 2)).normal(size=(dimension, count)).astype(np.float32)
    basis, images = np.zeros((dimension, 0), np.float32), np.zeros((dimension, 0), np.float32)
    for _ in range(PASSES + 1):
        block = _beyond(basis, block)
        if not block.size:
            break
        image = product(block)
        basis, images = np.hstack([basis, block]), np.hstack([images, image])
        block = image
    values, vectors = _decompose(basis.T @ images)
    return values[:count], basis @ vectors[:, :count].astype(np.float32)


def _beyond(basis: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of what of `block` lies outside of `basis`, rounding left out.

    Where the Hessian's rank is used up, all of an image lies inside: what is then left over is rounding,
    which must not be taken for directions.
    """
    scale = float(np.sqrt(np.max(np.sum(np.square(block, dtype=np.float64), 0), initial=0.0)))
    for _ in range(2):
        block = orthonormal(block - basis @ (basis.T @ block), scale=scale)
        scale = 1.0
    return block


def orthonormal(columns: np.ndarray, *, least: float = 1e-5, scale: float | None = None) -> np.ndarray:
    """Return an orthonormal basis of the span of `columns` `(d, k)`, of it longer than `least` · `scale`.

    `scale` is by default the longest. By the eigenvectors of the k × k Gram matrix, in float64: for long
    columns far quicker than a QR decomposition.
    """
    values, vectors = np.linalg.eigh(np.matmul(columns.T, columns, dtype=np.float64))
    largest = max(values.max(initial=0.0), 1e-30) if scale is None else scale**2
    large = values > least**2 * largest
    return columns @ (vectors[:, large] / np.sqrt(values[large])).astype(columns.dtype)


class _Product:
    """Hessian times vectors `(d, k)`, over some examples; always a multiple of `width`, to compile once."""

    def __init__(self, posterior: LocalPosterior, rows: np.ndarray, width: int):
        self.posterior, self.size, self.width = posterior, len(rows), width
        self.batches = held_batches(posterior, posterior.data, rows)

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        target, center = self.posterior.target, self.posterior.center
        rows = jnp.asarray(vectors.T, self.posterior.dtype)
        rows = jnp.pad(rows, ((0, -len(rows) % self.width), (0, 0)))
        total = sum(np.asarray(_times(target, center, rows, batch), np.float64) for batch in self.batches)
        return np.asarray(total)[: vectors.shape[1]].T / self.size


@partial(jax.jit, static_argnums=0)
def _times(target: Target, center: Center, vectors: jax.Array, batch: PyTree) -> jax.Array:
    """Return the examples' number times the Hessian of their mean loss at w*, times each vector."""
    size = jax.tree.leaves(batch)[0].shape[0]
    slope = jax.grad(lambda position: target.losses(center, position, batch).mean())
    nowhere = jnp.zeros_like(vectors[0])
    try:
        _, times = jax.linearize(slope, nowhere)
    except Exception:  # JAX raises errors of many kinds for what it has no rule for.
        norm = jnp.linalg.norm(center_vector(target.layout, center))
        rows = lambda points: (jax.vmap(slope)(points), None)
        times = lambda vector: with_derivative(rows, nowhere[None], vector[None], norm)[1][0]
    return size * jax.lax.map(times, vectors, batch_size=AT_ONCE)
