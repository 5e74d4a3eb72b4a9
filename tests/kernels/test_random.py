"""The kernels' normal numbers: against the published cipher, and against the normal distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from lltc.kernels.noise import normal, threefry

CHAINS, COORDINATES, STEPS = 8, 1000, 500
NUMBER = CHAINS * COORDINATES * STEPS


@pytest.fixture(scope="module")
def noise():
    """Return what 500 steps of 8 chains draw `(step, chain, coordinate)`, keyed as the sampler keys them."""
    key = jax.random.key(3)
    draw = jax.jit(jax.vmap(lambda number: normal(jax.random.fold_in(key, number), (CHAINS, COORDINATES))))
    return np.asarray(draw(jnp.arange(STEPS)), np.float64)


def test_twenty_rounds_are_the_published_cipher():
    """Known-answer vectors that the cipher's authors ship with Random123, and JAX's own generator."""
    ones = jnp.uint32(0xFFFFFFFF)
    digits = [jnp.uint32(word) for word in (0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3)]
    answers = [threefry(ones, ones, ones, ones, rounds=20), threefry(*digits, rounds=20)]
    assert [[int(word) for word in pair] for pair in answers] == [
        [0x1CB996FC, 0xBB002BE7],
        [0xC4923A9C, 0x483DF7A0],
    ]
    key = jax.random.key(11)
    words = jax.random.key_data(key)
    counter = jnp.arange(64, dtype=jnp.uint32)
    low, high = threefry(words[0], words[1], jnp.zeros_like(counter), counter, rounds=20)
    assert np.array_equal(low ^ high, jax.random.bits(key, (64,), jnp.uint32))


def test_the_moments_are_a_normal_distributions(noise):
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert np.mean(noise**power) == pytest.approx(moment, abs=4 * np.sqrt(variance / NUMBER))
    assert kstest(noise.ravel()[::7], "norm").pvalue > 1e-3
    assert 4.8 < np.abs(noise).max() < 5.5


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("lag", [1, 2, 4])
def test_neighbours_in_any_direction_are_uncorrelated(noise, axis, lag):
    left = np.take(noise, range(noise.shape[axis] - lag), axis)
    right = np.take(noise, range(lag, noise.shape[axis]), axis)
    for power in (1, 2):
        correlation = np.corrcoef(left.ravel() ** power, right.ravel() ** power)[0, 1]
        assert abs(correlation) < 4 / np.sqrt(left.size)


def test_no_direction_of_the_parameters_is_special(noise):
    """Eigenvalues of the covariance of m normal vectors fill Marchenko and Pastur's interval."""
    samples = noise.reshape(-1, COORDINATES)
    values = np.linalg.eigvalsh(samples.T @ samples / len(samples))
    ratio = np.sqrt(COORDINATES / len(samples))
    assert (1 - ratio) ** 2 - 0.03 < values[0]
    assert values[-1] < (1 + ratio) ** 2 + 0.03
