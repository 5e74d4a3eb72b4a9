"""Mixtures of two normal distributions whose truth is a single one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.toys.closed_forms import gaussian_mixture_llc
from lltc.toys.counts import counted, excess_loss, levels
from lltc.toys.gibbs import Reference
from lltc.toys.problems import ToyProblem
from lltc.toys.quadrature import quadrature_llc

_NODES = 30
_HALVINGS = 14
_LEAST_RATIO = 1e-3


def gaussian_mixture(
    *,
    num_examples: int = 1000,
    num_levels: int | None = None,
    nbeta: float | None = None,
    localization: float = 1.0,
    key: int = 0,
) -> ToyProblem:
    """Return `-log(a N(x; b₁, 1) + (1-a) N(x; b₂, 1))` at b = 0, a = ½; `llc_finite` by `hmc_llc`.

    `a = 1/(1 + e^{-v})` with v a parameter. The data are the normal distribution's quantiles, scaled to unit
    variance, which makes b = 0 stationary to second order; with `num_levels` they are a sample of that many
    quantiles, and b = 0 is no minimum. `nbeta=None` means `n / ln n`. λ = ¾.

    Raises:
        InputError: fewer than 2 examples.

    Example:
        >>> gaussian_mixture().llc
        0.75
    """
    if num_examples < 2:
        raise InputError(f"num_examples={num_examples} is too few; give at least 2.")
    cells, counts = levels(num_examples), np.ones(num_examples, int)
    if num_levels is not None:
        cells = levels(num_levels)
        chance = np.full(num_levels, 1 / num_levels)
        counts = np.random.default_rng(key).multinomial(num_examples, chance)
    return counted(
        f"normal mixture, two free means, n={num_examples:g}" + ("" if num_levels is None else ", sampled"),
        _two_means_loss,
        {"means": jnp.zeros(2), "logit": jnp.zeros(())},
        cells,
        counts,
        nbeta=nbeta,
        localization=localization,
        known=gaussian_mixture_llc(2),
        key=key,
    )


def one_mean_mixture(*, nbeta: float = 1e4, localization: float = 25.0) -> ToyProblem:
    """Return the population's `-log((1-a) N(x; 0, 1) + a N(x; b, 1))` less its value at a = b = 0; (½, 2).

    The mean over x is a Gauss-Hermite sum: examples are its nodes, weighted. Where a negative a would make
    the density ratio fall below .001 the loss stays at that value. `llc_finite` is exact, by quadrature.

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


def _two_means_loss(params: Any, batch: jax.Array) -> jax.Array:
    log_shares = jnp.stack([jax.nn.log_sigmoid(params["logit"]), jax.nn.log_sigmoid(-params["logit"])])
    exponents = log_shares - 0.5 * (batch[:, None] - params["means"]) ** 2
    return 0.5 * np.log(2 * np.pi) - jax.nn.logsumexp(exponents, axis=-1)


def _one_mean_loss(params: Any, batch: Any) -> jax.Array:
    ratio = 1 + params["share"] * jnp.expm1(params["mean"] * batch["x"] - params["mean"] ** 2 / 2)
    return -batch["weight"] * jnp.log(jnp.maximum(ratio, _LEAST_RATIO))
