"""Which of two phases the posterior prefers, and at how many examples it changes its mind."""

from typing import NamedTuple

import numpy as np
from scipy.special import lambertw

from lltc.diagnostics.measured import Measured
from lltc.errors import InputError


class Phase(NamedTuple):
    """A region of parameters as the free energy sees it: its loss L in nats and its λ, with their errors."""

    loss: float
    llc: float
    loss_se: float = 0.0
    llc_se: float = 0.0


class Crossing(NamedTuple):
    """Where two phases weigh the same: `num_examples` and its error, and which one wins before and after.

    `num_examples` is NaN where one phase wins at every n; `before` and `after` are then alike. Each is "a" or
    "b".
    """

    num_examples: Measured
    before: str
    after: str


def free_energy_crossing(a: Phase | tuple, b: Phase | tuple) -> Crossing:
    """Return the n at which the posterior goes from one phase to the other.

    The free energy of a phase is n L + λ ln n to leading orders, so that two weigh the same where

        n ΔL + Δλ ln n = 0,   ΔL = L_b - L_a,  Δλ = λ_b - λ_a:   n = -r W₋₁(-1/r),  r = -Δλ/ΔL,

    W₋₁ Lambert's function. Below it the simpler phase (smaller λ) holds most of the posterior, above it the
    one that fits better. Where r < e, or one phase is both simpler and better, no n does. The error of n
    follows from those of L and λ to first order, dn = n ln n/(ln n - 1) d ln r. Terms of order ln ln n and
    one, multiplicities and volumes among them, are left out: n is right as to its size.

    Args:
        a: an `LLCEstimate` is taken by `Phase(e.init_loss, e.llc, llc_se=e.llc_se)`; or a `Phase`, or
            `(loss, llc)`, `(loss, llc, loss_se, llc_se)`.
        b: the same.

    Returns:
        A `Crossing` with `num_examples` (value, se), `before` and `after`.

    Raises:
        InputError: for numbers that are not finite, or two phases of equal loss.

    Source:
        Watanabe (2009), Algebraic geometry and statistical learning theory, section 7.6; Chen, Lau, Mendel,
        Wei & Murfet (2023, arXiv:2310.06301), section 4, for the toy model of superposition.

    Example:
        >>> found = free_energy_crossing((0.06874, 7.0), (0.04819, 8.5))  # 5-gon and 6-gon of 6 features
        >>> round(found.num_examples.value), found.before, found.after
        (445, 'a', 'b')
    """
    a, b = (_check(name, Phase(*phase)) for name, phase in (("a", a), ("b", b)))
    fall, price = a.loss - b.loss, b.llc - a.llc
    if fall == 0:
        raise InputError(
            f"a and b both have the loss {a.loss:g}, so that no n makes up for their llc; pass two phases of "
            "different loss."
        )
    better = "b" if fall > 0 else "a"
    ratio = price / fall
    if ratio < np.e:
        return Crossing(Measured(float("nan"), float("nan")), better, better)
    n = float(-ratio * lambertw(-1 / ratio, -1).real)
    errors = (np.hypot(a.llc_se, b.llc_se) / price, np.hypot(a.loss_se, b.loss_se) / fall)
    se = float(n * np.log(n) / (np.log(n) - 1) * np.hypot(*errors))
    return Crossing(Measured(n, se), "a" if better == "b" else "b", better)


def _check(name: str, phase: Phase) -> Phase:
    if not np.isfinite(phase).all():
        raise InputError(
            f"{name} has loss {phase.loss:g} and llc {phase.llc:g}, but both and their errors must be "
            "finite; pass a phase whose estimate came out."
        )
    return phase
