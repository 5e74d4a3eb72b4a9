"""Kernels against the exact stationary values of a quadratic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lltc.kernels import Tuning, baoab, euler, ghmc, leimkuhler_matthews

CURVATURES = jnp.array([1.0, 4.0, 10.0])
CHAINS, WARMUP, DRAWS = 512, 400, 2000


def stationary_variance(kernel, step_size: float, memory: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the variance of each mode over draws, and its standard error from the spread over chains."""

    def potential(position):
        return 0.5 * position**2 @ CURVATURES, CURVATURES * position, ()

    def advance(state, key):
        state, info = kernel.step(
            key, state, potential, Tuning(jnp.float32(step_size), jnp.float32(memory), jnp.float32(1.0))
        )
        return state, info.position**2

    @jax.jit
    def run(key):
        state = kernel.init(key, jnp.zeros((CHAINS, 3)), potential)
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


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("step_size", [0.05, 0.3])
def test_baoab_has_no_step_size_bias_on_a_quadratic_at_any_memory(step_size, memory):
    variance, error = stationary_variance(baoab(), step_size, memory)
    np.testing.assert_array_less(np.abs(variance - 1 / np.asarray(CURVATURES)), 4 * error)


@pytest.mark.parametrize("memory", [0.0, 0.8])
@pytest.mark.parametrize("step_size", [0.05, 0.3])
def test_ghmc_is_exact(step_size, memory):
    variance, error = stationary_variance(ghmc(), step_size, memory)
    np.testing.assert_array_less(np.abs(variance - 1 / np.asarray(CURVATURES)), 4 * error)


def test_baoab_without_memory_is_leimkuhler_matthews():
    key, position = jax.random.key(0), jnp.ones((2, 3))
    tuning = Tuning(jnp.float32(0.1), jnp.float32(0.0), jnp.float32(1.0))
    states = [
        kernel.init(key, position, lambda w: (w[:, 0], w, ())) for kernel in (baoab(), leimkuhler_matthews())
    ]
    for number in range(3):
        step_key = jax.random.key(number)
        potential = lambda w: (0.5 * w**2 @ CURVATURES, CURVATURES * w, ())
        states = [
            kernel.step(step_key, state, potential, tuning)[0]
            for kernel, state in zip((baoab(), leimkuhler_matthews()), states, strict=True)
        ]
    np.testing.assert_allclose(states[0].position, states[1].position, rtol=1e-5)


def test_the_two_kernels_differ_by_more_than_their_errors():
    heated, first_error = stationary_variance(euler(), 0.3)
    exact, second_error = stationary_variance(leimkuhler_matthews(), 0.3)
    assert heated[2] - exact[2] > 20 * np.hypot(first_error[2], second_error[2])


@pytest.mark.parametrize("factory", [baoab, euler, ghmc, leimkuhler_matthews])
def test_equal_factories_give_the_same_kernel(factory):
    assert factory() is factory()
