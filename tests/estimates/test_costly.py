"""Where steps cost much a run begins with few of them: shorter, and as true."""

import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc.chains import cost
from lltc.toys.values.tempered import quadratic_llc

CURVATURES = np.geomspace(0.01, 10.0, 40).astype(np.float32)
NBETA, GAMMA = 300.0, 1.0
EXACT = quadratic_llc(CURVATURES, nbeta=NBETA, localization=GAMMA)


def noisy(params, batch):
    """½ Σ h w² with a slope of its own for every example; the slopes' mean over the data is zero."""
    return 0.5 * jnp.sum(CURVATURES * params**2) + batch @ params


def data():
    slopes = np.random.default_rng(0).normal(size=(2000, 40)).astype(np.float32)
    return np.concatenate([slopes, -slopes])


@pytest.fixture
def everything_costs(monkeypatch):
    monkeypatch.setattr(cost, "COSTLY", 0.0)


@pytest.mark.parametrize("key", [0, 1, 2])
@pytest.mark.usefixtures("everything_costs")
def test_a_costly_estimate_covers_the_truth(key):
    estimate = lltc.estimate_llc(
        noisy, jnp.zeros(40), data(), nbeta=NBETA, localization=GAMMA, batch_size=64, key=key, progress=False
    )
    assert estimate.status is lltc.Status.ok
    assert abs(estimate.llc - EXACT) < 4 * estimate.llc_se
    assert estimate.llc_se < 0.03 * EXACT
    assert 128 <= estimate.num_warmup <= 1000


@pytest.mark.usefixtures("everything_costs")
def test_what_is_given_stays():
    few = {"num_warmup": 64, "num_draws": 100, "batch_size": 64, "progress": False}
    estimate = lltc.estimate_llc(noisy, jnp.zeros(40), data(), **few)
    assert (estimate.num_warmup, estimate.num_draws, estimate.batch_size) == (64, 100, 64)


@pytest.mark.usefixtures("everything_costs")
def test_the_same_key_gives_the_same_numbers():
    first, again = (lltc.estimate_llc(noisy, jnp.zeros(40), data(), progress=False) for _ in range(2))
    assert first.llc == again.llc
    np.testing.assert_array_equal(first.energy, again.energy)
