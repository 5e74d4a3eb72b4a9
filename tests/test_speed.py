"""A guard of speed: what drawing costs beside the bare gradient must not double.

The overhead is draw / floor - 1: `drawing` is 256 steps as `estimate_llc` takes them, `bare_gradient` as
many of the jitted `value_and_grad` of the loss, for all chains and w* (benchmarks/speed.py). Both are timed
in turn in one process, so that other work on the machine falls on both, and the overhead is the median of
nine such ratios, which a few rounds held up do not move. The networks are small: the gradient of a large one
would hide a dearer noise or update.

The limit is 2·`overhead` + `NOISE`. The overheads were found when this was written, on one core of an x86-64
CPU kept busy by others: the medians of several runs lay within .06 of them. Put in smaller ones where lltc
becomes faster: `pytest tests/test_speed.py --benchmark-json=FILE` writes them as `extra_info`.
"""

import numpy as np
import pytest

from benchmarks.networks import linear_net, mlp, transformer
from benchmarks.speed import bare_gradient, drawing, seconds
from lltc.chains.steps import CHUNK

LINEAR, MLP, TRANSFORMER = 0.18, 0.33, 0.35
NOISE = 0.10
ROUNDS = 9


@pytest.mark.parametrize(
    ("network", "overhead"),
    [
        (linear_net(num_examples=10_000), LINEAR),
        (mlp(128, 64, 10, num_examples=4000, batch_size=256), MLP),
        (transformer(layers=1, width=32, heads=2, vocabulary=64, context=16), TRANSFORMER),
    ],
    ids=["linear", "mlp", "transformer"],
)
def test_the_overhead_over_the_bare_gradient_does_not_double(benchmark, network, overhead):
    floor, draw = bare_gradient(network), drawing(network)
    for task in (floor, draw):
        task(2)
    floors = []
    benchmark.pedantic(draw, args=(CHUNK,), setup=lambda: floors.append(seconds(floor, CHUNK)), rounds=ROUNDS)
    found = float(np.median(np.divide(benchmark.stats.stats.data, floors))) - 1
    benchmark.extra_info["overhead"] = found
    assert found < 2 * overhead + NOISE
