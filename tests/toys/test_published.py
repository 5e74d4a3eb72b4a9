"""Published finite values, and the laws that finite values obey between them."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from lltc import toys

pytestmark = pytest.mark.reference

TEMPERATURES = (1e2, 1e3, 1e4, 1e5)
TWO_LAYERS = {
    ((3, 2, 3), 0): (2.30, 2.42, 2.46, 2.48),
    ((3, 2, 3), 1): (3.24, 3.34, 3.38, 3.40),
    ((3, 2, 3), 2): (3.99, 4.00, 4.00, 4.00),
    ((5, 3, 5), 0): (5.98, 6.22, 6.32, 6.38),
    ((5, 3, 5), 1): (7.62, 7.85, 7.95, 7.98),
    ((5, 3, 5), 2): (9.13, 9.29, 9.36, 9.40),
    ((5, 3, 5), 3): (10.48, 10.49, 10.50, 10.50),
}


@pytest.mark.parametrize(("widths", "rank"), TWO_LAYERS)
def test_gibbs_reproduces_every_published_two_layer_value(widths, rank):
    for nbeta, value in zip(TEMPERATURES, TWO_LAYERS[widths, rank], strict=True):
        problem = toys.deep_linear(widths, rank=rank, nbeta=nbeta, num_sweeps=400)
        # Two decimals were published, with a Monte Carlo error of at most .01 of their own.
        assert problem.llc_finite == pytest.approx(value, abs=0.015 + 3.5 * problem.llc_finite_se), nbeta
        assert problem.llc_finite_se < 0.025


@given(st.floats(0.5, 1e6), st.floats(0.1, 10), st.floats(0.2, 5), st.lists(st.integers(1, 3), min_size=1))
def test_homogeneous_losses_depend_on_one_combination_of_nbeta_and_localization(nbeta, gamma, scale, halves):
    """K(sw) = s^p K(w) makes λ̂ a function of t γ^{-p/2}: what the virial identity says, integrated."""
    power = 2 * sum(halves[:4])
    here = toys.crossing_llc(halves[:4], nbeta=nbeta, localization=gamma)
    there = toys.crossing_llc(halves[:4], nbeta=nbeta * scale ** (power / 2), localization=gamma * scale)
    assert here == pytest.approx(there, rel=1e-4)
    assert toys.quartic_llc(nbeta=nbeta, localization=gamma) == pytest.approx(
        toys.quartic_llc(nbeta=nbeta * scale**2, localization=gamma * scale), rel=1e-7
    )


@given(st.floats(0.1, 1e4), st.floats(0.1, 10))
def test_the_virial_identity_holds_for_the_quartic(nbeta, gamma):
    """t E[w K'(w)] + γ E[w²] = d, with w K' = 4 K and the second moment by quadrature."""
    scale = min(nbeta**-0.25, gamma**-0.5)
    weight = lambda u: np.exp(-nbeta * (scale * u) ** 4 - gamma * (scale * u) ** 2 / 2)
    square = quad(lambda u: (scale * u) ** 2 * weight(u), 0, 12, epsabs=1e-13)[0]
    square /= quad(weight, 0, 12, epsabs=1e-13)[0]
    assert 4 * toys.quartic_llc(nbeta=nbeta, localization=gamma) + gamma * square == pytest.approx(
        1, abs=1e-8
    )


@pytest.mark.parametrize("nbeta", [10.0, 1e3])
def test_the_slope_in_log_nbeta_is_the_value_less_the_heat_capacity(nbeta):
    loss = lambda w: (w[1] - w[0] ** 2) ** 2
    axis = np.linspace(-6, 6, 3001)
    energy = nbeta * loss(np.meshgrid(axis, axis, indexing="ij"))
    weight = np.exp(-energy - (axis[:, None] ** 2 + axis**2) / 2)
    mean = np.sum(weight * energy) / weight.sum()
    heat_capacity = np.sum(weight * (energy - mean) ** 2) / weight.sum()
    value = lambda t: toys.quadrature_llc(
        lambda w: loss((w[..., 0], w[..., 1])), nbeta=t, localization=1.0, halvings=8
    )
    slope = (value(nbeta * 1.01) - value(nbeta / 1.01)) / (2 * np.log(1.01))
    assert slope == pytest.approx(mean - heat_capacity, abs=1e-4)


@pytest.mark.parametrize("half_exponents", [[1], [2], [3], [1, 2], [1, 1, 2]])
def test_without_localization_even_powers_have_their_limit_at_every_nbeta(half_exponents):
    limit = toys.even_powers_llc(half_exponents).llc
    for nbeta in (1.0, 1e4):
        problem = toys.even_powers(half_exponents, nbeta=nbeta, localization=1e-9)
        assert problem.llc_finite == pytest.approx(limit, abs=1e-4)


def test_a_multiplicity_of_two_is_approached_like_one_over_log_nbeta():
    shortfall = [
        (0.5 - toys.squared_product_llc(nbeta=10.0**power, localization=1)) * power * np.log(10)
        for power in (10, 30, 100, 250)
    ]
    assert np.all(np.diff(np.abs(np.array(shortfall) - 1)) < 0)
    assert shortfall[-1] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("shape", "ranks", "limit"),
    [((4, 4, 4), (3, 1), 6.5), ((5, 3, 4), (1, 2), 6.0), ((2, 2, 2), (2, 0), 2.0)],
)
def test_the_local_value_of_a_point_of_the_fibre_is_met_at_low_temperature(shape, ranks, limit):
    problem = toys.reduced_rank_point(*shape, first_rank=ranks[0], second_rank=ranks[1], num_sweeps=400)
    assert problem.llc == limit
    assert problem.llc_finite == pytest.approx(limit, rel=0.01)


def test_the_moments_of_a_million_examples_are_those_of_the_rows():
    problem = toys.reduced_rank_regression(5, 3, 5, 1, num_examples=1_000_000)
    x, y = np.asarray(problem.data["x"], float), np.asarray(problem.data["y"], float)
    S, C = x.T @ x / 1e6, x.T @ y / 1e6
    first, second = (np.asarray(problem.params[f"layer{i}"]["kernel"], float) for i in (1, 2))
    for key in range(3):
        rng = np.random.default_rng(key)
        a, b = (
            first + 0.3 * rng.standard_normal(first.shape),
            second + 0.3 * rng.standard_normal(second.shape),
        )
        P, P0 = a @ b, first @ second
        moments = np.sum(P * (S @ P) / 2 - P * C) - np.sum(P0 * (S @ P0) / 2 - P0 * C)
        params = {"layer1": {"kernel": a.astype(np.float32)}, "layer2": {"kernel": b.astype(np.float32)}}
        losses = jax.jit(problem.model)(params, problem.data) - problem.model(problem.params, problem.data)
        assert float(np.mean(np.asarray(losses, float))) == pytest.approx(moments, rel=1e-4, abs=1e-4)
    # The best rank-3 map of the noisy sample is a regular point of all but the gauge and the noise's floor.
    assert 8 < (problem.llc_finite or 0) < 10.5
