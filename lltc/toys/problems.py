"""The record of a toy problem, and problems given by a formula for the loss."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.toys.values.closed_forms import (
    LearningCoefficient,
    even_powers_llc,
    normal_crossing_llc,
    regular_llc,
)
from lltc.toys.values.gibbs import Reference
from lltc.toys.values.quadrature import crossing_llc, quadrature_llc
from lltc.toys.values.tempered import quadratic_llc

_NUM_DUMMIES = 64


@dataclass(frozen=True, eq=False)
class ToyProblem:
    """A model, a point, data and a temperature for which the learning coefficient is known.

    `llc_finite` is the value of `t E[L_n(w) - L_n(w*)]` under the local posterior at exactly this `nbeta`,
    `localization`, `params` and `data`: what an estimator should return. It is computed on first access and
    kept in memory. `llc` is the asymptotic λ, met only as `nbeta → ∞`.

    Attributes:
        name: unique in `table()`.
        model: `model(params, batch) -> losses` of shape (batch,), in nats.
        params: `w*`, a pytree of float32 arrays.
        data: a pytree of arrays with a common leading axis.
        nbeta: t.
        localization: γ.
        llc: asymptotic λ, or None.
        multiplicity: asymptotic m, or None.
        reference: computes `(llc_finite, llc_finite_se)`; None where no exact value can be had.
        linear: False where the value belongs to `L(w) - ∇L(w*)·(w - w*)`, `linear=False` of `estimate_llc`.

    Example:
        >>> problem = quadratic([1.0, 3.0], nbeta=1.0)
        >>> problem.num_params, problem.llc_finite, problem.llc
        (2, 0.625, 1.0)
    """

    name: str
    model: Callable[[Any, Any], jax.Array]
    params: Any
    data: Any
    nbeta: float
    localization: float
    llc: float | None = None
    multiplicity: int | None = None
    reference: Callable[[], Reference] | None = None
    linear: bool = True

    @property
    def num_params(self) -> int:
        """The number d of parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))

    @property
    def num_examples(self) -> int:
        """The number n of examples in `data`."""
        return len(jax.tree.leaves(self.data)[0])

    @property
    def llc_finite(self) -> float | None:
        """The exact λ̂ at this nbeta and localization, or None."""
        return None if self._reference is None else self._reference.llc

    @property
    def llc_finite_se(self) -> float:
        """The Monte-Carlo standard error of `llc_finite`; 0 when it is exact."""
        return 0.0 if self._reference is None else self._reference.llc_se

    @cached_property
    def _reference(self) -> Reference | None:
        return None if self.reference is None else self.reference()


def analytic(
    name: str,
    loss: Callable[[Any], Any],
    *,
    center: Sequence[float] | np.ndarray,
    nbeta: float,
    localization: float = 1.0,
    known: LearningCoefficient | None = None,
    reference: Callable[[], Reference] | None = None,
    linear: bool = True,
) -> ToyProblem:
    """Return the problem of a loss `K(w)`, the same for every (dummy) example.

    With d ≤ 2 and no `reference`, `llc_finite` comes from `quadrature_llc`; `loss` then has to work on NumPy
    and JAX arrays (..., d). `params` is `{"w": (d,)}`. `linear=False` takes the slope at
    the center out of what is integrated.

    Raises:
        InputError: an empty `center`.

    Example:
        >>> problem = analytic("x⁴", lambda w: w[..., 0] ** 4, center=[0.0], nbeta=10.0)
        >>> problem.llc_finite
        0.224903
    """
    point = np.asarray(center, dtype=np.float32)
    if point.ndim != 1 or point.size == 0:
        raise InputError(f"center has shape {point.shape}; give a non-empty flat list of parameters.")
    if reference is None and point.size <= 2:
        reference = _quadrature(loss, point, nbeta, localization, linear)

    def model(params: Any, batch: jax.Array) -> jax.Array:
        return loss(params["w"]) * jnp.ones(len(batch))

    return ToyProblem(
        name=name,
        model=model,
        params={"w": jnp.asarray(point)},
        data=jnp.zeros(_NUM_DUMMIES),
        nbeta=nbeta,
        localization=localization,
        llc=known and known.llc,
        multiplicity=known and known.multiplicity,
        reference=reference,
        linear=linear,
    )


def quadratic(
    curvatures: Sequence[float] | np.ndarray, *, nbeta: float = 1e3, localization: float = 1.0
) -> ToyProblem:
    """Return `K = ½ Σ hᵢ wᵢ²` at 0, `llc_finite` from `quadratic_llc`, λ = half the number of positive hᵢ.

    Raises:
        InputError: as `quadratic_llc`.

    Example:
        >>> quadratic([1.0, 0.0], nbeta=1.0).llc_finite
        0.25
    """
    h = np.asarray(curvatures, dtype=np.float32)
    value = quadratic_llc(h, nbeta=nbeta, localization=localization)
    return analytic(
        f"quadratic d={len(h)}, curvature {h.min():g} to {h.max():g}, γ={localization:g}",
        lambda w: 0.5 * jnp.sum(h * w**2),
        center=np.zeros_like(h),
        nbeta=nbeta,
        localization=localization,
        known=regular_llc(int((h > 0).sum())),
        reference=lambda: Reference(value, 0.0),
    )


def even_powers(
    half_exponents: Sequence[int], *, nbeta: float = 1e3, localization: float = 1.0
) -> ToyProblem:
    """Return `K = Σ wᵢ^{2kᵢ}` at 0, `llc_finite` by one-dimensional quadrature, λ = Σ 1/(2kᵢ).

    Raises:
        InputError: as `even_powers_llc`; `nbeta` or `localization` not positive.

    Example:
        >>> even_powers([2], nbeta=10.0).llc_finite
        0.224903
    """
    known = even_powers_llc(half_exponents)
    powers = tuple(2 * k for k in half_exponents)

    def axis_llc(power: int) -> float:
        return quadrature_llc(
            lambda w: w[..., 0] ** power, nbeta=nbeta, localization=localization, center=(0.0,)
        )

    return analytic(
        f"even powers {','.join(map(str, powers))}, γ={localization:g}",
        lambda w: sum(w[i] ** power for i, power in enumerate(powers)),
        center=np.zeros(len(powers)),
        nbeta=nbeta,
        localization=localization,
        known=known,
        reference=lambda: Reference(sum(powers.count(p) * axis_llc(p) for p in set(powers)), 0.0),
    )


def normal_crossing(
    half_exponents: Sequence[int],
    *,
    dims: Sequence[int] | None = None,
    nbeta: float = 1e3,
    localization: float = 1.0,
) -> ToyProblem:
    """Return `K = Π ‖wᵢ‖^{2kᵢ}` at 0, `llc_finite` from `crossing_llc`, (λ, m) from `normal_crossing_llc`.

    Factor i has `dims[i]` variables, by default one.

    Raises:
        InputError: as `crossing_llc`.

    Example:
        >>> normal_crossing([1, 1], nbeta=10.0).llc_finite
        0.290274
    """
    known = normal_crossing_llc(half_exponents, dims=dims)
    counts = [1] * len(half_exponents) if dims is None else list(dims)
    ends = np.cumsum(counts)

    def loss(w: jax.Array) -> jax.Array:
        value = jnp.ones(())
        for count, end, k in zip(counts, ends, half_exponents, strict=True):
            value = value * jnp.sum(w[end - count : end] ** 2) ** k
        return value

    powers = ",".join(str(2 * k) for k in half_exponents)
    of = "" if dims is None else f" of norms of {','.join(map(str, dims))} variables"
    return analytic(
        f"normal crossing {powers}{of}, γ={localization:g}",
        loss,
        center=np.zeros(sum(counts)),
        nbeta=nbeta,
        localization=localization,
        known=known,
        reference=lambda: Reference(
            crossing_llc(half_exponents, dims=dims, nbeta=nbeta, localization=localization), 0.0
        ),
    )


def _quadrature(
    loss, point: np.ndarray, nbeta: float, localization: float, linear: bool
) -> Callable[[], Reference]:
    center = point.astype(float)

    def reference() -> Reference:
        with jax.enable_x64(True):
            slope = np.zeros_like(center) if linear else np.asarray(jax.grad(loss)(center))
        excess = lambda w: loss(w) - loss(center) - (w - center) @ slope
        return Reference(quadrature_llc(excess, nbeta=nbeta, localization=localization, center=center), 0.0)

    return reference
