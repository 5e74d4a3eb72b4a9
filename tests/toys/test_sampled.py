"""Hamiltonian references on drawn data, against importance sampling in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_t, norm

from lltc import toys
from lltc.errors import InputError
from lltc.toys.shallow import square_moment_loss, square_moments

pytestmark = pytest.mark.reference


def rows_of(problem):
    """Return the distinct examples of the data, float64, and the share of each."""
    leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(problem.data)]
    stacked = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
    examples, counts = np.unique(stacked, axis=0, return_counts=True)
    return examples, counts / len(stacked)


@pytest.mark.parametrize(("hidden", "localization"), [(None, 1.0), (2, 50.0)])
def test_softmax_regression_matches_importance_sampling(hidden, localization):
    problem = toys.softmax_regression(
        num_examples=2000, hidden=hidden, localization=localization, num_draws=300
    )
    examples, share = rows_of(problem)
    x, y = examples[:, :4], examples[:, 4].astype(int)
    assert examples.shape == (48, 5)
    names = ("bias", "kernel") if hidden is None else ("first", "second")
    parts = [np.asarray(problem.params[name], float) for name in names]
    center = np.concatenate([part.ravel() for part in parts])

    def loss(points):
        first, second = np.split(points, [parts[0].size], axis=1)
        first, second = first.reshape(-1, *parts[0].shape), second.reshape(-1, *parts[1].shape)
        logits = x @ second + first[:, None] if hidden is None else x @ first @ second
        return (logsumexp(logits, axis=2) - logits[:, range(48), y]) @ share

    value, error = importance_llc(problem, loss, center)
    assert error < 0.015 * value
    assert problem.llc_finite == pytest.approx(value, abs=3.5 * np.hypot(error, problem.llc_finite_se))
    assert problem.llc_finite_se < 0.015 * value


def importance_llc(problem, loss, center, *, rounds=4, size=8_000):
    """Population Monte Carlo: a Student t fitted again and again to its own weighted sample."""
    rng, mean, bottom = np.random.default_rng(0), center, loss(center[None])[0]
    curvature, basis = np.linalg.eigh(_hessian(loss, center))
    precision = problem.nbeta * np.maximum(curvature, 0) + problem.localization
    covariance = (basis / precision) @ basis.T
    weight, energy = np.ones(1), np.zeros(1)
    for _ in range(rounds):
        proposal = multivariate_t(mean, covariance, df=5, seed=rng)
        points = np.asarray(proposal.rvs(size))
        energy = problem.nbeta * (loss(points) - bottom)
        action = energy + problem.localization / 2 * np.sum((points - center) ** 2, 1)
        log_weight = -action - proposal.logpdf(points)
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        mean = weight @ points
        covariance = (points - mean).T @ ((points - mean) * weight[:, None])
    value = weight @ energy
    return value, np.sqrt(np.sum((weight * (energy - value)) ** 2))


def _hessian(loss, center, step=1e-3):
    eye = step * np.eye(len(center))
    corner = lambda s, r: loss((center + s * eye[:, None] + r * eye[None]).reshape(-1, len(center)))
    total = corner(1, 1) - corner(1, -1) - corner(-1, 1) + corner(-1, -1)
    return total.reshape(len(center), -1) / (4 * step**2)


def test_the_sampled_mixture_matches_importance_sampling():
    problem = toys.gaussian_mixture(num_examples=10_000, sampled=True, num_draws=300)
    x, edges = np.asarray(problem.data, float), np.linspace(-5, 5, 401)
    counts, sums = np.histogram(x, edges)[0], np.histogram(x, edges, weights=x)[0]
    counts, x = counts[counts > 0], sums[counts > 0] / counts[counts > 0]
    rng = np.random.default_rng(0)
    size, scales = 100_000, np.array([0.1, 0.3, 1.0])
    v, gap = rng.standard_normal(size), rng.choice(scales, size) * rng.standard_normal(size)
    middle = np.mean(np.repeat(x, counts)) + 0.05 * rng.standard_t(5, size)
    a = expit(v)
    b1, b2 = middle + (1 - a) * gap, middle - a * gap  # of unit Jacobian: middle = a b₁ + (1-a) b₂
    ratio = sum(
        count * np.log(a * np.exp(b1 * z - b1**2 / 2) + (1 - a) * np.exp(b2 * z - b2**2 / 2))
        for z, count in zip(x, counts, strict=True)
    )
    energy = -problem.nbeta * ratio / 10_000
    chance = np.mean([norm.pdf(gap, scale=s) for s in scales], axis=0)
    t = (middle - np.mean(np.repeat(x, counts))) / 0.05
    log_proposal = np.log(chance) - 3 * np.log1p(t**2 / 5)
    log_weight = -energy - (b1**2 + b2**2) / 2 - log_proposal
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    value = weight @ energy
    error = np.sqrt(np.sum((weight * (energy - value)) ** 2))
    assert error < 0.01
    assert problem.llc_finite == pytest.approx(value, abs=3.5 * np.hypot(error, problem.llc_finite_se))


def test_dead_features_of_a_polygon_cost_nothing():
    """The mean over 6 features is 5/6 of that over 5, plus what no nearby parameter changes."""
    whole, alone = toys.superposition(5, dead=1, localization=100.0, num_draws=150), toys.superposition(5)
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(alone.params)
        curvature = jax.hessian(lambda w: jnp.mean(alone.model(unravel(w), alone.data)))(flat)
        h = np.maximum(np.linalg.eigvalsh(curvature), 0) * 5 / 6
    # Anharmonic terms are of the order of 1/(nbeta·curvature).
    assert whole.llc_finite == pytest.approx(toys.quadratic_llc(h, nbeta=1e4, localization=100.0), rel=0.02)
    assert whole.llc_finite_se < 0.06
    assert float(whole.model(whole.params, whole.data).mean()) == pytest.approx(0.06874, abs=5e-6)
    assert (whole.llc, whole.num_params) == (7.0, 18)
    for key in range(5):
        noise = 0.03 * jax.random.normal(jax.random.key(key), (3,))
        W, b = whole.params["W"].at[:, 5].add(noise[:2]), whole.params["b"].at[5].add(noise[2])
        moved = whole.model({"W": W, "b": b}, whole.data)
        np.testing.assert_allclose(moved, whole.model(whole.params, whole.data), atol=1e-7)


def test_the_moments_of_a_quadratic_network_give_its_loss():
    problem = toys.quadratic_network(3, 2, 1, num_examples=500, noise=1.0)
    sums = square_moments(np.asarray(problem.data["x"]), np.asarray(problem.data["y"]))
    offset = 0.5 * float(jnp.mean(problem.data["y"] ** 2))
    for key in range(5):
        params = {"w": jax.random.normal(jax.random.key(key), (2, 3))}
        whole = float(jnp.mean(problem.model(params, problem.data)))
        assert float(square_moment_loss(params, sums)[0]) + offset == pytest.approx(whole, rel=1e-4)


def test_a_quadratic_network_of_two_weights_matches_quadrature():
    problem = toys.quadratic_network(1, 2, 1, num_examples=400, noise=1.0, at="minimum")
    x, y = np.asarray(problem.data["x"], float)[:, 0], np.asarray(problem.data["y"], float)
    center = np.asarray(problem.params["w"], float)[:, 0]
    fourth, cross = np.mean(x**4), np.mean(x**2 * y)
    loss = lambda w: fourth * np.sum(w**2, -1) ** 2 / 2 - cross * np.sum(w**2, -1)
    exact = toys.quadrature_llc(
        lambda w: loss(w) - loss(center), nbeta=problem.nbeta, localization=1.0, center=center
    )
    assert problem.llc_finite == pytest.approx(exact, abs=3.5 * problem.llc_finite_se)
    assert problem.llc_finite_se < 0.01


def test_bad_input_is_refused_by_name():
    with pytest.raises(InputError, match="num_examples=1"):
        toys.gaussian_mixture(num_examples=1)
