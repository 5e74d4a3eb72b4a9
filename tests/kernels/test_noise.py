"""What gradient noise and adaptation do to the stationary density of a quadratic, against exact values."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from lltc.kernels import Tuning, baoab, euler, leimkuhler_matthews, rmsprop, sgnht

CHAINS, WARMUP, DRAWS = 512, 500, 3000
SLOW = 0.05
CURVATURES = np.array([SLOW, 1.0, 4.0])


@partial(jax.jit, static_argnames=("kernel", "energy"))
def chain_means(kernel, energy, tuned, curvatures, noise):
    """Return each chain's mean of `energy(w)` `(chain, d)` under U = Σ `energy`, ∇U of variance `noise`."""

    def potential(key, position):
        gradient = jax.grad(lambda w: energy(curvatures, w).sum())(position)
        shake = jnp.sqrt(noise) * jax.random.normal(jax.random.fold_in(key, 1), position.shape)
        return energy(curvatures, position).sum(-1), gradient + shake, ()

    def advance(carry, key):
        state, total = carry
        state, info = kernel.step(key, state, partial(potential, key), tuned)
        return (state, total + energy(curvatures, info.position)), None

    start_key, warm_key, draw_key = jax.random.split(jax.random.key(11), 3)
    start = jax.random.normal(start_key, (CHAINS, 3)) / jnp.sqrt(curvatures)
    state = kernel.init(start_key, start, partial(potential, start_key))
    nothing = jnp.zeros((CHAINS, 3))
    (state, _), _ = jax.lax.scan(advance, (state, nothing), jax.random.split(warm_key, WARMUP))
    (_, total), _ = jax.lax.scan(advance, (state, nothing), jax.random.split(draw_key, DRAWS))
    return total / DRAWS


def half_square(curvatures, position):
    return 0.5 * curvatures * position**2


def fourth_power(curvatures, position):
    return curvatures * position**4


def energies(kernel, step_size, *, memory=0.0, noise=0.0, energy=half_square, curvatures=CURVATURES):
    """Return E[energy] of each mode and its standard error; 1/2 is right for a quadratic, 1/4 for x⁴."""
    tuned = Tuning(*(jnp.float32(value) for value in (step_size, memory, 1.0)))
    noise = jnp.asarray(noise, jnp.float32)
    curvatures = jnp.asarray(curvatures, jnp.float32)
    means = np.asarray(chain_means(kernel, energy, tuned, curvatures, noise))
    return means.mean(0), means.std(0, ddof=1) / np.sqrt(CHAINS)


def baoab_heat(curvature, step_size, memory, noise):
    """Return q Var[w] of BAOAB with noise in ∇U of variance `noise`: its linear recursion solved exactly."""
    time, kept = np.sqrt(step_size), 1 + memory
    move = np.array(
        [[1 - 0.5 * kept * step_size * curvature, 0.5 * kept * time], [-memory * time * curvature, memory]]
    )
    shakes = np.array([[-0.5 * kept * step_size, -memory * time], [0.5 * time, 1.0]])
    strength = np.diag([noise, 1 - memory**2])
    return curvature * solve_discrete_lyapunov(move, shakes.T @ strength @ shakes)[0, 0]


@pytest.mark.parametrize("noise", [2.0, 8.0])
def test_minibatch_noise_heats_memoryless_kernels_by_the_known_factor(noise):
    step_size = 0.3
    heat = step_size * noise / 4
    slowed = 1 - step_size * CURVATURES / 4
    for factory, expected in (
        (euler, (1 + heat) / slowed),
        (leimkuhler_matthews, 1 + heat / slowed),
    ):
        found, error = energies(factory(), step_size, noise=noise)
        np.testing.assert_array_less(np.abs(found - expected / 2), 4 * error)


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_minibatch_noise_heats_baoab_by_the_exact_factor(memory, noise):
    step_size = 0.1
    expected = [baoab_heat(q, step_size, memory, noise) for q in CURVATURES]
    found, error = energies(baoab(), step_size, memory=memory, noise=noise)
    np.testing.assert_array_less(np.abs(found - np.array(expected) / 2), 4 * error)


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.8, 0.95])
def test_slow_modes_of_baoab_heat_as_far_as_they_reach(memory):
    step_size, noise = 0.1, 4.0
    reach = step_size * (1 + memory) / (1 - memory)
    assert baoab_heat(1e-4, step_size, memory, noise) == pytest.approx(1 + reach * noise / 4, rel=1e-3)


NOISE = np.array([0.0, 4.0, 10.0])


def test_the_thermostat_absorbs_noise_it_was_not_told_of():
    settings: dict[str, Any] = {"memory": 0.8, "noise": NOISE, "curvatures": np.ones(3)}
    heated, _ = energies(baoab(), 0.04, **settings)
    cooled, error = energies(sgnht(), 0.04, **settings)
    np.testing.assert_allclose(heated, [0.5, 0.68, 0.95], rtol=0.03)
    np.testing.assert_array_less(np.abs(cooled - 0.5), 4 * error)
    np.testing.assert_array_less(error, 0.005)


@pytest.mark.parametrize("memory", [0.5, 0.9])
def test_the_thermostat_leaves_a_quadratic_invariant_without_noise(memory):
    """To within its order: the stiff mode is half a percent off at qε = .4, and not to be told at .1."""
    found, error = energies(sgnht(), 0.1, memory=memory)
    np.testing.assert_array_less(np.abs(found - 0.5), 0.005 + 4 * error)
    found, error = energies(sgnht(), 0.025, memory=memory)
    np.testing.assert_array_less(np.abs(found - 0.5), 4 * error)


def test_the_thermostat_learns_the_friction_that_the_noise_needs():
    kernel, step_size, memory = sgnht(), 0.04, 0.8
    tuned = Tuning(*(jnp.float32(value) for value in (step_size, memory, 1.0)))

    def advance(state, key):
        shake = jnp.sqrt(NOISE) * jax.random.normal(jax.random.fold_in(key, 1), (CHAINS, 3))
        state, _ = kernel.step(key, state, lambda w: (0.5 * jnp.sum(w**2, -1), w + shake, ()), tuned)
        return state, state.learned.mean(0)

    state = kernel.init(jax.random.key(0), jnp.zeros((CHAINS, 3)), lambda w: (w.sum(-1), w, ()))
    _, learned = jax.lax.scan(advance, state, jax.random.split(jax.random.key(1), 2000))
    # A step's noise ε Var[∇U] is carried away by a friction of half as much, to first order.
    np.testing.assert_allclose(learned[1000:].mean(0), 0.5 * step_size * NOISE, atol=0.02)


def test_the_bias_of_rmsprop_grows_as_the_step_size_falls():
    sizes = (0.3, 0.1, 0.03, 0.01)
    settings: dict[str, Any] = {"curvatures": np.ones(3)}
    rows = [energies(rmsprop(decay=0.9), step_size, **settings) for step_size in sizes]
    found = np.array([row[0].mean() for row in rows])
    error = np.array([row[1].mean() / np.sqrt(3) for row in rows])
    np.testing.assert_array_less(4 * np.hypot(error[1:], error[:-1]), np.diff(found))
    assert found[0] > 0.6
    assert 0.88 < found[-1] < 1.0
    plain, plain_error = energies(euler(), sizes[-1], **settings)
    np.testing.assert_array_less(np.abs(plain - 0.5 / (1 - sizes[-1] / 4)), 4 * plain_error)


def test_rmsprop_cannot_tell_a_singular_minimum_from_a_regular_one():
    settings: dict[str, Any] = {"energy": fourth_power, "curvatures": np.ones(3)}
    found, error = energies(rmsprop(decay=0.9), 0.003, **settings)
    # As ε → 0 each mode's energy goes to 1, four times the 1/4 of x⁴.
    np.testing.assert_array_less(0.8, found)
    np.testing.assert_array_less(found, 1 + 4 * error)
