"""Closed forms against tabulated values and the laws they obey."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from lltc import toys
from lltc.errors import InputError

LC = toys.LearningCoefficient
DEEP_LINEAR = {
    (2, 2, 2): [(1.5, 1), (2, 2), (2, 1)],
    (3, 2, 3): [(2.5, 1), (3.5, 2), (4, 1)],
    (5, 3, 5): [(6.5, 2), (8, 1), (9.5, 2), (10.5, 1)],
    (4, 3, 8): [(6, 1), (8.5, 1), (11, 1), (13.5, 1)],
    (4, 4, 4): [(6, 1), (7, 2), (7.5, 1), (8, 2), (8, 1)],
    (3, 3, 3, 3): [(3, 1), (4, 3), (4.5, 3), (4.5, 1)],
    (5, 5, 5, 5, 5): [(8, 4), (9.5, 1), (11, 4), (12, 5), (12.5, 4), (12.5, 1)],
    (5, 10, 10, 10, 10, 5): [(12.5, 1)] * 6,
}
widths = st.integers(1, 9)


@pytest.mark.parametrize("shape", DEEP_LINEAR)
def test_deep_linear_reproduces_the_published_table(shape):
    got = [toys.deep_linear_llc(shape, rank=r) for r in range(min(shape) + 1)]
    if shape == (5, 10, 10, 10, 10, 5):
        assert [g.llc for g in got] == [12.5] * 6
    else:
        assert got == [LC(*value) for value in DEEP_LINEAR[shape]]


@given(widths, widths, widths, st.data())
def test_three_widths_are_reduced_rank_regression(n, h, m, data):
    r = data.draw(st.integers(0, min(n, h, m)))
    assert toys.deep_linear_llc((n, h, m), rank=r) == pytest.approx(
        toys.reduced_rank_llc(inputs=n, hidden=h, outputs=m, rank=r), abs=1e-12
    )


@given(st.lists(widths, min_size=3, max_size=6), st.data())
def test_hidden_widths_commute_and_the_net_can_be_reversed(shape, data):
    r = data.draw(st.integers(0, min(shape)))
    hidden = data.draw(st.permutations(shape[1:-1]))
    value = toys.deep_linear_llc(shape, rank=r)
    assert toys.deep_linear_llc([shape[0], *hidden, shape[-1]], rank=r) == value
    assert toys.deep_linear_llc(shape[::-1], rank=r) == value


@given(st.lists(widths, min_size=2, max_size=6), st.data())
def test_deep_linear_is_bounded_by_half_the_parameters_and_grows_with_rank(shape, data):
    r = data.draw(st.integers(0, min(shape)))
    value = toys.deep_linear_llc(shape, rank=r).llc
    assert value <= sum(a * b for a, b in pairwise(shape)) / 2
    assert value <= shape[0] * shape[-1] / 2
    if r:
        assert value >= toys.deep_linear_llc(shape, rank=r - 1).llc


@given(widths, widths, widths, st.data())
def test_no_point_of_the_fibre_lies_below_the_global_value(n, h, m, data):
    r = data.draw(st.integers(0, min(n, h, m)))
    a = data.draw(st.integers(r, min(n, h)))
    b = data.draw(st.integers(r, min(m, h, h + r - a)))
    point = toys.reduced_rank_llc_at(inputs=n, hidden=h, outputs=m, rank=r, first_rank=a, second_rank=b)
    assert point.llc >= toys.reduced_rank_llc(inputs=n, hidden=h, outputs=m, rank=r).llc
    balanced = toys.reduced_rank_llc_at(inputs=n, hidden=h, outputs=m, rank=r, first_rank=r, second_rank=r)
    assert balanced == toys.reduced_rank_llc(inputs=n, hidden=h, outputs=m, rank=r)


def test_the_local_value_of_2_2_2_exceeds_the_global_one_at_two_rank_pairs_only():
    ranks = [(a, b) for a in range(3) for b in range(3) if a + b <= 2]
    high = [
        (a, b)
        for a, b in ranks
        if toys.reduced_rank_llc_at(inputs=2, hidden=2, outputs=2, rank=0, first_rank=a, second_rank=b).llc
        == 2
    ]
    assert high == [(0, 2), (2, 0)]


@pytest.mark.parametrize(("nbeta", "value"), [(10, 0.224903), (100, 0.241718), (1e4, 0.249157)])
def test_quartic_matches_the_published_digits(nbeta, value):
    assert toys.quartic_llc(nbeta=nbeta, localization=1) == pytest.approx(value, abs=5e-7)


@pytest.mark.parametrize(("nbeta", "value"), [(10, 0.290274), (100, 0.354204), (1e4, 0.412337)])
def test_squared_product_matches_the_published_digits(nbeta, value):
    assert toys.squared_product_llc(nbeta=nbeta, localization=1) == pytest.approx(value, abs=5e-7)


@given(st.floats(0.1, 1e5), st.floats(0, 30))
@settings(max_examples=30, deadline=None)
def test_quartic_equals_a_direct_integral(nbeta, localization):
    scale = min(nbeta**-0.25, (localization + 1e-12) ** -0.5)
    weight = lambda u: np.exp(-nbeta * (scale * u) ** 4 - localization * (scale * u) ** 2 / 2)
    top = quad(lambda u: nbeta * (scale * u) ** 4 * weight(u), 0, 12, epsabs=1e-13)[0]
    bottom = quad(weight, 0, 12, epsabs=1e-13)[0]
    assert toys.quartic_llc(nbeta=nbeta, localization=localization) == pytest.approx(top / bottom, abs=1e-8)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8), st.floats(0.1, 1e5), st.floats(0.01, 100))
def test_quadratic_adds_and_is_half_the_dimension_at_most(curvatures, nbeta, localization):
    setting = {"nbeta": nbeta, "localization": localization}
    whole = toys.quadratic_llc(curvatures, **setting)
    assert whole == pytest.approx(sum(toys.quadratic_llc([h], **setting) for h in curvatures), rel=1e-12)
    assert 0 <= whole <= len(curvatures) / 2


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=5), st.floats(0.001, 3.9), st.integers(0, 60))
def test_euler_formula_is_the_recursion_of_the_variance(curvatures, stable, num_steps):
    h, nbeta, localization = np.array(curvatures), 7.0, 2.0
    q = nbeta * h + localization
    step_size = stable / q.max()
    variance = np.zeros_like(q)
    for _ in range(num_steps):
        variance = (1 - step_size * q / 2) ** 2 * variance + step_size
    setting = {"nbeta": nbeta, "localization": localization, "step_size": step_size}
    assert toys.euler_quadratic_llc(h, num_steps=num_steps, **setting) == pytest.approx(
        float(0.5 * np.sum(nbeta * h * variance)), rel=1e-9, abs=1e-12
    )
    assert toys.euler_quadratic_llc(h, **setting) >= toys.quadratic_llc(
        h, nbeta=nbeta, localization=localization
    )


def test_simple_rules_give_their_known_values():
    assert toys.even_powers_llc([1, 2]) == LC(0.75, 1)
    assert toys.normal_crossing_llc([1, 3, 0, 3]) == LC(1 / 6, 2)
    assert toys.regular_llc(5) == LC(2.5, 1)
    assert toys.add_llc(LC(0.5, 2), LC(0.5, 3)) == LC(1.0, 4)
    assert toys.multiply_llc(LC(0.5, 2), LC(0.5, 3), LC(0.75, 1)) == LC(0.5, 5)
    assert [toys.tanh_network_llc(h) for h in (1, 2, 3, 4)] == [
        LC(0.5, 2),
        LC(4 / 6, 1),
        LC(5 / 6, 1),
        LC(1.0, 2),
    ]
    assert [toys.superposition_llc(c).llc for c in (5, 6, 7, 8)] == [7, 8.5, 10, 11.5]
    assert [toys.gaussian_mixture_llc(k) for k in (1, 2)] == [
        LC(0.5, 2),
        LC(0.75, 1),
    ]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5).filter(any))
def test_a_normal_crossing_takes_its_highest_power_and_counts_ties(half_exponents):
    highest = max(half_exponents)
    value = toys.normal_crossing_llc(half_exponents)
    assert value == LC(1 / (2 * highest), half_exponents.count(highest))
    assert toys.normal_crossing_llc(half_exponents, dims=[3] * len(half_exponents)) == LC(
        3 / (2 * highest), half_exponents.count(highest)
    )


def test_a_crossing_of_norms_takes_the_fewest_variables_per_power():
    assert toys.normal_crossing_llc([1, 2, 0], dims=[2, 4, 1]) == LC(1.0, 2)
    assert toys.normal_crossing_llc([1, 2], dims=[2, 3]) == LC(0.75, 1)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: toys.quadratic_llc([1.0, -1.0], nbeta=1, localization=1), "curvatures"),
        (lambda: toys.quadratic_llc([1.0], nbeta=0, localization=1), "nbeta=0"),
        (lambda: toys.quartic_llc(nbeta=1, localization=-1), "localization=-1"),
        (lambda: toys.squared_product_llc(nbeta=1, localization=0), "localization=0"),
        (lambda: toys.euler_quadratic_llc([1.0], nbeta=1, localization=0, step_size=4), "step_size=4"),
        (lambda: toys.deep_linear_llc([5], rank=0), "widths"),
        (lambda: toys.deep_linear_llc([5, 3, 5], rank=4), "rank=4"),
        (
            lambda: toys.reduced_rank_llc_at(
                inputs=2, hidden=2, outputs=2, rank=0, first_rank=2, second_rank=1
            ),
            "second_rank=1",
        ),
        (lambda: toys.normal_crossing_llc([0, 0]), "half_exponents"),
        (lambda: toys.superposition_llc(4), "sides=4"),
        (lambda: toys.gaussian_mixture_llc(3), "free_means=3"),
        (lambda: toys.tanh_network_llc(0), "hidden=0"),
    ],
)
def test_bad_input_is_refused_by_name(call, named):
    with pytest.raises(InputError, match=named):
        call()
