"""Mixtures of two normal distributions whose truth is a single one."""

from math import log
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.toys.counts import excess_loss, levels, weighted_model
from lltc.toys.problems import ToyProblem
from lltc.toys.values.closed_forms import gaussian_mixture_llc
from lltc.toys.values.gibbs import Reference
from lltc.toys.values.hmc import hmc_llc
from lltc.toys.values.quadrature import quadrature_llc

_NODES = 30
_HALVINGS = 14
_LEAST_RATIO = 1e-3


def gaussian_mixture(
    *,
    num_examples: int = 1000,
    sampled: bool = False,
    nbeta: float | None = None,
    localization: float = 1.0,
    num_draws: int = 1500,
    key: int = 0,
) -> ToyProblem:
    """Return `-log(a N(x; b₁, 1) + (1-a) N(x; b₂, 1))` at b = 0, a = ½; `llc_finite` by `hmc_llc`.

    `a = 1/(1 + e^{-v})` with v a parameter. The data are the normal distribution's quantiles, scaled to unit
    variance, which makes b = 0 stationary to second order; `sampled` draws them, and b = 0 is no minimum.
    The reference replaces them by the nodes of their `gauss_rule`. `nbeta=None` means `n / ln n`. λ = ¾.

    Raises:
        InputError: fewer than 2 examples.

    Example:
        >>> gaussian_mixture().llc
        0.75
    """
    if num_examples < 2:
        raise InputError(f"num_examples={num_examples} is too few; give at least 2.")
    known = gaussian_mixture_llc(2)
    x = levels(num_examples)
    if sampled:
        x = np.random.default_rng(key).standard_normal(num_examples, dtype=np.float32)
    params = {"means": jnp.zeros(2), "logit": jnp.zeros(())}
    nbeta = num_examples / log(num_examples) if nbeta is None else nbeta

    def reference() -> Reference:
        model, data = weighted_model(two_means_loss, params, *gauss_rule(x))
        return hmc_llc(
            model,
            params,
            data,
            nbeta=nbeta,
            localization=localization,
            num_chains=64,
            num_draws=num_draws,
            key=key,
        )

    return ToyProblem(
        name=f"normal mixture, two free means, n={num_examples:g}" + (", sampled" if sampled else ""),
        model=two_means_loss,
        params=params,
        data=jnp.asarray(x),
        nbeta=nbeta,
        localization=localization,
        llc=known.llc,
        multiplicity=known.multiplicity,
        reference=reference,
    )


def gauss_rule(x: np.ndarray, *, num_nodes: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights whose weighted mean is that over x for polynomials of degree < 2·num_nodes.

    Means of smooth functions, as the losses of a mixture are of x, agree to rounding. The nodes are the
    eigenvalues of the Jacobi matrix that Lanczos' method makes from diag(x) (Golub & Welsch 1969).

    Example:
        >>> gauss_rule(np.array([-1.0, 0.0, 1.0]), num_nodes=2)
        (array([-0.816,  0.816]), array([0.5, 0.5]))
    """
    x = np.asarray(x, dtype=float)
    num_nodes = min(num_nodes, len(np.unique(x)))
    basis = np.zeros((num_nodes, len(x)))
    basis[0] = len(x) ** -0.5
    diagonal, side = np.zeros(num_nodes), np.zeros(num_nodes)
    for i in range(num_nodes):
        step = x * basis[i]
        diagonal[i] = basis[i] @ step
        for _ in range(2):  # twice is enough to stay orthogonal
            step = step - basis[: i + 1].T @ (basis[: i + 1] @ step)
        side[i] = np.linalg.norm(step)
        if i + 1 < num_nodes:
            basis[i + 1] = step / side[i]
    jacobi = np.diag(diagonal) + np.diag(side[:-1], 1) + np.diag(side[:-1], -1)
    nodes, vectors = np.linalg.eigh(jacobi)
    return nodes, vectors[0] ** 2


def one_mean_mixture(*, nbeta: float = 1e4, localization: float = 25.0) -> ToyProblem:
    """Return the population's `-log((1-a) N(x; 0, 1) + a N(x; b, 1))` less its value at a = b = 0; (½, 2).

    The mean over x is a Gauss-Hermite sum: examples are its nodes, weighted. Where a negative a would make
    the density ratio fall below 0.001 the loss stays at that value. `llc_finite` is exact, by quadrature.

    Example:
        >>> one_mean_mixture().multiplicity
        2
    """
    node, weight = np.polynomial.hermite_e.hermegauss(_NODES)
    known = gaussian_mixture_llc(1)
    data = {"x": jnp.asarray(node, jnp.float32), "weight": jnp.asarray(weight / weight.mean(), jnp.float32)}
    params = {"share": jnp.zeros(()), "mean": jnp.zeros(())}

    def reference() -> Reference:
        excess, center = excess_loss(_one_mean_loss, params, data, np.full(_NODES, 1 / _NODES))
        where = {"nbeta": nbeta, "localization": localization, "center": center}
        return Reference(quadrature_llc(excess, halvings=_HALVINGS, **where), 0.0)

    return ToyProblem(
        name="normal mixture, one free mean, population",
        model=_one_mean_loss,
        params=params,
        data=data,
        nbeta=nbeta,
        localization=localization,
        llc=known.llc,
        multiplicity=known.multiplicity,
        reference=reference,
    )


def two_means_loss(params: Any, batch: jax.Array) -> jax.Array:
    """Return `-log(a N(x; b₁, 1) + (1-a) N(x; b₂, 1))`, (batch,), of x in the batch.

    Example:
        >>> two_means_loss({"means": jnp.zeros(2), "logit": jnp.zeros(())}, jnp.zeros(1))
        Array([0.919], dtype=float32)
    """
    log_shares = jnp.stack([jax.nn.log_sigmoid(params["logit"]), jax.nn.log_sigmoid(-params["logit"])])
    exponents = log_shares - 0.5 * (batch[:, None] - params["means"]) ** 2
    return 0.5 * np.log(2 * np.pi) - jax.nn.logsumexp(exponents, axis=-1)


def _one_mean_loss(params: Any, batch: Any) -> jax.Array:
    ratio = 1 + params["share"] * jnp.expm1(params["mean"] * batch["x"] - params["mean"] ** 2 / 2)
    return -batch["weight"] * jnp.log(jnp.maximum(ratio, _LEAST_RATIO))
