"""Data sets of few distinct examples, drawn many times: their exact mean loss is a short weighted sum."""

from collections.abc import Callable
from math import log
from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from lltc.toys.problems import ToyProblem
from lltc.toys.values.closed_forms import LearningCoefficient
from lltc.toys.values.gibbs import Reference
from lltc.toys.values.hmc import hmc_llc
from lltc.toys.values.quadrature import quadrature_llc

_BLOCK = 4096  # points evaluated at a time, so that one compilation serves all
_HALVINGS = 6  # fitted losses are about quadratic near w*

Model = Callable[[Any, Any], jax.Array]


def counted(
    name: str,
    model: Model,
    params: Any,
    cells: Any,
    counts: np.ndarray,
    *,
    nbeta: float | None = None,
    localization: float = 1.0,
    known: LearningCoefficient | None = None,
    linear: bool = True,
    num_chains: int = 64,
    num_draws: int = 1500,
    key: int = 0,
) -> ToyProblem:
    """Return the problem of a data set that holds `counts[i]` copies of the i-th example of `cells`.

    `L_n = Σ (countsᵢ/n) ℓ(w, zᵢ)` is exact for the data as they are, noise included. `llc_finite` comes from
    `quadrature_llc` up to two parameters, from `hmc_llc` above.

    Args:
        name: of the problem.
        model: `model(params, batch) -> losses`, (batch,).
        params: `w*`, a pytree.
        cells: the distinct examples, a pytree of arrays with a common leading axis.
        counts: how often each occurs.
        nbeta: t; None means `n / ln n`.
        localization: γ.
        known: asymptotic (λ, m).
        linear: False takes the slope at `w*` out of the loss.
        num_chains: of the Hamiltonian reference.
        num_draws: of each.
        key: seed of the Hamiltonian reference.

    Example:
        >>> loss = lambda w, x: 0.5 * (w - x) ** 2
        >>> problem = counted("coin", loss, jnp.zeros(()), jnp.array([-1.0, 1.0]), np.array([50, 50]))
        >>> problem.num_examples, problem.llc_finite
        (100, 0.47799)
    """
    counts = np.asarray(counts)
    size = int(counts.sum())
    nbeta = size / log(size) if nbeta is None else nbeta
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)

    def reference() -> Reference:
        share = counts / size
        if ravel_pytree(params)[0].size <= 2:
            excess, center = excess_loss(model, params, cells, share, linear=linear)
            where = {"nbeta": nbeta, "localization": localization, "center": center}
            return Reference(quadrature_llc(excess, halvings=_HALVINGS, **where), 0.0)
        weighted, data = weighted_model(model, params, cells, share, linear=linear)
        return hmc_llc(
            weighted,
            params,
            data,
            nbeta=nbeta,
            localization=localization,
            num_chains=num_chains,
            num_draws=num_draws,
            key=key,
        )

    return ToyProblem(
        name=name,
        model=model,
        params=params,
        data=jax.tree.map(lambda leaf: jnp.asarray(np.repeat(np.asarray(leaf), counts, axis=0)), cells),
        nbeta=nbeta,
        localization=localization,
        llc=known and known.llc,
        multiplicity=known and known.multiplicity,
        reference=reference,
        linear=linear,
    )


def weighted_model(
    model: Model, params: Any, cells: Any, share: np.ndarray, *, linear: bool = True
) -> tuple[Model, Any]:
    """Return a model and data whose plain mean over the cells is their mean weighted by `share`.

    Example:
        >>> share = np.array([0.9, 0.1])
        >>> model, data = weighted_model(lambda w, x: w * x, jnp.ones(()), jnp.arange(2.0), share)
        >>> model(jnp.float32(2.0), data).mean()
        Array(0.2, dtype=float32)
    """
    plain = lambda w, batch: len(share) * batch["share"] * model(w, batch["cells"])
    data = {"cells": cells, "share": np.asarray(share, dtype=float)}
    if linear:
        return plain, data
    with jax.enable_x64(True):
        double = jax.tree.map(_doubled, {"params": params, "data": data})
        center, unravel = ravel_pytree(double["params"])
        slope = jax.grad(lambda flat: plain(unravel(flat), double["data"]).mean())(center)
        center, slope = np.asarray(center), np.asarray(slope)
    return lambda w, batch: plain(w, batch) - (ravel_pytree(w)[0] - center) @ slope, data


def excess_loss(
    model: Model, params: Any, cells: Any, share: np.ndarray, *, linear: bool = True
) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Return `K = L - L(w*)` as a float64 function of points (..., d), and `w*` (d,).

    Example:
        >>> loss = lambda w, x: 0.5 * (w - x) ** 2
        >>> excess, center = excess_loss(loss, jnp.zeros(1), jnp.array([-1.0, 1.0]), np.array([0.5, 0.5]))
        >>> excess(np.array([[2.0]])), center
        (array([2.]), array([0.]))
    """
    weighted, data = weighted_model(model, params, cells, share, linear=linear)
    with jax.enable_x64(True):
        data = jax.tree.map(_doubled, data)
        center, unravel = ravel_pytree(jax.tree.map(_doubled, params))
        losses = jax.jit(jax.vmap(lambda flat: weighted(unravel(flat), data).mean()))
        bottom = float(losses(center[None])[0])

    def excess(points: np.ndarray) -> np.ndarray:
        flat = points.reshape(-1, center.size)
        padded = np.concatenate([flat, np.zeros((-len(flat) % _BLOCK, center.size))])
        with jax.enable_x64(True):
            values = [np.asarray(losses(padded[i : i + _BLOCK])) for i in range(0, len(padded), _BLOCK)]
        return np.concatenate(values)[: len(flat)].reshape(points.shape[:-1]) - bottom

    return excess, np.asarray(center)


def levels(num_levels: int) -> np.ndarray:
    """Return that many quantiles of the normal distribution, scaled to unit variance, float32.

    Example:
        >>> levels(2)
        array([-1.,  1.], dtype=float32)
    """
    x = np.array([NormalDist().inv_cdf((i + 0.5) / num_levels) for i in range(num_levels)])
    return (x / x.std()).astype(np.float32)


def best_fit(model: Model, start: Any, cells: Any, counts: np.ndarray) -> Any:
    """Return the parameters near `start` of least mean loss, found in float64.

    Example:
        >>> loss = lambda w, x: 0.5 * (w - x) ** 2
        >>> float(best_fit(loss, jnp.zeros(()), jnp.array([0.0, 1.0]), np.array([3, 1])))
        0.25
    """
    from scipy.optimize import minimize

    weighted, data = weighted_model(model, start, cells, counts / np.sum(counts))
    with jax.enable_x64(True):
        data = jax.tree.map(_doubled, data)
        center, unravel = ravel_pytree(jax.tree.map(_doubled, start))
        loss = jax.jit(jax.value_and_grad(lambda flat: weighted(unravel(flat), data).mean()))

        def value_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = loss(point)
            return float(value), np.asarray(gradient)

        options = {"gtol": 1e-10}
        optimum = minimize(value_and_gradient, np.asarray(center), jac=True, method="BFGS", options=options)
        return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), unravel(jnp.asarray(optimum.x)))


def _doubled(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    return array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array
