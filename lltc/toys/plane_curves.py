"""Narrow valleys along singular plane curves at a high nβ, and their exact values by integration."""

from collections.abc import Callable, Sequence

import numpy as np

from lltc.toys.problems import ToyProblem, analytic, normal_crossing
from lltc.toys.values.closed_forms import LearningCoefficient
from lltc.toys.values.gibbs import Reference

_NBETA = 1e5
_REACH = 9.0  # in prior standard deviations


def narrow_valleys(*, nbeta: float = _NBETA) -> tuple[ToyProblem, ...]:
    """Return `f(x, y)²` for singular curves f = 0 through 0, localization 1; `llc_finite` from `curve_llc`.

    A few per cent of the mass lie far out in arms of width 1/√nbeta or less. λ is half the log canonical
    threshold of f.

    Example:
        >>> [round(problem.llc, 3) for problem in narrow_valleys()]
        [0.333, 0.417, 0.375, 0.292, 0.5, 0.333, 0.167]
    """
    listed: tuple[tuple[str, Callable, Callable, float, int], ...] = (
        ("(x²y-y³)²", lambda x, y: x**2 * y - y**3, lambda x: [-1, 0, x**2, 0], 1 / 3, 1),
        ("(x²+y³)²", lambda x, y: x**2 + y**3, lambda x: [1, 0, 0, x**2], 5 / 12, 1),
        ("(x²-y⁴)²", lambda x, y: x**2 - y**4, lambda x: [-1, 0, 0, 0, x**2], 3 / 8, 1),
        ("(x³+y⁴)²", lambda x, y: x**3 + y**4, lambda x: [1, 0, 0, 0, x**3], 7 / 24, 1),
        ("node (y²-x²-x³)²", lambda x, y: y**2 - x**2 - x**3, lambda x: [1, 0, -(x**2) - x**3], 1 / 2, 2),
        ("lines (xy(x+y))²", lambda x, y: x * y * (x + y), lambda x: [x, x**2, 0], 1 / 3, 1),
    )
    curves = (
        _valley(f"narrow {name}", curve, in_y, LearningCoefficient(llc, multiplicity), nbeta)
        for name, curve, in_y, llc, multiplicity in listed
    )
    return (*curves, normal_crossing([1, 3], nbeta=nbeta))


def _valley(
    name: str, curve: Callable, in_y: Callable, known: LearningCoefficient, nbeta: float
) -> ToyProblem:
    return analytic(
        name,
        lambda w: curve(w[..., 0], w[..., 1]) ** 2,
        center=(0.0, 0.0),
        nbeta=nbeta,
        known=known,
        reference=lambda: Reference(curve_llc(curve, in_y, nbeta=nbeta, bends=(-1.0, 0.0)), 0.0),
    )


def curve_llc(
    curve: Callable[[float, np.ndarray], np.ndarray],
    in_y: Callable[[float], Sequence[float]],
    *,
    nbeta: float,
    bends: Sequence[float] = (0.0,),
    points: int = 300,
) -> float:
    """Return `λ̂ = nbeta·E[f²]` under `exp(-nbeta f² - ½(x² + y²))` for a plane curve f = 0.

    By the trapezoidal rule over y on points graded towards every root of f(x, ·), whose coefficients `in_y`
    gives, the highest power first, and over x on points graded towards `bends`, where the curve is singular
    or vertical. The error falls as 1/points²; with 300 it is below 10⁻⁴.

    Example:
        >>> squared = lambda x, y: x * y
        >>> round(curve_llc(squared, lambda x: [x, 0], nbeta=10.0), 4)
        0.2903
    """
    offsets = np.geomspace(1e-9, 2 * _REACH, points)
    graded = np.concatenate([-offsets[::-1], [0.0], offsets])
    side = np.geomspace(1e-7, _REACH, 5 * points)
    x = np.unique(np.concatenate([middle + sign * side for middle in bends for sign in (-1, 1)]))
    x = x[np.abs(x) < _REACH]
    moments = np.array([_across(curve, in_y, at, graded, nbeta) for at in x])
    mass, energy = np.trapezoid(moments, x, axis=0)
    return float(energy / mass)


def _across(
    curve: Callable, in_y: Callable, x: float, graded: np.ndarray, nbeta: float
) -> tuple[float, float]:
    """Return the integrals over y at one x of the weight, and of the weight times nβf²."""
    middles = np.append(np.roots(in_y(x)).real, 0.0)
    y = np.unique((middles[:, None] + graded).ravel())
    y = y[np.abs(y) < _REACH]
    energy = nbeta * curve(x, y) ** 2
    weight = np.exp(-energy - 0.5 * (x**2 + y**2))
    return float(np.trapezoid(weight, y)), float(np.trapezoid(weight * energy, y))
