"""Nonlinear networks of one hidden layer, and a normal mixture, with known coefficients."""

from math import log
from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.toys.closed_forms import gaussian_mixture_llc, quadratic_network_llc, tanh_network_llc
from lltc.toys.gibbs import Reference
from lltc.toys.hmc import hmc_llc
from lltc.toys.problems import ToyProblem

_SCALES = (1.0, 0.3, 0.1, 0.03)


def tanh_network(
    hidden: int,
    *,
    num_examples: int = 500,
    noise: float = 0.0,
    nbeta: float | None = None,
    localization: float = 1.0,
    num_samples: int = 100_000,
    key: int = 0,
) -> ToyProblem:
    """Return `½(Σ a_h tanh(b_h x) - y)²` at a = b = 0, the truth, on normal x and `y = noise·ξ`.

    Given b the posterior of a is normal, so `llc_finite` needs only an importance sample of b. `nbeta=None`
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
    x = rng.standard_normal(num_examples, dtype=np.float32)
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
    nbeta: float | None = None,
    localization: float = 1.0,
    key: int = 0,
) -> ToyProblem:
    """Return `½(Σ_h (w_h·x)² - y)²` at the true map of this rank; `llc_finite` by `hmc_llc`.

    `w*` has its first `rank` rows equal to unit vectors, the others 0. `nbeta=None` means `n / ln n`. (λ, m)
    are those of `quadratic_network_llc`.

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
    return ToyProblem(
        name=f"quadratic network {inputs}-{hidden} rank {rank}, n={num_examples:g}, noise {noise:g}",
        model=_quadratic_network_loss,
        params=params,
        data=data,
        nbeta=nbeta,
        localization=localization,
        llc=known.llc,
        multiplicity=known.multiplicity,
        reference=lambda: hmc_llc(
            _quadratic_network_loss, params, data, nbeta=nbeta, localization=localization, key=key
        ),
    )


def gaussian_mixture(
    *, num_examples: int = 1000, nbeta: float | None = None, localization: float = 1.0, key: int = 0
) -> ToyProblem:
    """Return `-log(a N(x; b₁, 1) + (1-a) N(x; b₂, 1))` at b = 0, a = ½; `llc_finite` by `hmc_llc`.

    `a = 1/(1 + e^{-v})` with v a parameter. The data are the normal distribution's quantiles, scaled to unit
    variance, which makes b = 0 stationary to second order. `nbeta=None` means `n / ln n`. λ = ¾.

    Raises:
        InputError: fewer than 2 examples.

    Example:
        >>> gaussian_mixture().llc
        0.75
    """
    if num_examples < 2:
        raise InputError(f"num_examples={num_examples} is too few; give at least 2.")
    known = gaussian_mixture_llc(2)
    x = np.array([NormalDist().inv_cdf((i + 0.5) / num_examples) for i in range(num_examples)])
    data = jnp.asarray(x / x.std(), jnp.float32)
    params = {"means": jnp.zeros(2), "logit": jnp.zeros(())}
    nbeta = num_examples / log(num_examples) if nbeta is None else nbeta
    return ToyProblem(
        name=f"normal mixture, two free means, n={num_examples:g}",
        model=_mixture_loss,
        params=params,
        data=data,
        nbeta=nbeta,
        localization=localization,
        llc=known.llc,
        multiplicity=known.multiplicity,
        reference=lambda: hmc_llc(
            _mixture_loss, params, data, nbeta=nbeta, localization=localization, key=key
        ),
    )


def _tanh_loss(params: Any, batch: Any) -> jax.Array:
    outputs = jnp.tanh(batch["x"][:, None] * params["b"]) @ params["a"]
    return 0.5 * (outputs - batch["y"]) ** 2


def _quadratic_network_loss(params: Any, batch: Any) -> jax.Array:
    return 0.5 * (jnp.sum((batch["x"] @ params["w"].T) ** 2, axis=-1) - batch["y"]) ** 2


def _mixture_loss(params: Any, batch: jax.Array) -> jax.Array:
    log_shares = jnp.stack([jax.nn.log_sigmoid(params["logit"]), jax.nn.log_sigmoid(-params["logit"])])
    exponents = log_shares - 0.5 * (batch[:, None] - params["means"]) ** 2
    return 0.5 * np.log(2 * np.pi) - jax.nn.logsumexp(exponents, axis=-1)


def _tanh_reference(x, y, hidden, nbeta, localization, num_samples, key) -> Reference:
    """Self-normalized importance sampling of b; the error is that of ten blocks."""
    rng = np.random.default_rng(key)
    top, bottom = np.zeros((2, 10))
    for block in range(10):
        b, log_weight = _propose(rng, num_samples // 10, hidden, localization)
        energy, log_evidence = _given_slopes(x, y, b, nbeta, localization)
        # log_evidence ≤ t² gᵀ(tG)⁻¹g / 2 ≤ t·mean(y²)/2 keeps the weights finite.
        weight = np.exp(log_weight + log_evidence - nbeta * np.mean(y**2) / 2)
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


def _given_slopes(x, y, b, nbeta: float, localization: float) -> tuple[np.ndarray, np.ndarray]:
    """Return t E[K | b] and the log of the integral over a, up to a constant."""
    hidden = b.shape[1]
    G, g = np.empty((len(b), hidden, hidden)), np.empty((len(b), hidden))
    for i in range(0, len(b), 1000):
        features = np.tanh(b[i : i + 1000, :, None] * x)
        G[i : i + 1000] = features @ features.swapaxes(1, 2) / len(x)
        g[i : i + 1000] = features @ y / len(x)
    precision = nbeta * G + localization * np.eye(hidden)
    mean = np.linalg.solve(precision, nbeta * g[..., None])[..., 0]
    spread = np.trace(np.linalg.solve(precision, nbeta * G), axis1=1, axis2=2)
    bend = np.einsum("si,sij,sj->s", mean, nbeta * G, mean)
    pull = nbeta * np.sum(g * mean, axis=-1)
    return (spread + bend) / 2 - pull, pull / 2 - np.linalg.slogdet(precision)[1] / 2
