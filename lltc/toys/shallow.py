"""Nonlinear networks of one hidden layer with known coefficients."""

from math import log
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.toys.counts import best_fit, levels
from lltc.toys.problems import ToyProblem
from lltc.toys.samples import Point, moments
from lltc.toys.values.closed_forms import quadratic_network_llc, tanh_network_llc
from lltc.toys.values.gibbs import Reference
from lltc.toys.values.hmc import hmc_llc

_SCALES = (1.0, 0.3, 0.1, 0.03)


def tanh_network(
    hidden: int,
    *,
    num_examples: int = 500,
    noise: float = 0.0,
    num_levels: int | None = None,
    nbeta: float | None = None,
    localization: float = 1.0,
    num_samples: int = 100_000,
    key: int = 0,
) -> ToyProblem:
    """Return `½(Σ a_h tanh(b_h x) - y)²` at a = b = 0, the truth, on normal x and `y = noise·ξ`.

    Given b the posterior of a is normal, so `llc_finite` needs only an importance sample of b. With
    `num_levels` x is drawn from that many quantiles: the reference then costs the same at any n. `nbeta=None`
    means `n / ln n`. (λ, m) are those of `tanh_network_llc`.

    Raises:
        InputError: `hidden` below 1 or fewer than 2 examples.

    Example:
        >>> tanh_network(1).multiplicity
        2
    """
    known = tanh_network_llc(hidden)
    if num_examples < 2:
        raise InputError(f"num_examples={num_examples} is too few; give at least 2.")
    rng = np.random.default_rng(key)
    if num_levels is None:
        x = rng.standard_normal(num_examples, dtype=np.float32)
    else:
        x = rng.choice(levels(num_levels), num_examples)
    y = (noise * rng.standard_normal(num_examples)).astype(np.float32)
    nbeta = num_examples / log(num_examples) if nbeta is None else nbeta
    return ToyProblem(
        name=f"tanh network H={hidden}, n={num_examples:g}, noise {noise:g}",
        model=_tanh_loss,
        params={"a": jnp.zeros(hidden), "b": jnp.zeros(hidden)},
        data={"x": jnp.asarray(x), "y": jnp.asarray(y)},
        nbeta=nbeta,
        localization=localization,
        llc=known.llc,
        multiplicity=known.multiplicity,
        reference=lambda: _tanh_reference(
            x.astype(float), y.astype(float), hidden, nbeta, localization, num_samples, key
        ),
    )


def quadratic_network(
    inputs: int,
    hidden: int,
    rank: int,
    *,
    num_examples: int = 500,
    noise: float = 0.0,
    at: Point = "truth",
    nbeta: float | None = None,
    localization: float = 1.0,
    key: int = 0,
) -> ToyProblem:
    """Return `½(Σ_h (w_h·x)² - y)²` at the true map of this rank; `llc_finite` by `hmc_llc`.

    `w*` has its first `rank` rows equal to unit vectors, the others 0; `at="minimum"` moves it to the best
    fit of the noisy sample, where no λ is claimed. `nbeta=None` means `n / ln n`. (λ, m) are those of
    `quadratic_network_llc`.

    Raises:
        InputError: `rank` above `inputs` or `hidden`.

    Example:
        >>> quadratic_network(3, 2, 0).llc
        1.5
    """
    known = quadratic_network_llc(inputs=inputs, hidden=hidden, rank=rank)
    rng = np.random.default_rng(key)
    x = rng.standard_normal((num_examples, inputs), dtype=np.float32)
    w = np.eye(hidden, inputs, dtype=np.float32) * (np.arange(hidden) < rank)[:, None]
    y = np.sum((x @ w.T) ** 2, axis=-1) + noise * rng.standard_normal(num_examples)
    params, data = {"w": jnp.asarray(w, jnp.float32)}, {"x": jnp.asarray(x), "y": jnp.asarray(y, jnp.float32)}
    nbeta = num_examples / log(num_examples) if nbeta is None else nbeta
    sums = square_moments(x, np.asarray(data["y"]))
    if at == "minimum":
        params = jax.tree.map(jnp.asarray, best_fit(square_moment_loss, params, sums, np.ones(1)))
    return ToyProblem(
        name=f"quadratic network {inputs}-{hidden} rank {rank}, n={num_examples:g}, noise {noise:g}"
        + (", minimum" if at == "minimum" else ""),
        model=_quadratic_network_loss,
        params=params,
        data=data,
        nbeta=nbeta,
        localization=localization,
        llc=known.llc if at == "truth" else None,
        multiplicity=known.multiplicity if at == "truth" else None,
        reference=lambda: hmc_llc(
            square_moment_loss,
            params,
            sums,
            nbeta=nbeta,
            localization=localization,
            num_chains=128,
            key=key,
        ),
    )


def square_moments(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Return E[φφᵀ] and E[φy] of the products φ = xᵢxⱼ, each with a leading axis of 1.

    Example:
        >>> square_moments(np.array([[1.0], [2.0]]), np.array([0.0, 1.0]))["fourth"]
        array([[[8.5]]])
    """
    products = np.einsum("ni,nj->nij", x.astype(float), x.astype(float)).reshape(len(x), -1)
    G, c = moments(products, y.astype(float)[:, None])
    return {"fourth": G[None], "cross": c[None, :, 0]}


def square_moment_loss(params: Any, batch: Any) -> jax.Array:
    """Return the mean loss of a quadratic network less ½E[y²], (1,), from the `square_moments` of the data.

    Example:
        >>> sums = square_moments(np.array([[1.0], [2.0]]), np.array([0.0, 1.0]))
        >>> float(square_moment_loss({"w": jnp.ones((1, 1))}, sums)[0])
        2.25
    """
    form = (params["w"].T @ params["w"]).reshape(-1)
    return jnp.einsum("i,nij,j->n", form, batch["fourth"], form) / 2 - batch["cross"] @ form


def _tanh_loss(params: Any, batch: Any) -> jax.Array:
    outputs = jnp.tanh(batch["x"][:, None] * params["b"]) @ params["a"]
    return 0.5 * (outputs - batch["y"]) ** 2


def _quadratic_network_loss(params: Any, batch: Any) -> jax.Array:
    return 0.5 * (jnp.sum((batch["x"] @ params["w"].T) ** 2, axis=-1) - batch["y"]) ** 2


def _tanh_reference(x, y, hidden, nbeta, localization, num_samples, key) -> Reference:
    """Self-normalized importance sampling of b; the error is that of ten blocks."""
    rng = np.random.default_rng(key)
    mean_square = np.mean(y**2)
    x, index, counts = np.unique(x, return_inverse=True, return_counts=True)
    share, pull = counts / len(y), np.bincount(index, weights=y) / len(y)
    top, bottom = np.zeros((2, 10))
    for block in range(10):
        b, log_weight = _propose(rng, num_samples // 10, hidden, localization)
        energy, log_evidence = _given_slopes(x, share, pull, b, nbeta, localization)
        # log_evidence ≤ t² gᵀ(tG)⁻¹g / 2 ≤ t·mean(y²)/2 keeps the weights finite.
        weight = np.exp(log_weight + log_evidence - nbeta * mean_square / 2)
        top[block], bottom[block] = np.sum(weight * energy), np.sum(weight)
    llc = top.sum() / bottom.sum()
    influence = (top - llc * bottom) / bottom.mean()
    return Reference(float(llc), float(influence.std(ddof=1) / np.sqrt(10)))


def _propose(rng, num_samples: int, hidden: int, localization: float) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes b from a mixture of scales, and the log of prior over proposal."""
    scales = np.array(_SCALES)
    b = rng.choice(scales, num_samples)[:, None] * rng.standard_normal((num_samples, hidden))
    norm = np.sum(b**2, axis=-1)[:, None]
    proposal = np.mean(np.exp(-norm / (2 * scales**2)) / scales**hidden, axis=-1)
    return b / np.sqrt(localization), -norm[:, 0] / 2 - np.log(proposal)


def _given_slopes(x, share, pull, b, nbeta: float, localization: float) -> tuple[np.ndarray, np.ndarray]:
    """Return t E[K | b] and the log of the integral over a, up to a constant."""
    hidden = b.shape[1]
    G, g = np.empty((len(b), hidden, hidden)), np.empty((len(b), hidden))
    for i in range(0, len(b), 1000):
        features = np.tanh(b[i : i + 1000, :, None] * x)
        G[i : i + 1000] = (features * share) @ features.swapaxes(1, 2)
        g[i : i + 1000] = features @ pull
    precision = nbeta * G + localization * np.eye(hidden)
    mean = np.linalg.solve(precision, nbeta * g[..., None])[..., 0]
    spread = np.trace(np.linalg.solve(precision, nbeta * G), axis1=1, axis2=2)
    bend = np.einsum("si,sij,sj->s", mean, nbeta * G, mean)
    gain = nbeta * np.sum(g * mean, axis=-1)
    return (spread + bend) / 2 - gain, gain / 2 - np.linalg.slogdet(precision)[1] / 2
