"""Quadrature and block Gibbs against closed forms and against each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lltc import toys
from lltc.errors import InputError

pytestmark = pytest.mark.reference


@pytest.mark.parametrize("nbeta", [10.0, 1e3, 1e6])
def test_quadrature_matches_the_bessel_formulas(nbeta):
    line = toys.quadrature_llc(lambda w: w[..., 0] ** 4, nbeta=nbeta, localization=1, center=(0.0,))
    plane = toys.quadrature_llc(lambda w: (w[..., 0] * w[..., 1]) ** 2, nbeta=nbeta, localization=1)
    product = toys.squared_product_llc(nbeta=nbeta, localization=1)
    assert line == pytest.approx(toys.quartic_llc(nbeta=nbeta, localization=1), abs=1e-9)
    assert plane == pytest.approx(product, abs=1e-9)
    assert toys.crossing_llc([1, 1], nbeta=nbeta, localization=1) == pytest.approx(product, abs=1e-9)


@given(st.floats(1, 1e4), st.floats(0.1, 10), st.floats(0, 10), st.floats(0, 10), st.floats(-2, 2))
@settings(max_examples=10, deadline=None)
def test_quadrature_of_a_turned_shifted_quadratic_is_the_closed_form(nbeta, localization, h1, h2, angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = np.array([1.5, -0.5])
    got = toys.quadrature_llc(
        lambda w: 0.5 * np.sum(np.array([h1, h2]) * ((w - center) @ turn) ** 2, axis=-1),
        nbeta=nbeta,
        localization=localization,
        center=center,
    )
    assert got == pytest.approx(
        toys.quadratic_llc([h1, h2], nbeta=nbeta, localization=localization), abs=1e-7
    )


def test_quadrature_follows_a_curved_valley():
    """Straightening y - x² leaves a Gaussian in y at every x: ½ E_x of the one-dimensional value."""
    nbeta, localization = 300.0, 1.0
    loss = lambda w: (w[..., 1] - w[..., 0] ** 2) ** 2
    x = np.linspace(-7, 7, 20001)
    h = 2 * nbeta
    pull = localization * x**2 / (h + localization)  # the prior drags y down from the valley
    energy = (h / 2) * (1 / (h + localization) + pull**2)
    weight = np.exp(-localization * x**2 / 2 - (h * localization / (h + localization)) * x**4 / 2)
    assert toys.quadrature_llc(loss, nbeta=nbeta, localization=localization) == pytest.approx(
        float((weight * energy).sum() / weight.sum()), abs=1e-8
    )


def test_crossing_matches_quadrature_off_the_symmetric_case():
    plane = toys.quadrature_llc(lambda w: w[..., 0] ** 8 * w[..., 1] ** 2, nbeta=1e3, localization=2)
    assert toys.crossing_llc([4, 1, 0], nbeta=1e3, localization=2) == pytest.approx(plane, abs=1e-8)


def test_gibbs_of_one_layer_is_the_exact_quadratic():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((3, 3))
    S, kernel = root @ root.T, rng.standard_normal((3, 2))
    got = toys.gibbs_llc(
        [kernel], input_moment=S, cross_moment=S @ kernel, nbeta=30.0, localization=2.0, num_sweeps=5
    )
    exact = toys.quadratic_llc(np.repeat(np.linalg.eigvalsh(S), 2), nbeta=30.0, localization=2.0)
    assert got.llc == pytest.approx(exact, abs=1e-9)
    assert got.llc_se < 1e-9


@pytest.mark.parametrize("target", [0.0, 0.5])
def test_gibbs_of_a_scalar_net_matches_quadrature(target):
    """The moments S = 2, C = 2·target + .1 put the point off the minimum, as a noisy sample would."""
    side = np.sqrt(target)
    nbeta, localization = 50.0, 1.0
    got = toys.gibbs_llc(
        [np.array([[side]]), np.array([[side]])],
        input_moment=np.array([[2.0]]),
        cross_moment=np.array([[2 * target + 0.1]]),
        nbeta=nbeta,
        localization=localization,
        num_chains=64,
        num_sweeps=4000,
    )
    excess = lambda w: (p := w[..., 0] * w[..., 1] - target) * p - 0.1 * p
    exact = toys.quadrature_llc(excess, nbeta=nbeta, localization=localization, center=(side, side))
    assert abs(got.llc - exact) < 3.5 * got.llc_se
    assert got.llc_se < 0.005


def test_gibbs_of_a_three_layer_scalar_net_is_a_normal_crossing():
    zero = np.zeros((1, 1))
    got = toys.gibbs_llc(
        [zero] * 3, input_moment=np.eye(1), cross_moment=zero, nbeta=200.0, localization=1.0, num_chains=64
    )
    assert abs(got.llc - toys.crossing_llc([1, 1, 1], nbeta=100.0, localization=1.0)) < 3.5 * got.llc_se
    assert got.llc_se < 0.005


@pytest.mark.parametrize(
    ("widths", "rank", "nbeta", "value"),
    [
        ((5, 3, 5), 0, 1e3, 6.22),
        ((5, 3, 5), 1, 1e3, 7.85),
        ((5, 3, 5), 2, 1e3, 9.29),
        ((5, 3, 5), 3, 1e3, 10.49),
        ((3, 2, 3), 0, 1e2, 2.30),
        ((3, 2, 3), 1, 1e4, 3.38),
    ],
)
def test_gibbs_reproduces_the_published_two_layer_table(widths, rank, nbeta, value):
    problem = toys.deep_linear(widths, rank=rank, nbeta=nbeta)
    assert problem.llc_finite == pytest.approx(value, abs=0.01 + 3.5 * problem.llc_finite_se)
    assert problem.llc_finite_se < 0.01


def test_bad_input_is_refused_by_name():
    with pytest.raises(InputError, match="center"):
        toys.quadrature_llc(lambda w: w[..., 0], nbeta=1, localization=1, center=(0, 0, 0))
    with pytest.raises(InputError, match="localization=0"):
        toys.crossing_llc([1], nbeta=1, localization=0)
    eye = np.eye(2)
    with pytest.raises(InputError, match="kernels of shapes"):
        toys.gibbs_llc([np.eye(3), eye], input_moment=eye, cross_moment=eye, nbeta=1, localization=1)
    with pytest.raises(InputError, match="num_chains=1"):
        toys.gibbs_llc([eye], input_moment=eye, cross_moment=eye, nbeta=1, localization=1, num_chains=1)
