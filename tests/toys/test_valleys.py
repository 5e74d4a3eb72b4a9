"""Curves, crossings and sums over disjoint variables, against brute-force sums over a fine grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lltc import toys
from lltc.errors import InputError

CURVES = {problem.name: problem for problem in toys.curves()}


def grid_llc(problem, *, radius=5.0, spacing=0.004):
    """Sum over a plain square grid around the origin, a row at a time."""
    loss = jax.jit(lambda w: problem.model({"w": w}, problem.data[:1])[0])
    center = np.asarray(problem.params["w"], float)
    axis = np.arange(-radius, radius, spacing) + spacing / 3
    with jax.enable_x64(True):
        rows = jax.jit(jax.vmap(lambda x: _row(loss, x, jnp.asarray(axis), center, problem)))
        mass, energy = (np.concatenate(part) for part in zip(*map(rows, axis.reshape(-1, 100)), strict=True))
        bottom = problem.nbeta * float(loss(jnp.asarray(center)))
    return float(energy.sum() / mass.sum()) - bottom


def _row(loss, x, axis, center, problem):
    points = jnp.stack([jnp.full_like(axis, x), axis], -1)
    energy = problem.nbeta * jax.vmap(loss)(points)
    weight = jnp.exp(-energy - problem.localization / 2 * jnp.sum((points - center) ** 2, -1))
    return weight.sum(), (weight * energy).sum()


@pytest.mark.parametrize("name", CURVES)
def test_a_curve_has_the_value_of_a_fine_grid(name):
    problem = CURVES[name]
    assert problem.llc_finite == pytest.approx(grid_llc(problem), rel=2e-4)


@pytest.mark.parametrize("half_exponents", [[1, 2], [2, 3]])
def test_a_crossing_has_the_value_of_a_fine_grid(half_exponents):
    problem = toys.normal_crossing(half_exponents)
    assert problem.llc_finite == pytest.approx(grid_llc(problem), rel=2e-4)


@pytest.mark.parametrize(
    ("name", "loss", "center", "nbeta"),
    [
        ("tilted", lambda w: w[..., 0] ** 4 + w[..., 1] ** 2 / 2 + w[..., 0] - w[..., 1], (0.5, 0.5), 10.0),
        ("wells", lambda w: (w[..., 0] ** 2 - 1) ** 2 + (w[..., 1] - w[..., 0] ** 2) ** 2, (0.0, 0.0), 20.0),
    ],
)
def test_a_point_off_the_minimum_has_the_value_of_a_fine_grid(name, loss, center, nbeta):
    problem = toys.analytic(name, loss, center=center, nbeta=nbeta)
    exact = grid_llc(problem)
    assert problem.llc_finite == pytest.approx(exact, rel=2e-4)
    assert exact < -1


def test_taking_the_slope_away_leaves_the_value_of_the_straightened_loss():
    quartic = lambda w: w[..., 0] ** 4 + w[..., 1] ** 2 / 2 + w[..., 0] - w[..., 1]
    problem = toys.analytic("tilted", quartic, center=(0.5, 0.0), nbeta=100.0, linear=False)
    # The slope there is (4/8 + 1, -1).
    straight = lambda w: quartic(w) - 1.5 * (w[..., 0] - 0.5) + w[..., 1]
    assert not problem.linear
    assert problem.llc_finite == pytest.approx(
        grid_llc(toys.analytic("straight", straight, center=(0.5, 0.0), nbeta=100.0)), rel=2e-4
    )


def test_limits_of_the_curves_follow_from_their_newton_polygons():
    """λ is the inverse of where the diagonal meets the polygon, m = 2 where it meets a corner."""
    at_origin = {
        "crossing with a floor x²y²+x⁸": [(2, 2), (8, 0)],
        "two bowls (x²+y²)(x²+y⁴)": [(4, 0), (2, 2), (2, 4), (0, 6)],
    }
    for name, corners in at_origin.items():
        directions = np.array([(np.cos(a), np.sin(a)) for a in np.linspace(0, np.pi / 2, 9001)])
        heights = (np.array(corners) @ directions.T).min(0) / directions.sum(1)
        best = np.isclose(heights, heights.max(), rtol=1e-9).sum()
        assert CURVES[name].llc == pytest.approx(1 / heights.max())
        assert CURVES[name].multiplicity == (2 if best > 1 else 1)


def test_a_crossing_of_norms_is_the_two_layer_network_of_one_hidden_unit():
    """The map of N-1-M at rank 0 has the loss ½‖a‖²‖b‖²: an exact reference for the Gibbs sampler too."""
    for inputs, outputs in [(2, 2), (2, 3)]:
        network = toys.reduced_rank_regression(inputs, 1, outputs, 0, nbeta=200.0)
        exact = toys.normal_crossing([1, 1], dims=[inputs, outputs], nbeta=100.0)
        assert exact.llc_finite == pytest.approx(network.llc_finite, abs=3.5 * network.llc_finite_se)
        assert (exact.llc, exact.multiplicity) == (network.llc, network.multiplicity)


def test_a_crossing_of_norms_depends_on_norms():
    problem = toys.normal_crossing([1, 2], dims=[2, 3])
    w = {"w": jnp.array([3.0, 4.0, 1.0, 0.0, 1.0])}
    assert float(problem.model(w, problem.data)[0]) == pytest.approx(25 * 4)
    assert problem.num_params == 5


def test_a_sum_over_disjoint_variables_adds_losses_values_and_limits():
    first, second = toys.quadratic([2.0, 3.0]), toys.even_powers([2])
    whole = toys.disjoint_sum("both", first, second)
    w = {"part1": {"w": jnp.array([1.0, 2.0])}, "part2": {"w": jnp.array([2.0])}}
    assert float(whole.model(w, whole.data).mean()) == pytest.approx(1 + 6 + 16)
    assert whole.llc_finite == pytest.approx(
        toys.quadratic_llc([2.0, 3.0], nbeta=1e3, localization=1)
        + toys.quartic_llc(nbeta=1e3, localization=1),
        abs=1e-9,
    )
    assert (whole.llc, whole.multiplicity) == (1.25, 1)


def test_a_sum_carries_the_errors_of_its_parts():
    part = toys.analytic(
        "part", lambda w: 0 * w[0], center=[0.0], nbeta=1.0, reference=lambda: toys.Reference(2.0, 0.3)
    )
    other = toys.analytic(
        "other", lambda w: 0 * w[0], center=[0.0], nbeta=1.0, reference=lambda: toys.Reference(-1.0, 0.4)
    )
    whole = toys.disjoint_sum("both", part, other)
    assert (whole.llc_finite, whole.llc_finite_se, whole.llc) == (1.0, pytest.approx(0.5), None)


def test_bad_input_is_refused_by_name():
    with pytest.raises(InputError, match="problems have"):
        toys.disjoint_sum("both", toys.quadratic([1.0]), toys.quadratic([1.0], localization=2.0))
    with pytest.raises(InputError, match="dims=\\[1\\]"):
        toys.normal_crossing([1, 1], dims=[1])
    bare = toys.analytic("bare", lambda w: w[0] ** 2, center=np.zeros(3), nbeta=1.0)
    with pytest.raises(InputError, match="reference"):
        toys.disjoint_sum("bare", bare)
