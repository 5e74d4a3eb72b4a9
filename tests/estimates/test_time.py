"""An estimate that may take so long and no longer ends with the best it has."""

import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc.estimates.effort import read_time
from tests.problems import regression

MODEL, WEIGHTS, DATA = regression(0, 2000, 3)
FEW = {"num_warmup": 64, "progress": False}


def test_no_more_draws_begin_when_the_time_is_over():
    estimate = lltc.estimate_llc(MODEL, WEIGHTS, DATA, num_draws=100_000, time="0.01 s", **FEW)
    assert 32 <= estimate.num_draws < 1000
    assert estimate.energy.shape[1] == estimate.num_draws
    assert estimate.status is not lltc.Status.interrupted
    assert np.isfinite([estimate.llc, estimate.llc_se]).all()


def test_draws_are_the_same_with_time_to_spare():
    whole, timed = (
        lltc.estimate_llc(MODEL, WEIGHTS, DATA, num_draws=300, time=t, **FEW) for t in (None, "1h")
    )
    np.testing.assert_array_equal(timed.energy, whole.energy)
    assert timed.llc == whole.llc


def test_growing_ends_with_the_time():
    estimate = lltc.estimate_llc(
        lambda w, x: w[0] ** 4 * jnp.ones(len(x)), WEIGHTS, np.zeros(2048, np.float32), time=1e-3, **FEW
    )
    assert estimate.num_draws == 32


@pytest.mark.parametrize("wrong", ["", "soon", "5 d", 0, -1, "0 s", True, [1], float("nan"), float("inf")])
def test_what_is_no_time_is_refused(wrong):
    with pytest.raises(
        lltc.InputError, match=r"^time must be a number of seconds > 0 or such as '10 min', but"
    ):
        read_time(wrong)
