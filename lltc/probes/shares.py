"""Dividing λ̂ among components by the second moments of the chains alone."""

from typing import NamedTuple

import numpy as np

from lltc.diagnostics.measured import Measured
from lltc.estimates.record import LLCEstimate

SURE = 3.0


class Moments(NamedTuple):
    """What the division needs of the chains, and where the components lie.

    `variance` `(chain, k)` along the directions of `curvature` `(k,)`, `inside` `(k, component)` the part
    Σ_{j∈C} vⱼ² of each direction, `distance` and `tilt` `(chain, component)` the means of ‖u_C‖² and of
    u_C·∇_C L(w*), `size` `(component,)` the parameters of each. The last component is the whole.
    """

    variance: np.ndarray
    curvature: np.ndarray
    inside: np.ndarray
    distance: np.ndarray
    tilt: np.ndarray
    size: np.ndarray


def divide_llc(estimate: LLCEstimate, moments: Moments) -> list[Measured]:
    """Return the part of λ̂ that each component carries, the last one the whole.

    Integration by parts gives each component's confinement by the loss, nβ E[u_C·∇_C L] = d_C - γ E‖u_C‖².
    Of it T_C = nβ E[u_C·∇_C L(w*)] is linear, zero at a minimum.
    Its stiff part is S_C = Σ_v s_v ‖v_C‖², s_v the share of v's confinement that the curvature at w*
    explains, cut at 1. λ̂ is half the confinement along stiff directions, where L is quadratic, and ρ times
    the rest, which is soft: ρ = 1/m where L is homogeneous of degree m. So

        λ_C = T_C + ½ S_C + ρ (d_C - γ E‖u_C‖² - T_C - S_C),   ρ in [0, 1] such that the whole is λ̂.

    Errors are those of the jackknife over chains, and λ̂'s own; where ρ would lie outside, what is then
    missing from the whole comes on top, and parts that miss it by more than three errors are NaN.
    """
    chains = len(moments.variance)
    everyone = np.ones(chains)
    value, weight = _parts(estimate, moments, everyone)
    others = np.array([_parts(estimate, moments, everyone - row)[0] for row in np.eye(chains)])
    spread = np.sqrt((chains - 1) * others.var(0))
    missing = abs(estimate.llc - value[-1])
    if missing > SURE * np.hypot(spread[-1], estimate.llc_se):
        value = np.full_like(value, np.nan)
    errors = np.hypot(np.hypot(spread, weight * estimate.llc_se), missing)
    errors[-1] = estimate.llc_se
    return [Measured(float(a), float(b)) for a, b in zip(value, errors, strict=True)]


def _parts(estimate: LLCEstimate, moments: Moments, chains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts `(component,)` from the chains weighted by `chains`, and their derivatives in λ̂."""
    means = (moments.variance, moments.distance, moments.tilt)
    variance, distance, tilt = (chains @ values / chains.sum() for values in means)
    linear = estimate.nbeta * tilt
    stiff = np.clip(estimate.nbeta * moments.curvature * variance, 0.0, 1.0) @ moments.inside
    soft = moments.size - estimate.localization * distance - linear - stiff
    wanted = estimate.llc - linear[-1] - 0.5 * stiff[-1]
    degree = float(np.clip(wanted / soft[-1], 0.0, 1.0)) if soft[-1] > 0 else 0.0
    free = 0 < degree < 1
    return linear + 0.5 * stiff + degree * soft, soft / soft[-1] if free else np.zeros_like(soft)
