"""Chains in flight are bounded, and the numbers stay: by `chain_batch`, and on bfloat16 networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from benchmarks.memory import drawing
from benchmarks.networks import mlp
from lltc.chains.gradients import losses_and_gradient
from lltc.errors import InputError
from lltc.posterior.target import local_posterior

FEW = {"nbeta": 200.0, "localization": 1.0, "num_warmup": 32, "num_draws": 32, "progress": False}


def network(params, batch):
    """Return the squared error of a small tanh network."""
    x, y = batch
    return 0.5 * jnp.sum((jnp.tanh(x @ params["first"]) @ params["second"] - y) ** 2, -1)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    shapes = {"first": (6, 40), "second": (40, 3)}
    params = {name: rng.normal(size=shape) / np.sqrt(shape[0]) for name, shape in shapes.items()}
    x = rng.normal(size=(2000, 6))
    y = np.tanh(x @ params["first"]) @ params["second"] + rng.normal(size=(2000, 3))
    return jax.tree.map(np.float32, params), (np.float32(x), np.float32(y))


@pytest.mark.parametrize("chain_batch", [1, 3, 8])
def test_chains_in_flight_do_not_change_the_numbers(problem, chain_batch):
    """Only rounding may differ: it is far below the Monte-Carlo error of the shortest run."""
    whole = lltc.estimate_llc(network, *problem, **FEW)
    parts = lltc.estimate_llc(network, *problem, chain_batch=chain_batch, **FEW)
    assert parts.step_size == pytest.approx(whole.step_size, rel=1e-3)
    assert parts.energy == pytest.approx(whole.energy, rel=1e-2, abs=1e-4)
    assert parts.llc == pytest.approx(whole.llc, rel=1e-3)


def test_one_chain_in_flight_needs_the_memory_of_one(problem):
    """Compiled by XLA, the gradients of 32 chains one by one need temporaries near those of one chain."""
    params, data = problem
    batch = jax.tree.map(lambda a: jnp.asarray(a[:512]), data)

    def temporaries(chain_batch: int | None, chains: int) -> int:
        posterior = local_posterior(network, params, data, chain_batch=chain_batch)
        target, center = posterior.target, posterior.center
        positions = jnp.zeros((chains, posterior.num_params))
        program = (
            jax.jit(lambda at: losses_and_gradient(target, center, at, batch)).lower(positions).compile()
        )
        found = program.memory_analysis()
        assert found is not None
        return found.temp_size_in_bytes

    one, all_, bounded = temporaries(None, 1), temporaries(None, 32), temporaries(1, 32)
    assert all_ > 16 * one
    assert bounded < 4 * one


@pytest.mark.parametrize("chains", [2, 4])
def test_drawing_holds_four_copies_of_the_parameters_a_chain(chains):
    """Positions, velocities, gradients as leaves and as vectors; the rest is for all chains.

    That is w*, ∇L_n(w*), its doubt and ∇L_B(w*); records and the activations of 16 examples are less than
    half a copy. A copy of the positions, made lest they be written over while read, would be one too many.
    """
    wide = mlp(784, 256, 256, 10, num_examples=600, num_chains=chains, batch_size=16)
    width = jax.tree.leaves(wide.params)[0].dtype.itemsize
    assert drawing(wide, None) < (4 * chains + 4.5) * width * wide.num_params


@pytest.mark.parametrize("chain_batch", [0, -1, 2.5, True, "two"])
def test_a_number_of_chains_in_flight_that_is_none(problem, chain_batch):
    with pytest.raises(InputError, match=r"chain_batch must be an integer ≥ 1, but .* was given"):
        lltc.estimate_llc(network, *problem, chain_batch=chain_batch, **FEW)


@pytest.mark.parametrize("step_size", [None, 1e-4])
def test_a_bfloat16_network_keeps_its_small_steps(step_size):
    """Chains move in float32: drifts of .0005 a step count, though bfloat16 numbers lie .008 apart."""
    num_params, nbeta = 64, 100.0

    def loss(params, batch):
        moved = params["w"].astype(jnp.float32) - 1.0
        return 0.5 * jnp.sum(moved**2) * jnp.ones(len(batch))

    params = {"w": jnp.ones(num_params, jnp.bfloat16)}
    settings = {"nbeta": nbeta, "localization": 1.0, "num_draws": 8000, "progress": False}
    found = lltc.estimate_llc(
        loss, params, jnp.zeros(16), kernel=lltc.kernels.baoab(), step_size=step_size, **settings
    )
    exact = 0.5 * num_params * nbeta / (nbeta + 1)
    assert found.energy.dtype == np.float32
    assert found.status is lltc.Status.ok
    assert found.llc_se < 0.03 * exact
    assert found.llc == pytest.approx(exact, abs=3.5 * found.llc_se)
