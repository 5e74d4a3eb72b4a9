"""Exact λ̂ of losses of one or two variables, by adaptive quadrature, and of products of powers."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from lltc.errors import InputError
from lltc.toys.values.closed_forms import normal_crossing_llc

_ORDER = 10
_RADIUS = 7.0  # in prior standard deviations: exp(-7²/2) is 2e-11
_HALVINGS = 26
_MAX_LEVELS = 40
_MAX_DOUBLINGS = 12
_RIM = 161  # points along a side of the square
_CHUNK = 4000


def quadrature_llc(
    loss: Callable[[np.ndarray], np.ndarray],
    *,
    nbeta: float,
    localization: float,
    center: Sequence[float] | np.ndarray = (0.0, 0.0),
    tolerance: float = 1e-9,
    halvings: int = _HALVINGS,
) -> float:
    """Return the exact `λ̂ = t E[K]` of a loss of one or two variables.

    Integrates `exp(-t K(w) - (γ/2)‖w - w*‖²)` in float64 over cells graded towards `w*` and halved until
    every cell's Gauss rule agrees with its halves' to `tolerance` of the total, and none can hide a valley.
    The square they fill, 7 prior standard deviations either way, grows where the loss falls beyond it.

    Args:
        loss: K with `K(center) = 0`; maps points (..., d) to (...) with NumPy operations.
        nbeta: t > 0.
        localization: γ > 0.
        center: `w*`; its length, 1 or 2, is d.
        tolerance: largest share of the total a cell may be off by.
        halvings: how often the first cells halve towards `w*`; few do where K is about quadratic there.

    Raises:
        InputError: d above 2, `nbeta` or `localization` not positive, or no convergence.

    Example:
        >>> quadrature_llc(lambda w: w[..., 0] ** 4, nbeta=10.0, localization=1.0, center=(0.0,))
        0.224903
    """
    if len(center) not in (1, 2):
        raise InputError(f"center has {len(center)} entries; quadrature handles 1 or 2 parameters.")
    if not (nbeta > 0 and localization > 0):
        raise InputError(f"nbeta={nbeta} and localization={localization} must both be positive.")
    middle = np.asarray(center, dtype=float)
    action = lambda w: nbeta * loss(w) + localization / 2 * np.sum((w - middle) ** 2, axis=-1)
    low, width, lowest = _reach(action, middle, _RADIUS / np.sqrt(localization), halvings)

    def moments(low: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _cell_moments(loss, low, width, middle, nbeta, localization, lowest)

    mass, energy = _refine(moments, low, width, tolerance)
    return float(energy / mass)


def crossing_llc(
    half_exponents: Sequence[int],
    *,
    nbeta: float,
    localization: float,
    dims: Sequence[int] | None = None,
) -> float:
    """Return the exact `λ̂ = t E[K]` of `K = Π ‖wᵢ‖^{2kᵢ}` around `w* = 0`, for any number of factors.

    Under the prior the `2kᵢ log‖wᵢ‖` are independent; their densities are convolved on a grid and weighted by
    `exp(-t K)`. Factor i has `dims[i]` variables, by default one.

    Raises:
        InputError: as `normal_crossing_llc`; `nbeta` or `localization` not positive; `dims` of another length
            or below 1.

    Example:
        >>> crossing_llc([1, 1], nbeta=10.0, localization=1.0)
        0.290274
    """
    from scipy.signal import fftconvolve

    normal_crossing_llc(half_exponents, dims=dims)
    if not (nbeta > 0 and localization > 0):
        raise InputError(f"nbeta={nbeta} and localization={localization} must both be positive.")
    spacing, start, density = 0.02, 0.0, np.ones(1)
    for k, dim in zip(half_exponents, dims or [1] * len(half_exponents), strict=True):
        if k == 0:
            continue
        log_w = np.arange(-40.0, 3.0, spacing / (2 * k))
        one = np.exp(dim * log_w - np.exp(2 * log_w) / 2)
        density = np.maximum(fftconvolve(density, one / one.sum()), 0)
        start += 2 * k * (log_w[0] - np.log(localization) / 2)
    energy = nbeta * np.exp(start + spacing * np.arange(len(density)))
    weight = density * np.exp(-energy)
    return float((weight * np.where(weight > 0, energy, 0)).sum() / weight.sum())


def _reach(action, middle: np.ndarray, radius: float, halvings: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return cells with next to no weight on their rim, and the least action at their corners, 0 at most."""
    cube = np.array(list(product(np.linspace(-1, 1, _RIM), repeat=len(middle))))
    rim = cube[np.abs(cube).max(axis=1) == 1]
    for _ in range(_MAX_DOUBLINGS):
        low, width = _graded_cells(middle, radius, halvings)
        lowest = min(float(action(low + width).min()), 0.0)
        if action(middle + radius * rim).min() - lowest > _RADIUS**2 / 2 - 0.5:
            return low, width, lowest
        radius *= 2
    raise InputError("loss falls faster than localization can hold; raise localization.")


def _graded_cells(middle: np.ndarray, radius: float, halvings: int) -> tuple[np.ndarray, np.ndarray]:
    positive = radius * 2.0 ** -np.arange(halvings, -1, -1)
    edges = np.concatenate([-positive[::-1], [0.0], positive])
    low = np.array(list(product(edges[:-1], repeat=len(middle)))) + middle
    width = np.array(list(product(np.diff(edges), repeat=len(middle))))
    return low, width


def _cell_moments(loss, low, width, middle, nbeta, localization, lowest) -> tuple[np.ndarray, np.ndarray]:
    """Return (cells, 2) integrals of the weight and of weight·tK, and whether each cell may be trusted.

    Weights are relative to that of an action of `lowest`: off a minimum they would overflow.
    """
    dim = len(middle)
    node, node_weight = np.polynomial.legendre.leggauss(_ORDER)
    unit = np.array(list(product((node + 1) / 2, repeat=dim)))
    weight = np.prod(list(product(node_weight / 2, repeat=dim)), axis=-1)
    values, trusted = np.empty((len(low), 2)), np.empty(len(low), dtype=bool)
    for i in range(0, len(low), _CHUNK):
        part = slice(i, i + _CHUNK)
        points = low[part, None, :] + width[part, None, :] * unit
        energy = nbeta * loss(points)
        action = energy + localization / 2 * np.sum((points - middle) ** 2, axis=-1) - lowest
        density = np.exp(-action) * weight * np.prod(width[part], axis=-1)[:, None]
        values[part] = np.stack([density.sum(1), (density * energy).sum(1)], axis=-1)
        # A valley narrower than the nodes' spacing shows as a spread much larger than the lowest value.
        spread = np.ptp(action, axis=1)
        trusted[part] = (spread < 20) | (action.min(1) > 40 + spread / 4)
    return values, trusted


def _refine(moments, low: np.ndarray, width: np.ndarray, tolerance: float) -> np.ndarray:
    total = np.zeros(2)
    coarse, _ = moments(low, width)
    corners = np.array(list(product((0.0, 0.5), repeat=low.shape[1])))
    for _ in range(_MAX_LEVELS):
        child_low = (low[:, None, :] + width[:, None, :] * corners).reshape(-1, low.shape[1])
        child_width = np.repeat(width / 2, len(corners), axis=0)
        fine, trusted = moments(child_low, child_width)
        grouped = fine.reshape(len(low), len(corners), 2).sum(1)
        scale = total + grouped.sum(0)
        scale[1] = max(abs(scale[1]), scale[0])  # off a minimum the mean of tK may vanish or be negative
        settled = np.all(np.abs(grouped - coarse) <= tolerance * scale, axis=-1)
        settled &= trusted.reshape(len(low), -1).all(1)
        total = total + grouped[settled].sum(0)
        keep = np.repeat(~settled, len(corners))
        low, width, coarse = child_low[keep], child_width[keep], fine[keep]
        if len(low) == 0:
            return total
    raise InputError("loss could not be integrated: it is not smooth enough; give a smooth loss.")
