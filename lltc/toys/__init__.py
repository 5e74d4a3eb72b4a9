"""Problems whose learning coefficient is known."""

from lltc.toys.bottleneck import BottleneckRun, KnownPlateau, KnownTransition, train_bottleneck
from lltc.toys.counts import best_fit, counted
from lltc.toys.fibres import reduced_rank_point
from lltc.toys.fitted import (
    logistic_regression,
    poisson_regression,
    product_logistic,
    softmax_regression,
    tanh_unit,
)
from lltc.toys.mixtures import gaussian_mixture, one_mean_mixture
from lltc.toys.networks import (
    balanced_kernels,
    deep_linear,
    network_loss,
    network_outputs,
    reduced_rank_regression,
)
from lltc.toys.normal import linear_regression, lookup_regression, tilted_quadratic
from lltc.toys.plane_curves import curve_llc, narrow_valleys
from lltc.toys.polygons import polygon, superposition, superposition_loss
from lltc.toys.problem_table import table
from lltc.toys.problems import ToyProblem, analytic, even_powers, normal_crossing, quadratic
from lltc.toys.shallow import quadratic_network, tanh_network
from lltc.toys.sums import disjoint_sum
from lltc.toys.valleys import curves, diagonals
from lltc.toys.values.closed_forms import (
    LearningCoefficient,
    add_llc,
    even_powers_llc,
    gaussian_mixture_llc,
    multiply_llc,
    normal_crossing_llc,
    quadratic_network_llc,
    regular_llc,
    superposition_llc,
    tanh_network_llc,
)
from lltc.toys.values.gibbs import Reference, gibbs_llc
from lltc.toys.values.hmc import hmc_llc
from lltc.toys.values.linear_forms import deep_linear_llc, reduced_rank_llc, reduced_rank_llc_at
from lltc.toys.values.quadrature import crossing_llc, quadrature_llc
from lltc.toys.values.tempered import euler_quadratic_llc, quadratic_llc, quartic_llc, squared_product_llc

__all__ = [
    "BottleneckRun",
    "KnownPlateau",
    "KnownTransition",
    "LearningCoefficient",
    "Reference",
    "ToyProblem",
    "add_llc",
    "analytic",
    "balanced_kernels",
    "best_fit",
    "counted",
    "crossing_llc",
    "curve_llc",
    "curves",
    "deep_linear",
    "deep_linear_llc",
    "diagonals",
    "disjoint_sum",
    "euler_quadratic_llc",
    "even_powers",
    "even_powers_llc",
    "gaussian_mixture",
    "gaussian_mixture_llc",
    "gibbs_llc",
    "hmc_llc",
    "linear_regression",
    "logistic_regression",
    "lookup_regression",
    "multiply_llc",
    "narrow_valleys",
    "network_loss",
    "network_outputs",
    "normal_crossing",
    "normal_crossing_llc",
    "one_mean_mixture",
    "poisson_regression",
    "polygon",
    "product_logistic",
    "quadratic",
    "quadratic_llc",
    "quadratic_network",
    "quadratic_network_llc",
    "quadrature_llc",
    "quartic_llc",
    "reduced_rank_llc",
    "reduced_rank_llc_at",
    "reduced_rank_point",
    "reduced_rank_regression",
    "regular_llc",
    "softmax_regression",
    "squared_product_llc",
    "superposition",
    "superposition_llc",
    "superposition_loss",
    "table",
    "tanh_network",
    "tanh_network_llc",
    "tanh_unit",
    "tilted_quadratic",
    "train_bottleneck",
]
