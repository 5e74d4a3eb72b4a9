"""ESS and R-hat against ArviZ's."""

from typing import Any

import numpy as np
import pytest
from arviz_stats.base.array import array_stats
from hypothesis import given
from hypothesis import strategies as st

from lltc.convergence import bulk_ess, mean_ess, split_rhat


def chains(seed: int, shape: tuple[int, int], memory: float, apart: float, ties: bool) -> np.ndarray:
    """Return autoregressive chains `(chain, draw)` around means that differ, with ties when rounded."""
    rng = np.random.default_rng(seed)
    series = rng.normal(size=shape)
    for draw in range(1, shape[1]):
        series[:, draw] += memory * series[:, draw - 1]
    series += apart * rng.normal(size=(shape[0], 1))
    return np.round(series) if ties else series


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 8), st.integers(8, 200)),
    st.sampled_from([-0.9, -0.3, 0.0, 0.5, 0.9, 0.99]),
    st.sampled_from([0.0, 1.0]),
    st.booleans(),
)
def test_the_numbers_are_those_of_arviz(seed, shape, memory, apart, ties):
    series = chains(seed, shape, memory, apart, ties)
    theirs: Any = array_stats
    axes = {"chain_axis": 0, "draw_axis": 1}
    assert bulk_ess(series) == pytest.approx(float(theirs.ess(series, **axes)), rel=1e-9)
    assert mean_ess(series) == pytest.approx(float(theirs.ess(series, method="mean", **axes)), rel=1e-9)
    assert split_rhat(series) == pytest.approx(float(theirs.rhat(series, **axes)), rel=1e-9, nan_ok=True)


def test_draws_that_are_not_finite_have_no_ess():
    series = np.random.default_rng(0).normal(size=(4, 100))
    series[1, 3] = np.nan
    assert np.isnan([bulk_ess(series), mean_ess(series), split_rhat(series)]).all()


def test_a_constant_counts_every_draw():
    assert mean_ess(np.ones((4, 100))) == 400
