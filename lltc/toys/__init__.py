"""Problems whose learning coefficient is known."""

from lltc.toys.closed_forms import (
    LearningCoefficient,
    add_llc,
    euler_quadratic_llc,
    even_powers_llc,
    gaussian_mixture_llc,
    multiply_llc,
    normal_crossing_llc,
    quadratic_llc,
    quartic_llc,
    regular_llc,
    squared_product_llc,
    superposition_llc,
    tanh_network_llc,
)
from lltc.toys.linear_forms import deep_linear_llc, reduced_rank_llc, reduced_rank_llc_at

__all__ = [
    "LearningCoefficient",
    "add_llc",
    "deep_linear_llc",
    "euler_quadratic_llc",
    "even_powers_llc",
    "gaussian_mixture_llc",
    "multiply_llc",
    "normal_crossing_llc",
    "quadratic_llc",
    "quartic_llc",
    "reduced_rank_llc",
    "reduced_rank_llc_at",
    "regular_llc",
    "squared_product_llc",
    "superposition_llc",
    "tanh_network_llc",
]
