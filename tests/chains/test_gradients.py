"""Gradient estimates: unbiased, noiseless at the anchor, exact over all the data."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.curvature import Prober, largest_curvature, random_directions
from lltc.chains.gradients import anchored_slope, full_slope, losses_and_gradient, measure_anchor
from lltc.chains.rotation import Frame
from lltc.posterior.target import local_posterior
from tests.problems import regression


def all_batches(size: int):
    """Every batch of two examples drawn with replacement from `size`."""
    return [(i, j) for i in range(size) for j in range(size)]


def setting():
    model, weights, data = regression(0, 6, 2)
    minibatch = local_posterior(model, weights + 0.1, data, nbeta=1.0, batch_size=2)
    positions = jnp.array([[0.3, -0.2], [0.0, 0.0], [1.0, 2.0]])
    return model, weights + 0.1, data, minibatch, positions


def exact(model, center, data, positions):
    mean = lambda position: model(center + position, data).mean()
    return jax.vmap(jax.grad(mean))(positions), jax.vmap(mean)(positions)


def of_every_batch(estimate, posterior, positions, data):
    """Return what `estimate` gives for every batch of two examples."""
    batches = [
        jax.tree.map(lambda a, rows=rows: jnp.asarray(a)[jnp.array(rows)], data) for rows in all_batches(6)
    ]
    return [estimate(posterior.target, posterior.center, positions, batch) for batch in batches]


def anchored_estimates(posterior, positions, data):
    slopes = of_every_batch(anchored_slope, posterior, positions, data)
    known = measure_anchor(posterior).gradient
    gradients = [slope.gradient - (jnp.asarray(slope.base) - known) for slope in slopes]
    return jnp.stack(gradients), jnp.stack([slope.energy for slope in slopes])


def test_anchored_estimates_are_unbiased_over_every_possible_batch():
    model, center, data, posterior, positions = setting()
    gradients, energies = anchored_estimates(posterior, positions, data)
    gradient, loss = exact(model, center, data, positions)
    base = model(center, data).mean()
    np.testing.assert_allclose(gradients.mean(0), gradient, atol=2e-5)
    np.testing.assert_allclose(energies.mean((0, -1)), loss - base, atol=2e-5)


def test_plain_estimates_are_unbiased_and_noisier_near_the_anchor():
    model, center, data, posterior, positions = setting()
    plain = jnp.stack([g for _, g in of_every_batch(losses_and_gradient, posterior, positions, data)])
    gradients, _ = anchored_estimates(posterior, positions, data)
    np.testing.assert_allclose(plain.mean(0), exact(model, center, data, positions)[0], atol=2e-5)
    assert float(gradients[:, 1].var(0).sum()) < 1e-10 < float(plain[:, 1].var(0).sum())


def test_full_batch_is_exact():
    model, weights, data = regression(1, 8, 3)
    posterior = local_posterior(model, weights, data, nbeta=1.0)
    positions = jnp.arange(6.0).reshape(2, 3) / 5
    slope = full_slope(
        posterior.target, posterior.center, measure_anchor(posterior), positions, posterior.data.arrays
    )
    gradient, loss = exact(model, weights, data, positions)
    np.testing.assert_allclose(slope.gradient, gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope.energy[:, 0], loss - model(weights, data).mean(), rtol=1e-4)


def test_anchor_is_the_same_in_blocks_of_any_size():
    model, weights, data = regression(2, 103, 3)
    posterior = local_posterior(model, weights + 0.5, data, nbeta=1.0, batch_size=10)
    small, large = (
        measure_anchor(replace(posterior, target=replace(posterior.target, micro_batch=size)))
        for size in (7, 1000)
    )
    np.testing.assert_allclose(small.gradient, large.gradient, rtol=1e-5)
    np.testing.assert_allclose(small.loss, large.loss, rtol=1e-6)
    np.testing.assert_allclose(small.loss, model(weights + 0.5, data).mean(), rtol=1e-6)


def test_anchor_from_part_of_the_data_knows_its_own_doubt():
    model, weights, data = regression(2, 4000, 3)
    posterior = local_posterior(model, weights + 0.5, data, nbeta=1.0, batch_size=10)
    whole = measure_anchor(posterior).gradient
    parts = [measure_anchor(posterior, examples=400, seed=seed) for seed in range(200)]
    errors = np.stack([part.gradient - whole for part in parts])
    doubts = np.stack([np.asarray(part.doubt) for part in parts])
    np.testing.assert_array_less(np.abs(errors.mean(0)), 4 * errors.std(0) / np.sqrt(200))
    ratio = np.sum(errors**2, 0) / np.sum(doubts**2, 0)
    np.testing.assert_allclose(ratio, 1, atol=4 * np.sqrt(4 / 200))
    assert measure_anchor(posterior, examples=4000).doubt is None


def probed(posterior, positions, batch, vectors, **options):
    prober = Prober(posterior, measure_anchor(posterior), batch)
    return largest_curvature(prober, positions, vectors, **options)


def test_curvature_is_the_hessians_largest_eigenvalue_in_scaled_coordinates():
    model, weights, data = regression(3, 40, 4)
    posterior = local_posterior(model, weights, data, nbeta=1.0)
    vectors = random_directions(jax.random.key(0), (3, 4), jnp.float32)
    positions = jnp.zeros((3, 4))
    hessian = np.asarray(data[0]).T @ np.asarray(data[0]) / 40
    for scale in (np.ones(4), np.array([1.0, 2.0, 0.5, 3.0])):
        found = probed(posterior, positions, data, vectors, rounds=80, frame=Frame(None, jnp.asarray(scale)))
        scaled = scale[:, None] * hessian * scale
        np.testing.assert_allclose(found.curvature, np.linalg.eigvalsh(scaled)[-1], rtol=1e-3)


def test_a_probe_sees_the_loss_of_its_batch_anchored_at_the_checkpoint():
    model, center, data, posterior, positions = setting()
    anchor, batch = measure_anchor(posterior), jax.tree.map(lambda a: jnp.asarray(a)[jnp.array([1, 4])], data)
    vectors = jnp.ones((3, 2))
    found = Prober(posterior, anchor, batch)(positions, vectors)

    def anchored(position):
        base = jax.grad(lambda v: model(v, batch).mean())(center)
        rise = model(center + position, batch).mean() - model(center, batch).mean()
        return rise + position @ (anchor.gradient - base)

    np.testing.assert_allclose(found.rise, jax.vmap(anchored)(positions), atol=1e-5)
    np.testing.assert_allclose(found.gradient, jax.vmap(jax.grad(anchored))(positions), atol=1e-5)
    bend = jax.vmap(lambda w, v: v @ jax.hessian(anchored)(w) @ v)(positions, vectors)
    np.testing.assert_allclose(found.bend, bend, rtol=1e-4)
    pull = jnp.sum(positions * found.gradient, -1)
    np.testing.assert_allclose(found.pull, pull, atol=1e-5)
    scaled = Prober(posterior, anchor, batch)(positions, vectors, Frame(None, jnp.array([2.0, 0.5])))
    square = jnp.array([4.0, 0.25])
    np.testing.assert_allclose(scaled.pull, jnp.sum(square * positions * found.gradient, -1), atol=1e-5)


def test_gradient_noise_is_the_variance_of_the_anchored_gradient():
    _, _, data, posterior, positions = setting()
    gradients, _ = anchored_estimates(posterior, positions, data)
    noises = [
        Prober(
            posterior,
            measure_anchor(posterior),
            jax.tree.map(lambda a, rows=rows: jnp.asarray(a)[jnp.array(rows)], data),
        )(positions, jnp.ones((3, 2))).noise
        for rows in all_batches(6)
    ]
    np.testing.assert_allclose(jnp.stack(noises).mean(0), gradients.var(0).sum(-1), rtol=1e-3, atol=1e-9)
