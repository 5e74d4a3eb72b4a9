"""Losses of two variables with curved, cusped and crossing valleys, at and off their singular points."""

import numpy as np

from lltc.toys.problems import ToyProblem, analytic
from lltc.toys.values.closed_forms import LearningCoefficient
from lltc.toys.values.gibbs import Reference
from lltc.toys.values.quadrature import quadrature_llc

_NBETA = 1e3
_HALF, _HALF_TWICE = LearningCoefficient(1 / 2, 1), LearningCoefficient(1 / 2, 2)


def curves() -> tuple[ToyProblem, ...]:
    """Return singular curves at nbeta 1000 and localization 1; `llc_finite` by quadrature.

    At a point off the cusp of `(y²-x³)²` the local λ is that of a smooth curve, ½; the finite value feels
    the cusp all the same.

    Example:
        >>> [problem.llc for problem in curves()][:2]
        [0.5, 0.4166666666666667]
    """
    parabola = lambda w: (w[..., 1] - w[..., 0] ** 2) ** 2
    cusp = lambda w: (w[..., 1] ** 2 - w[..., 0] ** 3) ** 2
    circle = lambda w: (w[..., 0] ** 2 + w[..., 1] ** 2 - 1) ** 2
    listed = (
        ("parabola (y-x²)²", parabola, (0.0, 0.0), _HALF),
        ("cusp (y²-x³)²", cusp, (0.0, 0.0), LearningCoefficient(5 / 12, 1)),
        (
            "cusp (y²-x⁵)²",
            lambda w: (w[..., 1] ** 2 - w[..., 0] ** 5) ** 2,
            (0.0, 0.0),
            LearningCoefficient(7 / 20, 1),
        ),
        ("circle (x²+y²-1)²", circle, (1.0, 0.0), _HALF),
        ("parabola (y-x²)² at (1, 1)", parabola, (1.0, 1.0), _HALF),
        ("cusp (y²-x³)² at (1, 1)", cusp, (1.0, 1.0), _HALF),
        ("cubic (y-x³)²", lambda w: (w[..., 1] - w[..., 0] ** 3) ** 2, (0.0, 0.0), _HALF),
        (
            "circle of uneven stiffness (x²+y²-1)²(1+(1-x)²)",
            lambda w: circle(w) * (1 + (1 - w[..., 0]) ** 2),
            (1.0, 0.0),
            _HALF,
        ),
        (
            "crossing with a floor x²y²+x⁸",
            lambda w: (w[..., 0] * w[..., 1]) ** 2 + w[..., 0] ** 8,
            (0.0, 0.0),
            _HALF_TWICE,
        ),
        (
            "two bowls (x²+y²)(x²+y⁴)",
            lambda w: (w[..., 0] ** 2 + w[..., 1] ** 2) * (w[..., 0] ** 2 + w[..., 1] ** 4),
            (0.0, 0.0),
            _HALF_TWICE,
        ),
        (
            "Rosenbrock valley (y-x²)²+(1-x)²/100",
            lambda w: parabola(w) + (1 - w[..., 0]) ** 2 / 100,
            (1.0, 1.0),
            LearningCoefficient(1.0, 1),
        ),
    )
    return (
        *(analytic(name, loss, center=at, nbeta=_NBETA, known=known) for name, loss, at, known in listed),
        diagonals(),
    )


def diagonals(*, nbeta: float = _NBETA, localization: float = 1.0) -> ToyProblem:
    """Return `(x²-y²)²(1+x²+y²)` at 0: two valleys that cross along the diagonals, (λ, m) = (½, 2).

    Quadrature takes place in the variables turned by 45°, where the valleys are the axes.

    Example:
        >>> diagonals().multiplicity
        2
    """

    def turned(w: np.ndarray) -> np.ndarray:
        return 4 * (w[..., 0] * w[..., 1]) ** 2 * (1 + w[..., 0] ** 2 + w[..., 1] ** 2)

    return analytic(
        "diagonals (x²-y²)²(1+x²+y²)",
        lambda w: (w[..., 0] ** 2 - w[..., 1] ** 2) ** 2 * (1 + w[..., 0] ** 2 + w[..., 1] ** 2),
        center=(0.0, 0.0),
        nbeta=nbeta,
        localization=localization,
        known=_HALF_TWICE,
        reference=lambda: Reference(quadrature_llc(turned, nbeta=nbeta, localization=localization), 0.0),
    )
