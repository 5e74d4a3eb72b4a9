"""Kernels against the exact stationary values of a quadratic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lltc.kernels import euler, leimkuhler_matthews

CURVATURES = jnp.array([1.0, 4.0, 10.0])
CHAINS, WARMUP, DRAWS = 512, 400, 2000


def stationary_variance(kernel, step_size: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the variance of each mode over draws, and its standard error from the spread over chains."""

    def potential(position):
        return CURVATURES * position, ()

    def advance(state, key):
        state, info = kernel.step(key, state, potential, jnp.float32(step_size))
        return state, info.position**2

    @jax.jit
    def run(key):
        state = kernel.init(key, jnp.zeros((CHAINS, 3)))
        state, _ = jax.lax.scan(advance, state, jax.random.split(key, WARMUP))
        _, squares = jax.lax.scan(advance, state, jax.random.split(jax.random.fold_in(key, 1), DRAWS))
        return squares.mean(0)

    per_chain = np.asarray(run(jax.random.key(3)))
    return per_chain.mean(0), per_chain.std(0) / np.sqrt(CHAINS)


@pytest.mark.parametrize("step_size", [0.05, 0.2, 0.3])
def test_euler_heats_every_mode_by_the_known_factor(step_size):
    variance, error = stationary_variance(euler(), step_size)
    q = np.asarray(CURVATURES)
    np.testing.assert_array_less(np.abs(variance - 1 / (q * (1 - step_size * q / 4))), 4 * error)


@pytest.mark.parametrize("step_size", [0.05, 0.2, 0.3])
def test_leimkuhler_matthews_has_no_step_size_bias_on_a_quadratic(step_size):
    variance, error = stationary_variance(leimkuhler_matthews(), step_size)
    np.testing.assert_array_less(np.abs(variance - 1 / np.asarray(CURVATURES)), 4 * error)


def test_the_two_kernels_differ_by_more_than_their_errors():
    heated, first_error = stationary_variance(euler(), 0.3)
    exact, second_error = stationary_variance(leimkuhler_matthews(), 0.3)
    assert heated[2] - exact[2] > 20 * np.hypot(first_error[2], second_error[2])


@pytest.mark.parametrize("factory", [euler, leimkuhler_matthews])
def test_equal_factories_give_the_same_kernel(factory):
    assert factory() is factory()
