"""What the look costs beside a round of warm-up, in the processor time of one run."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lltc
from lltc.chains.loop import sample, start
from lltc.chains.rungs import Ladder
from lltc.chains.tuning import Tuned, make_settings
from lltc.estimates.estimator import prepare_run
from lltc.inspection.look import inspect
from lltc.kernels import baoab

ROUND = 125
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4000, 16)).astype(np.float32)
PARAMS = {
    "in": (RNG.normal(size=(16, 64)) / 4).astype(np.float32),
    "mid": (RNG.normal(size=(64, 64)) / 8).astype(np.float32),
    "out": (RNG.normal(size=64) / 8).astype(np.float32),
}


def network(params: Any, batch: Any) -> Any:
    return (jnp.tanh(jnp.tanh(batch @ params["in"]) @ params["mid"]) @ params["out"]) ** 2


def spent(call: Callable[[], Any]) -> float:
    began = time.process_time()
    jax.block_until_ready(call())
    return time.process_time() - began


def test_a_look_costs_less_than_a_round_of_warm_up():
    """Once compiled, as at all but the first checkpoint of a sweep."""
    run = prepare_run(lltc.local_posterior(network, PARAMS, X, localization=1e3), 0, None, kernel=baoab())
    ladder = Ladder(np.array([run.posterior.nbeta]), 8)
    settings = make_settings(
        run, ladder, ladder.spread(ladder.rungs), Tuned(np.array([1e-5]), np.array([0.5]))
    )
    begin = lambda: start(run, jnp.zeros((8, run.posterior.num_params)), settings)
    moves = lambda: sample(run, begin(), settings, first=1, count=ROUND).draws.distance
    inspect(run)
    moves()
    look, steps = (min(spent(call) for _ in range(3)) for call in (lambda: inspect(run) and None, moves))
    print(f"a look takes {look / steps:.2f} of a round of warm-up")
    assert look < steps
