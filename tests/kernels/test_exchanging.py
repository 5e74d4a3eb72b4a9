"""Replica exchange: trades balance in detail, carry everything along, and keep replicas apart."""

from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lltc.kernels import EVERY, Tuning, exchanging, ghmc
from lltc.kernels.exchanging import ExchangingState, exchange
from lltc.kernels.ghmc import GhmcState

RUNGS, STATES, REPLICAS = 3, 3, 60_000
# U of each of three states at each of three rungs; at the first nothing but a constant.
LEVELS = jnp.array([[0.0, 0.0, 0.0], [0.3, 0.0, 1.1], [0.9, 0.2, 2.5]])


def levels(replicas):
    """Return the potential of chains that stand on one of three states."""
    rung = jnp.repeat(jnp.arange(RUNGS), replicas)

    def potential(position):
        state = jnp.clip(position[:, 0], 0, STATES - 1).astype(int)
        return LEVELS[rung, state], position, state

    return potential


def standing(position, potential, *, turn):
    """Return the state just before a trade in which pairs from an even (0) or odd (1) rung meet."""
    inner = GhmcState(position, jnp.zeros_like(position), *potential(position))
    chains = len(position)
    fresh, arrivals = jnp.zeros(chains, bool), jnp.zeros(chains // RUNGS, jnp.int32)
    return ExchangingState(inner, jnp.int32(EVERY * turn), fresh, arrivals)


@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("key", range(3))
def test_trades_balance_in_detail(turn, key):
    """From equilibrium, pairs of states go to each other as often as back, but for noise."""
    start_key, trade_key = jax.random.split(jax.random.key(key))
    drawn = jax.random.categorical(start_key, -LEVELS[:, None, :], shape=(RUNGS, REPLICAS))
    position = drawn.reshape(-1, 1).astype(jnp.float32)
    potential = levels(REPLICAS)
    before = standing(position, potential, turn=turn)
    after = exchange(trade_key, before, potential, jnp.ones((len(position), 1)), RUNGS)
    pair = [turn, turn + 1]
    old, new = (
        np.asarray(state.position).reshape(RUNGS, REPLICAS)[pair].astype(int) for state in (before, after)
    )
    flows = np.zeros((STATES**2, STATES**2))
    np.add.at(flows, (STATES * old[0] + old[1], STATES * new[0] + new[1]), 1)
    assert np.abs(flows - flows.T).max() > 0
    np.testing.assert_array_less(np.abs(flows - flows.T), 4.5 * np.sqrt(flows + flows.T + 1))
    # By the formula: (a, b) → (b, a) in a share min(1, exp(U_r(a) + U_s(b) - U_r(b) - U_s(a))).
    low, high = (np.asarray(LEVELS[rung]) for rung in pair)
    for a, b in [(0, 1), (0, 2), (1, 2), (2, 1)]:
        tried, made = flows[STATES * a + b].sum(), flows[STATES * a + b, STATES * b + a]
        share = min(1.0, float(np.exp(low[a] + high[b] - low[b] - high[a])))
        assert abs(made / tried - share) <= 4.5 * np.sqrt(share * (1 - share) / tried)


def potential_at(nbeta):
    """Return U = nβ x²y² + ½(x² + y²) of chains at nβ `(chain,)`."""

    def potential(position):
        rise = (position[:, 0] * position[:, 1]) ** 2
        slope = 2 * position * (position[:, ::-1] ** 2)
        energy = nbeta * rise + 0.5 * jnp.sum(position**2, -1)
        return energy, nbeta[:, None] * slope + position, rise

    return potential


NBETA = jnp.repeat(jnp.array([0.0, 3.0, 30.0, 300.0]), 4)
TUNING = Tuning(
    jnp.repeat(jnp.array([1.0, 0.3, 0.05, 0.01]), 4)[:, None], jnp.full((16, 1), 0.9), jnp.ones(())
)


def walk(position, steps, potential):
    kernel = exchanging(ghmc(decades=1.0), rungs=4)
    state = kernel.init(jax.random.key(0), position, potential)
    advance = jax.jit(lambda key, state: kernel.step(key, state, potential, TUNING)[0])
    for number in range(steps):
        state = advance(jax.random.key(number), state)
    return state


START = 0.1 * jax.random.normal(jax.random.key(3), (16, 2))


def test_energy_gradient_and_record_travel_with_the_position():
    potential = potential_at(NBETA)
    inner = walk(START, 5 * EVERY, potential).inner
    for found, expected in zip(
        (inner.energy, inner.gradient, inner.aux), potential(inner.position), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_replica_does_not_depend_on_the_others():
    """What the second replica starts from changes nothing of the first, to the last bit."""
    potential = potential_at(NBETA)
    moved = START.at[1::4].add(1.0)
    first, other = (walk(start, 6 * EVERY, potential).position.reshape(4, 4, 2) for start in (START, moved))
    np.testing.assert_array_equal(first[:, 0], other[:, 0])
    assert not np.array_equal(first[:, 1], other[:, 1])


def test_arrivals_come_from_the_prior():
    """Three trades lead from a fresh draw to the last of four rungs, so that none arrives before."""
    potential = potential_at(NBETA)
    assert walk(START, 3 * EVERY, potential).arrivals.sum() == 0
    assert walk(START, 60 * EVERY, potential).arrivals.sum() >= 8


@pytest.mark.parametrize("key", range(3))
def test_a_trade_has_a_key_of_its_own(monkeypatch, key):
    """None of those that the step before it draws from, or trades would be accepted as moves were."""
    first_word = lambda key: jax.random.key_data(key)[0].astype(jnp.int32)
    note = lambda key, state, *_: state._replace(steps=first_word(key))
    # The package's own name `exchanging` is that of the function.
    monkeypatch.setattr(import_module("lltc.kernels.exchanging"), "exchange", note)
    potential, given = potential_at(NBETA), jax.random.key(key)
    kernel = exchanging(ghmc(decades=1.0), rungs=4)
    state = kernel.init(given, START, potential)._replace(steps=jnp.int32(EVERY - 1))
    noted = kernel.step(given, state, potential, TUNING)[0].steps
    used = [given, *jax.random.split(given), *(jax.random.fold_in(given, number) for number in range(3))]
    assert noted not in [first_word(key) for key in used]


def test_where_the_loss_is_not_finite_nobody_goes():
    def potential(position):
        energy, gradient, rise = potential_at(NBETA)(position)
        return jnp.where(position[:, 0] > 0.2, jnp.nan, energy), gradient, rise

    state = walk(jnp.minimum(START, 0.0), 30 * EVERY, potential)
    assert np.isfinite(state.inner.energy).all()
    assert np.all(state.position[:, 0] <= 0.2)
    assert np.ptp(state.position[:4, 0]) > 0
