"""Nonlinear problems: their losses, points and references."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from lltc import toys
from lltc.errors import InputError

pytestmark = pytest.mark.reference

PUBLISHED = {5: (1.17046, -0.28230), 6: (1.32053, -0.61814), 7: (1.44839, -0.96691), 8: (1.55045, -1.29119)}


@pytest.mark.parametrize("sides", PUBLISHED)
def test_polygons_have_the_published_radius_and_bias(sides):
    params = toys.polygon(sides)
    np.testing.assert_allclose(np.linalg.norm(params["W"], axis=0), PUBLISHED[sides][0], atol=2e-5)
    np.testing.assert_allclose(params["b"], PUBLISHED[sides][1], atol=2e-5)


def test_the_hexagon_has_the_published_loss_and_one_flat_direction_below_regular():
    problem = toys.superposition(6)
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(problem.params)
        loss = lambda w: jnp.mean(problem.model(unravel(w), problem.data))
        assert float(loss(flat)) == pytest.approx(0.04819, abs=5e-6)
        curvature = np.linalg.eigvalsh(jax.hessian(loss)(flat))
    assert np.sum(curvature > 1e-3) == 2 * toys.superposition_llc(6).llc
    assert np.sum(np.abs(curvature) < 1e-5) == 1


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_superposition_loss_is_the_integral_over_the_input_size(seed):
    rng = np.random.default_rng(seed)
    W, b = rng.standard_normal((2, 4)), 0.5 * rng.standard_normal(4)
    mu = (np.arange(20_000) + 0.5) / 20_000
    outputs = np.maximum(mu[:, None] * (W[:, 1] @ W) + b, 0)
    outputs[:, 1] -= mu
    params = {"W": jnp.asarray(W, jnp.float32), "b": jnp.asarray(b, jnp.float32)}
    got = toys.superposition_loss(params, jnp.eye(4))[1]
    assert float(got) == pytest.approx(np.mean(np.sum(outputs**2, axis=1)), rel=1e-4, abs=1e-5)


def test_superposition_loss_has_a_finite_gradient_at_zero_weights():
    params = {"W": jnp.zeros((2, 3)), "b": jnp.array([0.5, 0.0, -0.5])}
    value, gradient = jax.value_and_grad(lambda p: toys.superposition_loss(p, jnp.eye(3)).sum())(params)
    # Example 1: ∫(μ-½)² = 1/12; the others: 1/3 each, plus ½² for output 1.
    assert float(value) == pytest.approx(1 / 12 + 2 * (1 / 3 + 0.25))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))
    assert float(gradient["b"][2]) == 0


@pytest.mark.parametrize(("noise", "num_levels"), [(0.0, None), (1.0, None), (1.0, 6)])
def test_the_importance_sample_of_one_tanh_unit_matches_quadrature(noise, num_levels):
    problem = toys.tanh_network(1, num_examples=40, noise=noise, num_levels=num_levels, nbeta=60.0)
    x, y = (np.asarray(problem.data[name], dtype=float) for name in ("x", "y"))

    def excess(w):
        outputs = w[..., :1] * np.tanh(w[..., 1:] * x)
        return np.mean(outputs * (outputs - 2 * y), axis=-1) / 2

    exact = toys.quadrature_llc(excess, nbeta=60.0, localization=1.0, tolerance=1e-6)
    assert problem.llc_finite == pytest.approx(exact, abs=3.5 * problem.llc_finite_se)
    assert problem.llc_finite_se < 0.003


def test_hmc_agrees_with_the_exact_value_of_a_singular_loss():
    problem = toys.normal_crossing([1, 1], nbeta=20.0)
    got = toys.hmc_llc(
        problem.model,
        problem.params,
        jnp.zeros(1),
        nbeta=20.0,
        localization=1.0,
        num_chains=256,
        num_draws=300,
        num_warmup=100,
    )
    assert got.llc == pytest.approx(problem.llc_finite, abs=3.5 * got.llc_se)
    assert got.llc_se < 0.01


def test_quadratic_network_at_zero_is_homogeneous_of_degree_four():
    """λ̂ → NH/4 as localization → 0 at any nbeta; 1 % short of it at γ = .01."""
    problem = toys.quadratic_network(2, 2, 0, num_examples=64, nbeta=1e3, localization=0.01)
    got = toys.hmc_llc(
        problem.model,
        problem.params,
        problem.data,
        nbeta=1e3,
        localization=0.01,
        num_draws=300,
        num_warmup=100,
    )
    assert got.llc == pytest.approx(1.0, abs=0.01 + 3.5 * got.llc_se)
    assert got.llc_se < 0.03


def test_points_represent_their_truths():
    tanh = toys.tanh_network(3)
    assert float(jnp.abs(tanh.model(tanh.params, tanh.data)).max()) == 0
    squares = toys.quadratic_network(3, 3, 2)
    assert float(squares.model(squares.params, squares.data).max()) < 1e-9
    point = toys.reduced_rank_point(5, 3, 4, first_rank=1, second_rank=2)
    first, second = point.params["layer1"]["kernel"], point.params["layer2"]["kernel"]
    assert [int(np.linalg.matrix_rank(k)) for k in (first, second, first @ second)] == [1, 2, 0]
    mixture = toys.gaussian_mixture()
    losses = mixture.model(mixture.params, mixture.data)
    np.testing.assert_allclose(losses, 0.5 * mixture.data**2 + 0.5 * np.log(2 * np.pi), rtol=1e-5)


def test_the_local_value_depends_on_the_point_of_the_fibre():
    balanced = toys.reduced_rank_point(2, 2, 2, first_rank=0, second_rank=0, localization=1.0)
    lopsided = toys.reduced_rank_point(2, 2, 2, first_rank=2, second_rank=0)
    left = toys.reduced_rank_point(2, 2, 2, first_rank=2, second_rank=0, localization=1.0)
    assert balanced.llc_finite == pytest.approx(1.5, abs=0.02)
    assert lopsided.llc_finite == pytest.approx(2.0, abs=0.02)
    assert left.llc_finite == pytest.approx(1.5, abs=0.05)


def test_bad_input_is_refused_by_name():
    with pytest.raises(InputError, match="rank=3"):
        toys.quadratic_network(3, 2, 3)
    with pytest.raises(InputError, match="sides=9"):
        toys.polygon(9)
    with pytest.raises(InputError, match="num_examples=1"):
        toys.tanh_network(1, num_examples=1)
    with pytest.raises(InputError, match="nbeta=0"):
        toys.hmc_llc(lambda w, batch: w * batch, jnp.zeros(()), jnp.zeros(1), nbeta=0, localization=1)
