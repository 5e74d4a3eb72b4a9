"""One protocol for every kernel, and invariance of exactly solvable densities to each kernel's order."""

from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lltc.kernels import Tuning, baoab, euler, ghmc, leimkuhler_matthews, mala, rmsprop, sgnht
from lltc.toys import crossing_llc, quadrature_llc

EVERY = [baoab, euler, ghmc, leimkuhler_matthews, mala, rmsprop, sgnht]
CURVATURES = jnp.array([1.0, 4.0])
NBETA, GAMMA = 2.0, 1.0


def quadratic(position):
    energy = 0.5 * position**2 @ CURVATURES
    return energy, CURVATURES * position, {"energy": energy}


def tuning(step_size, memory=0.6, scale: Any = 1.0):
    return Tuning(*(jnp.asarray(value, jnp.float32) for value in (step_size, memory, scale)))


def walk(kernel, position, *, steps=5, seed=0, potential=quadratic, tuned=None):
    """Return the state after `steps` and the last draw's info."""
    state, info = kernel.init(jax.random.key(seed), position, potential), cast(Any, None)
    for number in range(steps):
        state, info = kernel.step(
            jax.random.key(1000 * seed + number), state, potential, tuned or tuning(0.1)
        )
    return state, info


STARTS = jax.random.normal(jax.random.key(7), (3, 2))


@pytest.mark.parametrize("factory", EVERY)
def test_info_describes_one_draw(factory):
    state, info = walk(factory(), STARTS)
    assert state.position.shape == info.position.shape == (3, 2)
    assert state.position.dtype == STARTS.dtype
    assert (info.accepted.shape, info.accepted.dtype) == ((3,), bool)
    np.testing.assert_allclose(info.aux["energy"], quadratic(info.position)[0], rtol=1e-6)
    assert np.all(np.asarray(state.position) != np.asarray(STARTS))


@pytest.mark.parametrize("factory", EVERY)
def test_states_keep_their_structure(factory):
    kernel = factory()
    state = kernel.init(jax.random.key(0), STARTS, quadratic)
    after = jax.eval_shape(lambda s: kernel.step(jax.random.key(0), s, quadratic, tuning(0.1))[0], state)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), state) == jax.tree.map(
        lambda a: (a.shape, a.dtype), after
    )


@pytest.mark.parametrize("factory", EVERY)
def test_the_key_alone_decides_the_numbers(factory):
    first, second, other = (walk(factory(), STARTS, seed=seed)[0].position for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert np.all(np.asarray(first) != np.asarray(other))


@pytest.mark.parametrize("factory", EVERY)
def test_a_lost_chain_leaves_the_others_alone(factory):
    whole = np.asarray(walk(factory(), STARTS)[0].position)
    broken = np.asarray(walk(factory(), STARTS.at[1].set(jnp.nan))[0].position)
    np.testing.assert_array_equal(broken[[0, 2]], whole[[0, 2]])
    assert np.isnan(broken[1]).all()


@pytest.mark.parametrize("factory", EVERY)
def test_equal_factories_give_the_same_hashable_kernel(factory):
    assert factory() is factory()
    assert hash(factory()) == hash(factory())


@pytest.mark.parametrize("factory", [baoab, euler, ghmc, leimkuhler_matthews, mala, sgnht])
def test_a_scale_is_a_change_of_variables(factory):
    scale = jnp.array([0.5, 4.0])
    curvatures = jnp.array([1.0, 0.1])

    def potential(position):
        return 0.5 * position**2 @ curvatures, curvatures * position, ()

    def stretched(position):
        return potential(scale * position)[0], scale * potential(scale * position)[1], ()

    scaled = walk(factory(), STARTS, potential=potential, tuned=tuning(0.1, scale=scale))[0].position
    plain = walk(factory(), STARTS / scale, potential=stretched)[0].position
    np.testing.assert_allclose(scaled, scale * plain, rtol=1e-4)


def losses(position):
    """Return x⁴ and the normal crossing y²z² at `position` `(3,)`."""
    return jnp.stack([position[0] ** 4, (position[1] * position[2]) ** 2])


def softened(position):
    """Return x⁴/(1 + x²) at `position` `(1,)`: quartic at 0, of bounded curvature."""
    return position**4 / (1 + position**2)


@partial(jax.jit, static_argnames=("kernel", "loss", "nbeta", "gamma", "dimension", "chains", "draws"))
def mean_energies(kernel, loss, tuned, *, nbeta, gamma, dimension, chains, draws):
    """Return nβ E[loss] of each chain, of the shape of `loss`."""

    def energy(position):
        return nbeta * loss(position).sum() + 0.5 * gamma * jnp.sum(position**2)

    def potential(position):
        value, gradient = jax.vmap(jax.value_and_grad(energy))(position)
        return value, gradient, ()

    def advance(carry, key):
        state, total = carry
        state, info = kernel.step(key, state, potential, tuned)
        return (state, total + nbeta * jax.vmap(loss)(info.position)), None

    start_key, warm_key, draw_key = jax.random.split(jax.random.key(5), 3)
    state = kernel.init(start_key, 0.5 * jax.random.normal(start_key, (chains, dimension)), potential)
    nothing = jnp.zeros_like(jax.vmap(loss)(state.position))
    (state, _), _ = jax.lax.scan(advance, (state, nothing), jax.random.split(warm_key, 300))
    (_, total), _ = jax.lax.scan(advance, (state, nothing), jax.random.split(draw_key, draws))
    return total / draws


def bias(kernel, loss, exact, tuned, **settings):
    """Return how far nβ E[loss] is from `exact`, and the standard error from the spread over chains."""
    means = np.asarray(mean_energies(kernel, loss, tuned, **settings))
    return means.mean(0) - exact, means.std(0, ddof=1) / np.sqrt(len(means))


SINGULAR = {"nbeta": NBETA, "gamma": GAMMA, "dimension": 3, "chains": 512, "draws": 2000}
BOUNDED = {"nbeta": 4.0, "gamma": 0.5, "dimension": 1, "chains": 2048, "draws": 2000}


@pytest.fixture(scope="module")
def singular_llcs():
    quartic = quadrature_llc(lambda w: w[..., 0] ** 4, nbeta=NBETA, localization=GAMMA, center=(0.0,))
    return np.array([quartic, crossing_llc([1, 1], nbeta=NBETA, localization=GAMMA)])


@pytest.fixture(scope="module")
def softened_llc():
    settings = {"nbeta": BOUNDED["nbeta"], "localization": BOUNDED["gamma"], "center": (0.0,)}
    return quadrature_llc(lambda w: softened(w)[..., 0], **settings)


@pytest.mark.parametrize(
    ("factory", "step_size", "memory"),
    [
        (leimkuhler_matthews, 0.02, 0.0),
        (baoab, 0.02, 0.8),
        (sgnht, 0.02, 0.8),
        (ghmc, 0.05, 0.8),
        (ghmc, 0.15, 0.5),
        (mala, 0.15, 0.0),
    ],
)
def test_singular_densities_stay_invariant(factory, step_size, memory, singular_llcs):
    off, error = bias(factory(), losses, singular_llcs, tuning(step_size, memory), **SINGULAR)
    np.testing.assert_array_less(np.abs(off), 4 * error)
    np.testing.assert_array_less(error, 0.01 * singular_llcs)


def test_euler_shows_its_first_order_on_the_same_densities(singular_llcs):
    off, error = bias(euler(), losses, singular_llcs, tuning(0.02, 0.0), **SINGULAR | {"chains": 2048})
    np.testing.assert_array_less(5 * error, off)


@pytest.mark.parametrize(
    ("factory", "order", "coarse", "fine"),
    [
        (euler, 1, (0.1, 0.0), (0.05, 0.0)),
        (leimkuhler_matthews, 2, (0.4, 0.0), (0.2, 0.0)),
        (baoab, 2, (0.4, 0.5), (0.2, 0.5)),
        # At fixed friction, that is 1 - c in proportion to √ε.
        (sgnht, 1, (0.2, 0.8), (0.1, 1 - 0.2 / np.sqrt(2))),
    ],
)
def test_the_bias_falls_as_fast_as_the_order_says(factory, order, coarse, fine, softened_llc):
    (large, large_error), (small, small_error) = (
        bias(factory(), softened, softened_llc, tuning(*pair), **BOUNDED) for pair in (coarse, fine)
    )
    found = np.log2(large / small)
    error = np.hypot(large_error / large, small_error / small) / np.log(2)
    assert error < 0.25
    assert found > order - 2 * error


def test_euler_is_of_first_order_and_no_better(softened_llc):
    pairs = [bias(euler(), softened, softened_llc, tuning(e, 0.0), **BOUNDED) for e in (0.1, 0.05)]
    assert 1 < np.log2(pairs[0][0] / pairs[1][0]) < 1.5


@pytest.mark.parametrize("factory", [ghmc, mala])
def test_corrected_moves_have_no_bias_where_others_diverge(factory, softened_llc):
    off, error = bias(factory(), softened, softened_llc, tuning(0.4, 0.5), **BOUNDED)
    assert abs(off) < 4 * error
    assert error < 0.003 * softened_llc
