"""Gradient estimates: unbiased, noiseless at the anchor, exact over all the data."""

import jax
import jax.numpy as jnp
import numpy as np

from lltc.calibration import gradient_noise, largest_curvature, start_vectors
from lltc.gradients import anchored_slope, full_slope, measure_anchor, plain_slope
from lltc.posterior import local_posterior
from tests.problems import regression


def all_batches(size: int):
    """Every batch of two examples drawn with replacement from `size`."""
    return [(i, j) for i in range(size) for j in range(size)]


def setting():
    model, weights, data = regression(0, 6, 2)
    minibatch = local_posterior(model, weights + 0.1, data, nbeta=1.0, batch_size=2)
    positions = minibatch.center.position + jnp.array([[0.3, -0.2], [0.0, 0.0], [1.0, 2.0]])
    return model, data, minibatch, positions


def exact(model, data, positions):
    mean = lambda w: model(w, data).mean()
    return jax.vmap(jax.grad(mean))(positions), jax.vmap(mean)(positions)


def averaged(slope_of, posterior, anchor, positions, data):
    slopes = [
        slope_of(
            posterior.target,
            posterior.center,
            anchor,
            positions,
            jax.tree.map(lambda a, rows=rows: jnp.asarray(a)[jnp.array(rows)], data),
        )
        for rows in all_batches(6)
    ]
    return jnp.stack([s.gradient for s in slopes]), jnp.stack([s.energy for s in slopes])


def test_anchored_estimates_are_unbiased_over_every_possible_batch():
    model, data, posterior, positions = setting()
    gradients, energies = averaged(anchored_slope, posterior, measure_anchor(posterior), positions, data)
    gradient, loss = exact(model, data, positions)
    base = model(posterior.center.position, data).mean()
    np.testing.assert_allclose(gradients.mean(0), gradient, atol=2e-5)
    np.testing.assert_allclose(energies.mean((0, -1)), loss - base, atol=2e-5)


def test_plain_estimates_are_unbiased_and_noisier_near_the_anchor():
    model, data, posterior, positions = setting()
    anchor = measure_anchor(posterior)
    plain, _ = averaged(plain_slope, posterior, anchor, positions, data)
    anchored, _ = averaged(anchored_slope, posterior, anchor, positions, data)
    np.testing.assert_allclose(plain.mean(0), exact(model, data, positions)[0], atol=2e-5)
    assert float(anchored[:, 1].var(0).sum()) < 1e-10 < float(plain[:, 1].var(0).sum())


def test_full_batch_is_exact():
    model, weights, data = regression(1, 8, 3)
    posterior = local_posterior(model, weights, data, nbeta=1.0)
    positions = posterior.center.position + jnp.arange(6.0).reshape(2, 3) / 5
    slope = full_slope(
        posterior.target, posterior.center, measure_anchor(posterior), positions, posterior.data.arrays
    )
    gradient, loss = exact(model, data, positions)
    np.testing.assert_allclose(slope.gradient, gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope.energy[:, 0], loss - model(weights, data).mean(), rtol=1e-4)


def test_anchor_is_the_same_in_blocks_of_any_size():
    model, weights, data = regression(2, 103, 3)
    posterior = local_posterior(model, weights + 0.5, data, nbeta=1.0, batch_size=10)
    small, large = (measure_anchor(posterior, block=block) for block in (7, 1000))
    np.testing.assert_allclose(small.gradient, large.gradient, rtol=1e-5)
    np.testing.assert_allclose(small.loss, large.loss, rtol=1e-6)
    np.testing.assert_allclose(small.loss, model(weights + 0.5, data).mean(), rtol=1e-6)


def test_curvature_is_the_hessians_largest_eigenvalue():
    model, weights, data = regression(3, 40, 4)
    posterior = local_posterior(model, weights, data, nbeta=1.0)
    vectors = start_vectors(jax.random.key(0), 3, 4)
    positions = jnp.broadcast_to(posterior.center.position, (3, 4))
    found = largest_curvature(posterior.target, posterior.center, positions, data, vectors, rounds=60)
    hessian = np.asarray(data[0]).T @ np.asarray(data[0]) / 40
    np.testing.assert_allclose(found.value, np.linalg.eigvalsh(hessian)[-1], rtol=1e-3)


def test_gradient_noise_is_the_variance_of_the_anchored_gradient():
    _, data, posterior, positions = setting()
    gradients, _ = averaged(anchored_slope, posterior, measure_anchor(posterior), positions, data)
    batches = all_batches(6)
    noises = [
        gradient_noise(
            posterior.target,
            posterior.center,
            positions,
            jax.tree.map(lambda a, rows=rows: jnp.asarray(a)[jnp.array(rows)], data),
        )
        for rows in batches
    ]
    np.testing.assert_allclose(jnp.stack(noises).mean(0), gradients.var(0).sum(-1), rtol=1e-3, atol=1e-9)
