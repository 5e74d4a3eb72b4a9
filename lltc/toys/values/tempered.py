"""Learning coefficients that are exact at a finite temperature: λ̂ of quadratics, w⁴ and (ab)²."""

import math

import numpy as np
from numpy.typing import ArrayLike

from lltc.errors import InputError


def quadratic_llc(
    curvatures: ArrayLike, *, nbeta: float, localization: float, slopes: ArrayLike = 0.0
) -> float:
    """Return the exact λ̂ of `K = Σ ½ hᵢ wᵢ² + gᵢ wᵢ`.

    `λ̂(t, γ) = ½ Σ t hᵢ / qᵢ - t² gᵢ² (qᵢ + γ) / qᵢ²` with `t = nbeta`, `γ = localization`, `qᵢ = t hᵢ + γ`;
    `curvatures` hᵢ of any shape, `slopes` gᵢ by default 0. A negative hᵢ is fine while `qᵢ > 0`; λ̂ is then
    negative, as it may be with a slope.

    Raises:
        InputError: `qᵢ` not positive (but for hᵢ = gᵢ = γ = 0), `nbeta` not positive, a negative
            `localization`.

    Example:
        >>> quadratic_llc([1.0, 3.0], nbeta=1.0, localization=1.0)
        0.625
    """
    _check_temperature(nbeta, localization)
    scaled, slope = np.broadcast_arrays(
        nbeta * np.asarray(curvatures, dtype=float).ravel(), nbeta * np.asarray(slopes, dtype=float).ravel()
    )
    total = scaled + localization
    held = total > 0
    if not np.all(held | ((total == 0) & (scaled == 0) & (slope == 0))):
        raise InputError(
            "curvatures times nbeta plus localization must be finite and positive, for else no posterior is "
            "normalizable; raise localization or clip them."
        )
    scaled, slope, total = scaled[held], slope[held], total[held]
    return float(0.5 * np.sum(scaled / total - slope**2 * (total + localization) / total**2))


def euler_quadratic_llc(
    curvatures: ArrayLike,
    *,
    nbeta: float,
    localization: float,
    step_size: float,
    num_steps: int | None = None,
) -> float:
    """Return the biased λ̂ that Euler SGLD with full gradients finds on `K = ½ Σ hᵢ wᵢ²`.

    With `qᵢ = t hᵢ + γ` and the step `w ← w - (ε/2) qᵢ w + √ε ξ` from `w*`, after k steps

        ½ Σ t hᵢ / (qᵢ (1 - ε qᵢ/4)) · (1 - (1 - ε qᵢ/2)^{2k});

    `num_steps=None` is the stationary value, k → ∞.

    Raises:
        InputError: as `quadratic_llc`; `step_size` not positive or unstable (`ε max qᵢ >= 4`);
            `num_steps` < 0.

    Example:
        >>> euler_quadratic_llc([1.0], nbeta=1.0, localization=1.0, step_size=1.0)
        0.5
    """
    scaled, total = _precisions(curvatures, nbeta, localization)
    if not 0 < step_size * total.max(initial=0.0) < 4:
        raise InputError(
            f"step_size={step_size} is not stable: step_size times the largest of nbeta*curvature + "
            f"localization ({total.max(initial=0.0):g}) must lie strictly between 0 and 4; use a smaller one."
        )
    if num_steps is not None and num_steps < 0:
        raise InputError(f"num_steps={num_steps} is negative; give a number of steps >= 0, or None.")
    reached = 1.0 if num_steps is None else 1.0 - (1.0 - step_size * total / 2) ** (2 * num_steps)
    heat = 1.0 - step_size * total / 4
    return float(
        0.5 * np.sum(np.divide(scaled, total * heat, out=np.zeros_like(scaled), where=scaled > 0) * reached)
    )


def quartic_llc(*, nbeta: float, localization: float) -> float:
    """Return the exact λ̂ of `K = x⁴`.

    `½ + u (1 + K'_{1/4}(u) / K_{1/4}(u))` with `u = γ²/(32 t)` and K the modified Bessel function of the
    second kind; ¼ at γ = 0. Rounding is about `1e-16 max(1, u)`.

    Raises:
        InputError: `nbeta` not positive or a negative `localization`.

    Example:
        >>> quartic_llc(nbeta=10.0, localization=1.0)
        0.224903
    """
    from scipy.special import kve

    _check_temperature(nbeta, localization)
    u = localization**2 / (32 * nbeta)
    if u < 1e-200:  # K itself overflows below; the limit is exact to the last digit
        return 0.25
    slope = -(kve(0.75, u) + kve(1.25, u)) / 2
    return float(0.5 + u * (1 + slope / kve(0.25, u)))


def squared_product_llc(*, nbeta: float, localization: float) -> float:
    """Return the exact λ̂ of `K = x²y²`.

    `½ + z (1 - K₁(z) / K₀(z))` with `z = γ²/(8 t)`. It approaches (λ, m) = (½, 2) only like `1/log t`.

    Raises:
        InputError: `nbeta` or `localization` not positive (γ = 0 has no normalizable posterior).

    Example:
        >>> squared_product_llc(nbeta=10.0, localization=1.0)
        0.290274
    """
    from scipy.special import kve

    _check_temperature(nbeta, localization)
    if localization == 0:
        raise InputError("localization=0 leaves x²y² without a normalizable posterior; give a positive one.")
    z = localization**2 / (8 * nbeta)
    return float(0.5 + z * (1 - kve(1, z) / kve(0, z)))


def _precisions(curvatures: ArrayLike, nbeta: float, localization: float) -> tuple[np.ndarray, np.ndarray]:
    _check_temperature(nbeta, localization)
    scaled = nbeta * np.asarray(curvatures, dtype=float).ravel()
    if not np.all(np.isfinite(scaled)) or np.any(scaled < 0):
        raise InputError("curvatures must all be finite and >= 0; clip or drop the others.")
    return scaled, scaled + localization


def _check_temperature(nbeta: float, localization: float) -> None:
    if not (nbeta > 0 and math.isfinite(nbeta)):
        raise InputError(f"nbeta={nbeta} must be a positive, finite number.")
    if not (localization >= 0 and math.isfinite(localization)):
        raise InputError(f"localization={localization} must be finite and >= 0.")
