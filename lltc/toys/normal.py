"""Problems whose local posterior is normal: λ̂ is exact on and off the minimum, in any dimension."""

from collections.abc import Sequence
from math import log
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.toys.problems import ToyProblem, analytic
from lltc.toys.samples import Point, check_sample, gaussian_inputs, moments
from lltc.toys.values.closed_forms import regular_llc
from lltc.toys.values.gibbs import Reference
from lltc.toys.values.tempered import quadratic_llc


def tilted_quadratic(
    curvatures: Sequence[float] | np.ndarray,
    slopes: Sequence[float] | np.ndarray,
    *,
    nbeta: float = 1e3,
    localization: float = 1.0,
    linear: bool = True,
) -> ToyProblem:
    """Return `K = Σ ½ hᵢ wᵢ² + gᵢ wᵢ` at 0, no minimum; `llc_finite` from `quadratic_llc`, often negative.

    `linear=False` takes the slopes out of the loss.

    Raises:
        InputError: as `quadratic_llc`.

    Example:
        >>> tilted_quadratic([1.0], [1.0], nbeta=1.0).llc_finite
        -0.125
    """
    h, g = np.broadcast_arrays(np.asarray(curvatures, np.float32), np.asarray(slopes, np.float32))
    value = quadratic_llc(h, slopes=g if linear else 0.0, nbeta=nbeta, localization=localization)
    spread = f"curvature {h.min():g} to {h.max():g}, |slope| {np.linalg.norm(g):.3g}"
    return analytic(
        f"tilted quadratic d={len(h)}, {spread}, γ={localization:g}{'' if linear else ', slope removed'}",
        lambda w: jnp.sum(0.5 * h * w**2 + g * w),
        center=np.zeros_like(h),
        nbeta=nbeta,
        localization=localization,
        reference=lambda: Reference(value, 0.0),
        linear=linear,
    )


def linear_regression(
    num_params: int,
    *,
    num_examples: int,
    condition_number: float = 1.0,
    noise: float = 1.0,
    at: Point = "minimum",
    offset: float = 0.0,
    linear: bool = True,
    nbeta: float | None = None,
    localization: float = 1.0,
    key: int = 0,
) -> ToyProblem:
    """Return `½(x·w - y)²` on Gaussian inputs and noisy targets; `llc_finite` is exact, λ = d/2.

    The inputs' covariance has geometric eigenvalues from 1 down to `1/condition_number`. `at="minimum"` takes
    the least-squares solution of the sample for `w*`, `at="truth"` the parameter that made it; `offset` moves
    `w*` that far from it in a random direction, where no λ is claimed. `linear=False` takes the slope at `w*`
    out of the loss. `nbeta=None` means `n / ln n`.

    Raises:
        InputError: `at` neither of the two; fewer examples than parameters.

    Example:
        >>> linear_regression(3, num_examples=500).llc
        1.5
    """
    check_sample(at, num_examples, num_params, condition_number)
    rng = np.random.default_rng(key)
    x = gaussian_inputs(rng, num_examples, num_params, condition_number)
    truth = rng.standard_normal(num_params)
    y = (x @ truth + noise * rng.standard_normal(num_examples)).astype(np.float32)
    S, c = moments(x, y[:, None])
    direction = rng.standard_normal(num_params)
    w = truth if at == "truth" else np.linalg.solve(S, c[:, 0])
    w = (w + offset * direction / np.linalg.norm(direction)).astype(np.float32)
    nbeta = num_examples / log(num_examples) if nbeta is None else nbeta
    known = None if offset else regular_llc(num_params)
    point = at + (f" moved by {offset:g}" if offset else "") + ("" if linear else ", slope removed")
    h, V = np.linalg.eigh(S)
    g = V.T @ (S @ w - c[:, 0]) if linear else 0.0
    return ToyProblem(
        name=f"linear regression d={num_params}, n={num_examples:g}, condition {condition_number:g}, {point}",
        model=_regression_loss,
        params={"w": jnp.asarray(w)},
        data={"x": jnp.asarray(x), "y": jnp.asarray(y)},
        nbeta=nbeta,
        localization=localization,
        llc=known and known.llc,
        multiplicity=known and known.multiplicity,
        reference=lambda: Reference(quadratic_llc(h, slopes=g, nbeta=nbeta, localization=localization), 0.0),
        linear=linear,
    )


def lookup_regression(
    num_params: int,
    *,
    num_examples: int,
    noise: float = 1.0,
    nbeta: float | None = None,
    localization: float = 1.0,
    key: int = 0,
) -> ToyProblem:
    """Return `½(w[x] - y)²`, x an index drawn uniformly: regression on one-hot inputs, an embedding.

    `w*` is the mean target of every index, the minimum. The Hessian is diagonal and `llc_finite` exact at any
    size; a minibatch sees few of the parameters. `nbeta=None` means `n / ln n`.

    Raises:
        InputError: fewer examples than parameters.

    Example:
        >>> problem = lookup_regression(10, num_examples=500)
        >>> problem.num_params, problem.llc
        (10, 5.0)
    """
    if num_examples <= num_params:
        raise InputError(
            f"num_examples={num_examples} must exceed num_params={num_params}; give more examples."
        )
    rng = np.random.default_rng(key)
    x = rng.integers(num_params, size=num_examples)
    y = (rng.standard_normal(num_params)[x] + noise * rng.standard_normal(num_examples)).astype(np.float32)
    counts, sums = np.bincount(x, minlength=num_params), np.bincount(x, weights=y, minlength=num_params)
    w = (sums / np.maximum(counts, 1)).astype(np.float32)
    nbeta = num_examples / log(num_examples) if nbeta is None else nbeta
    known = regular_llc(int((counts > 0).sum()))
    return ToyProblem(
        name=f"lookup table d={num_params}, n={num_examples:g}, γ={localization:g}",
        model=_lookup_loss,
        params={"table": jnp.asarray(w)},
        data={"x": jnp.asarray(x, jnp.int32), "y": jnp.asarray(y)},
        nbeta=nbeta,
        localization=localization,
        llc=known.llc,
        multiplicity=known.multiplicity,
        reference=lambda: Reference(
            quadratic_llc(
                counts / num_examples,
                slopes=(counts * w.astype(float) - sums) / num_examples,
                nbeta=nbeta,
                localization=localization,
            ),
            0.0,
        ),
    )


def _regression_loss(params: Any, batch: Any) -> jax.Array:
    return 0.5 * (batch["x"] @ params["w"] - batch["y"]) ** 2


def _lookup_loss(params: Any, batch: Any) -> jax.Array:
    return 0.5 * (params["table"][batch["x"]] - batch["y"]) ** 2
