"""Integrals along curves against quadrature of products and of a nondegenerate crossing."""

import numpy as np
import pytest

from lltc.toys import crossing_llc, curve_llc, narrow_valleys, quadratic_llc


@pytest.mark.parametrize("nbeta", [10.0, 1e3, 1e5])
def test_a_crossing_of_two_lines_is_that_of_the_axes_turned(nbeta):
    """½(x² - y²) = uv in the variables turned by 45°."""
    found = curve_llc(lambda x, y: (x**2 - y**2) / 2, lambda x: [-1, 0, x**2], nbeta=nbeta)
    assert found == pytest.approx(crossing_llc([1, 1], nbeta=nbeta, localization=1.0), rel=3e-4)


def test_a_line_is_a_quadratic_of_one_direction():
    found = curve_llc(lambda x, y: y - x, lambda x: [1, -x], nbeta=1e4)
    assert found == pytest.approx(quadratic_llc(np.array([4.0, 0.0]), nbeta=1e4, localization=1.0), rel=3e-4)


def test_finite_values_approach_the_limit_from_below():
    problem = narrow_valleys(nbeta=1e3)[5]
    low, high = problem.llc_finite, narrow_valleys(nbeta=1e5)[5].llc_finite
    assert problem.llc is not None
    assert low is not None
    assert high is not None
    assert low < high < problem.llc
