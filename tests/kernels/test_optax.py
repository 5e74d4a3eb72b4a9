"""MALA, schedules and frozen scales against the formulas they stand for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lltc.chains.gradients import measure_anchor
from lltc.chains.loop import Run, sample, start
from lltc.chains.steps import Settings
from lltc.errors import InputError
from lltc.kernels import Tuning, baoab, euler, ghmc, mala, scale_from_optax, scheduled
from lltc.kernels.noise import normal
from lltc.posterior.target import local_posterior

CURVATURES = jnp.array([0.1, 1.0, 50.0])
STARTS = jax.random.normal(jax.random.key(0), (200, 3)) / jnp.sqrt(CURVATURES)


def potential(position):
    return 0.5 * position**2 @ CURVATURES, CURVATURES * position, ()


def tuning(step_size, memory=0.0, scale: Any = 1.0):
    return Tuning(*(jnp.asarray(value, jnp.float32) for value in (step_size, memory, scale)))


def test_mala_accepts_by_the_ratio_of_densities_and_proposals():
    key, step_size = jax.random.key(3), 0.03
    noise_key, accept_key = jax.random.split(key)
    old = np.asarray(STARTS, np.float64)
    noise = np.asarray(normal(noise_key, STARTS.shape), np.float64)
    curvatures = np.asarray(CURVATURES, np.float64)
    new = old - 0.5 * step_size * curvatures * old + np.sqrt(step_size) * noise

    def log_density(after, before):
        ahead = before - 0.5 * step_size * curvatures * before
        return -0.5 * before**2 @ curvatures - np.sum((after - ahead) ** 2, -1) / (2 * step_size)

    log_ratio = log_density(old, new) - log_density(new, old)
    log_uniform = np.log(np.asarray(jax.random.uniform(accept_key, (len(old),))))
    expected = log_uniform < log_ratio

    # Memory is ignored.
    state = mala().init(key, STARTS, potential)
    state, info = mala().step(key, state, potential, tuning(step_size, memory=0.9))
    np.testing.assert_array_equal(info.accepted, expected)
    np.testing.assert_allclose(state.position, np.where(expected[:, None], new, old), rtol=1e-5, atol=1e-6)
    assert 0.3 < expected.mean() < 0.97


def walk(kernel, tuned, steps=6):
    """Return the positions after each step, run as compiled as in sampling."""
    state = kernel.init(jax.random.key(1), STARTS, potential)
    step = lambda state, key: (lambda s, i: (s, (s.position, i.accepted)))(
        *kernel.step(key, state, potential, tuned)
    )
    return jax.lax.scan(step, state, jax.random.split(jax.random.key(2), steps))[1]


@pytest.mark.parametrize("factory", [baoab, euler, ghmc, mala])
def test_a_constant_schedule_changes_no_bit(factory):
    plain = walk(factory(), tuning(0.03, 0.5))
    wrapped = walk(scheduled(factory(), optax.constant_schedule(1.0)), tuning(0.03, 0.5))
    for one, other in zip(plain, wrapped, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_schedule_multiplies_the_step_size_by_step():
    schedule = optax.piecewise_constant_schedule(1.0, {2: 0.25})
    kernel = scheduled(euler(), schedule)
    state, plain = (k.init(jax.random.key(1), STARTS, potential) for k in (kernel, euler()))
    for number, factor in enumerate((1.0, 1.0, 0.25, 0.25)):
        key = jax.random.key(number)
        state, _ = kernel.step(key, state, potential, tuning(0.04))
        plain, _ = euler().step(key, plain, potential, tuning(0.04 * factor))
        np.testing.assert_array_equal(state.position, plain.position)
    assert int(state.steps) == 4


def test_a_scheduled_kernel_runs_under_the_sampler_with_the_same_numbers():
    loss = lambda w, x: 0.5 * jnp.sum(w**2) + x * w[0]
    posterior = local_posterior(loss, jnp.zeros(3), jnp.linspace(-1, 1, 64), nbeta=10.0, localization=1.0)
    tuned = Settings(jnp.full(4, 10.0), jnp.float32(1.0), tuning(0.05, 0.5))
    energies = []
    for kernel in (baoab(), scheduled(baoab(), optax.constant_schedule(1.0))):
        run = Run(posterior, measure_anchor(posterior), kernel, jax.random.key(0))
        state = start(run, jnp.zeros((4, 3)), tuned)
        energies.append(sample(run, state, tuned, first=1, count=300).draws.energy)
    np.testing.assert_array_equal(*energies)
    assert energies[0].std() > 0


ROWS = np.asarray(jax.random.normal(jax.random.key(8), (40, 3))) * [0.1, 1.0, 20.0]


def test_the_scale_is_that_of_the_recursion_for_the_second_moment():
    moment = np.zeros(3)
    for row in ROWS:
        moment = 0.9 * moment + 0.1 * row**2
    expected = (np.sqrt(moment) + 0.05 * np.sqrt(moment).mean()) ** -0.5
    expected /= np.exp(np.log(expected).mean())
    found = scale_from_optax(optax.scale_by_rms(decay=0.9), ROWS, epsilon=0.05)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_adam_alone_or_in_a_chain_gives_the_scale_of_rms():
    rms = scale_from_optax(optax.scale_by_rms(decay=0.9), ROWS)
    adam = optax.scale_by_adam(b1=0.5, b2=0.9)
    chained = optax.chain(adam, optax.scale_by_learning_rate(0.1))
    for transformation in (adam, chained):
        np.testing.assert_allclose(scale_from_optax(transformation, ROWS), rms, rtol=1e-5)


@settings(max_examples=15)
@given(st.floats(1e-3, 1e3))
def test_the_unit_of_the_loss_leaves_the_scale_alone(unit):
    transformation = optax.scale_by_rms()
    scale = scale_from_optax(transformation, ROWS)
    np.testing.assert_allclose(scale_from_optax(transformation, unit * ROWS), scale, rtol=1e-4)
    assert float(jnp.prod(scale)) == pytest.approx(1.0, rel=1e-5)


def test_the_scale_of_posterior_draws_takes_the_root_of_the_condition_number():
    draws = jax.random.normal(jax.random.key(4), (20_000, 3)) / jnp.sqrt(CURVATURES)
    scale = scale_from_optax(optax.scale_by_rms(decay=0.999), CURVATURES * draws, epsilon=1e-6)
    felt = np.asarray(scale**2 * CURVATURES)
    assert felt.max() / felt.min() == pytest.approx(np.sqrt(500.0), rel=0.1)


def test_a_frozen_scale_leaves_the_density_of_baoab_as_it_was():
    scale = scale_from_optax(optax.scale_by_rms(), CURVATURES * STARTS, epsilon=0.01)
    assert scale[0] / scale[2] > 3
    tuned = tuning(0.1, 0.8, scale)

    def advance(state, key):
        state, info = baoab().step(key, state, potential, tuned)
        return state, info.position**2

    state = baoab().init(jax.random.key(1), STARTS, potential)
    _, squares = jax.jit(lambda s: jax.lax.scan(advance, s, jax.random.split(jax.random.key(2), 4000)))(state)
    per_chain = np.asarray(squares[200:].mean(0)) * np.asarray(CURVATURES)
    error = per_chain.std(0, ddof=1) / np.sqrt(len(per_chain))
    np.testing.assert_array_less(np.abs(per_chain.mean(0) - 1), 4 * error)
    np.testing.assert_array_less(error, 0.02)


@pytest.mark.parametrize(
    ("transformation", "gradients", "epsilon", "named"),
    [
        (optax.scale_by_rms(), np.zeros((5, 2)), 0.01, "gradients"),
        (optax.scale_by_rms(), np.ones(5), 0.01, "gradients"),
        (optax.scale_by_rms(), np.full((5, 2), np.nan), 0.01, "gradients"),
        (optax.scale_by_rms(), np.ones((5, 2)), 0.0, "epsilon"),
        (optax.scale(1.0), np.ones((5, 2)), 0.01, "preconditioner"),
    ],
)
def test_scales_refuse_what_they_cannot_use(transformation, gradients, epsilon, named):
    with pytest.raises(InputError, match=f"^{named}.* must"):
        scale_from_optax(transformation, gradients, epsilon=epsilon)
