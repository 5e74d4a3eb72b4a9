"""The benchmark of published laws: its counts, its exact solution and its rounding, on the smallest cases."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.compression_law import NUM_OFFSETS, critical_bits, rises
from benchmarks.law_rows import curvatures, half_rank
from benchmarks.modular_law import (
    fourier_network,
    outputs,
    pairs,
    pairs_law,
    pairs_row,
    paper_law,
    random_network,
)


@pytest.mark.parametrize(("p", "width"), [(3, 2), (3, 5), (5, 4)])
def test_random_weights_have_the_rank_that_is_counted(p: int, width: int):
    params = random_network(p, width)
    inputs = np.random.default_rng(1).normal(size=(200, 2 * p))
    assert half_rank(curvatures(outputs, params, inputs)) == paper_law(p, width)
    assert half_rank(curvatures(outputs, params, pairs(p)[0])) == pairs_law(p, width)


@pytest.mark.parametrize("p", [3, 5, 7])
def test_the_fourier_network_adds_exactly_and_moves_in_fewer_directions(p: int):
    x, sums = pairs(p)
    params = fourier_network(p)
    assert np.abs(outputs(params, x) - sums).max() < 1e-5
    assert half_rank(curvatures(outputs, params, x)) < pairs_law(p, 2 * p - 1)


@pytest.mark.statistical
def test_a_row_has_the_value_that_a_gaussian_gives():
    row = pairs_row("small", 3, random_network(3, 2), num_draws=1000, num_warmup=500)
    assert row.law == 8
    assert row.half_rank == 7
    assert 6.9 < row.at_nbeta < 7
    assert abs(row.estimate.llc - row.at_nbeta) < 4 * row.estimate.llc_se


def test_rounding_raises_a_quadratic_loss_as_the_trace_says():
    weights = jnp.asarray(np.random.default_rng(0).normal(size=400), jnp.float32)
    curvature = jnp.linspace(0.5, 2.0, 400)
    target = weights
    risen = rises(lambda w: 0.5 * jnp.sum(curvature * (w - target) ** 2), weights)
    assert risen.shape[0] == NUM_OFFSETS
    found = critical_bits(risen, 0.1)
    step = np.sqrt(24 * 0.1 / float(curvature.sum()))
    expected = np.log2(2 * float(jnp.abs(weights).max()) / step)
    # The rise is a mean over 400 weights and 32 offsets; bits are interpolated between eighths.
    assert abs(found.bits - expected) < 4 * found.se + 0.02
