"""Exact block-Gibbs reference for linear networks of any depth, squared loss, any nbeta and localization."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lltc.errors import InputError


class Reference(NamedTuple):
    """A reference λ̂ and its Monte-Carlo standard error (0 when exact).

    Example:
        >>> Reference(llc=2.5, llc_se=0.0).llc
        2.5
    """

    llc: float
    llc_se: float


def gibbs_llc(
    kernels: Sequence[np.ndarray],
    *,
    input_moment: np.ndarray,
    cross_moment: np.ndarray,
    nbeta: float,
    localization: float,
    tilts: Sequence[np.ndarray] | None = None,
    num_chains: int = 32,
    num_sweeps: int = 2000,
    num_warmup: int = 500,
    key: int = 0,
) -> Reference:
    """Return λ̂ of the linear network `x K₁ K₂ … K_L` around the given kernels, by exact sampling.

    With `S = (1/n) Σ x xᵀ`, `C = (1/n) Σ x yᵀ` the squared loss is `½ tr(PᵀSP) - tr(PᵀC)` plus a constant,
    P the product of the kernels. Each layer is normal given the others: in the eigenbases of `AᵀSA` and `BBᵀ`
    (A, B the products before and after it) its entries are independent, of precision `t aᵢ bⱼ + γ`. A sweep
    draws each layer once and records the conditional mean of `t (L - L(w*))`. Half the chains start at `w*`,
    half from the prior; the standard error is that of the mean of the chains.

    Args:
        kernels: `w*`; shapes (d₀, d₁), (d₁, d₂), …
        input_moment: S, (d₀, d₀).
        cross_moment: C, (d₀, d_L).
        nbeta: t > 0.
        localization: γ > 0.
        tilts: T₁, T₂, … of the kernels' shapes; `-Σ ⟨Tᵢ, Kᵢ⟩` is added to the loss. With the gradients at
            `w*` this takes the slope out of it.
        num_chains: independent chains, at least 2.
        num_sweeps: recorded sweeps a chain.
        num_warmup: sweeps thrown away first.
        key: seed of the draws.

    Raises:
        InputError: shapes that do not chain, `nbeta` or `localization` not positive, fewer than 2 chains.

    Example:
        >>> eye = np.eye(2)
        >>> gibbs_llc([eye], input_moment=eye, cross_moment=eye, nbeta=1.0, localization=1.0).llc
        1.0
    """
    center = [np.asarray(kernel, dtype=float) for kernel in kernels]
    S, C = np.asarray(input_moment, dtype=float), np.asarray(cross_moment, dtype=float)
    _check(center, S, C, nbeta, localization, num_chains)
    tilts = [np.zeros_like(kernel) for kernel in center] if tilts is None else tilts
    rng = np.random.default_rng(key)
    layers = [_scatter(rng, kernel, localization, num_chains) for kernel in center]
    fixed = np.linalg.eigh(S), (np.ones(C.shape[1]), None)
    total = np.zeros(num_chains)
    for sweep in range(num_warmup + num_sweeps):
        energy = _sweep(rng, layers, center, tilts, S, C, fixed, nbeta, localization)
        if sweep >= num_warmup:
            total += energy
    means = total / num_sweeps - nbeta * (_loss(center, S, C) - float(np.sum(_tilted(center, tilts))))
    return Reference(float(means.mean()), float(means.std(ddof=1) / np.sqrt(num_chains)))


def _sweep(rng, layers, center, tilts, S, C, fixed, nbeta, localization) -> np.ndarray:
    """Redraw every layer in place; return (chains,) conditional means of t·loss, averaged over the layers."""
    energy, before, after = np.zeros(len(layers[0])), None, _products_after(layers)
    for i, kernel in enumerate(layers):
        left, right, pull, later = fixed[0], fixed[1], C, after[i]
        if before is not None:
            left, pull = np.linalg.eigh(_transpose(before) @ S @ before), _transpose(before) @ pull
        if later is not None:
            right, pull = np.linalg.eigh(later @ _transpose(later)), pull @ _transpose(later)
        drawn, mean = _draw(rng, kernel.shape, left, right, pull + tilts[i], center[i], nbeta, localization)
        others = _tilted(layers, tilts)
        layers[i], energy = drawn, energy + mean - nbeta * (sum(others) - others[i])
        if later is not None:
            before = drawn if before is None else before @ drawn
    return energy / len(layers)


def _draw(rng, shape, left, right, pull, center, nbeta, localization) -> tuple[np.ndarray, np.ndarray]:
    (a, U), (b, V) = left, right
    curvature = nbeta * np.maximum(a, 0)[..., :, None] * np.maximum(b, 0)[..., None, :]
    turn = lambda matrix: _transpose(U) @ matrix if V is None else _transpose(U) @ matrix @ V
    force = nbeta * turn(pull)
    precision = curvature + localization
    mean = (force + localization * turn(center)) / precision
    energy = np.sum(curvature / 2 * (1 / precision + mean**2) - force * mean, axis=(-2, -1))
    drawn = U @ (mean + rng.standard_normal(shape) / np.sqrt(precision))
    return (drawn if V is None else drawn @ _transpose(V)), energy


def _products_after(layers: list[np.ndarray]) -> list[np.ndarray | None]:
    after: list[np.ndarray | None] = [None]
    for kernel in reversed(layers[1:]):
        last = after[-1]
        after.append(kernel if last is None else kernel @ last)
    return after[::-1]


def _scatter(rng, kernel: np.ndarray, localization: float, num_chains: int) -> np.ndarray:
    noise = rng.standard_normal((num_chains, *kernel.shape)) / np.sqrt(localization)
    noise[: num_chains // 2] = 0
    return kernel + noise


def _loss(kernels, S, C) -> float:
    P = kernels[0] if len(kernels) == 1 else np.linalg.multi_dot(kernels)
    return float(np.sum(P * (S @ P)) / 2 - np.sum(P * C))


def _tilted(layers: Sequence[np.ndarray], tilts: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [np.sum(kernel * tilt, axis=(-2, -1)) for kernel, tilt in zip(layers, tilts, strict=True)]


def _transpose(matrix: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrix, -1, -2)


def _check(center, S, C, nbeta, localization, num_chains) -> None:
    shapes = [kernel.shape for kernel in center]
    chained = all(x[1] == y[0] for x, y in pairwise(shapes))
    ends = chained and S.shape == (shapes[0][0],) * 2 and C.shape == (shapes[0][0], shapes[-1][1])
    if not (shapes and ends):
        raise InputError(
            f"kernels of shapes {shapes} do not fit input_moment {S.shape} and cross_moment {C.shape}; "
            f"give (d0, d1), (d1, d2), … with moments (d0, d0) and (d0, dL)."
        )
    if not (nbeta > 0 and localization > 0):
        raise InputError(f"nbeta={nbeta} and localization={localization} must both be positive.")
    if num_chains < 2:
        raise InputError(f"num_chains={num_chains} gives no standard error; give at least 2.")
