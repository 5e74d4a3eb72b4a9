"""The same numbers whatever else a program has set: optimised Python, ranks kept apart, 64-bit numbers."""

import os
import sys

import numpy as np
import pytest

from tests.processes import ran

pytestmark = pytest.mark.process

PROGRAM = """
import jax, numpy as np, lltc
x = np.random.default_rng(0).normal(size=(400, 3)).astype("f4")
model = lambda w, x: 0.5 * (x @ w["a"] + w["b"]) ** 2
params = {"a": np.full(3, 0.01, "f4"), "b": np.float32(0.1)}
few = {"num_draws": 256, "num_warmup": 100, "progress": False}
small = lltc.estimate_llc(model, params, x, **few)
noisy = lltc.estimate_llc(model, params, x, batch_size=50, micro_batch=20, **few)
read = lltc.susceptibilities(model, params, x, components={"a": "a", "b": "b"}, batch_size=50, **few)
after = {"a": np.full(3, 0.02, "f4"), "b": np.float32(0.0)}
seen = lltc.probe(model, params, after, x, **few)
values = (small.llc, small.llc_se, noisy.llc, noisy.llc_se, read.estimate.llc, seen.delta_llc)
print(*(float(value).hex() for value in values))
"""


def run(*flags: str, **environment: str) -> str:
    return ran([sys.executable, *flags, "-c", PROGRAM], env=os.environ | environment)


@pytest.fixture(scope="module")
def numbers() -> str:
    return run()


def test_optimised_python_gives_the_same_numbers(numbers):
    assert run("-OO") == numbers


def test_ranks_kept_apart_give_the_same_numbers(numbers):
    assert run(JAX_NUMPY_RANK_PROMOTION="raise") == numbers


def test_estimates_agree_where_64_bits_are_allowed(numbers):
    usual, wide = (
        np.array([float.fromhex(word) for word in told.split()])
        for told in (numbers, run(JAX_ENABLE_X64="1"))
    )
    for llc, se in ((0, 1), (2, 3)):
        assert abs(usual[llc] - wide[llc]) < 4 * np.hypot(usual[se], wide[se])
