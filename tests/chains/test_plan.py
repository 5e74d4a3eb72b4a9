"""A run divides itself to fit: by the compiler's account, and once more where memory ends all the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc.chains import memory
from lltc.chains.cost import LEAST_BATCH, is_costly, with_affordable_batch
from lltc.chains.memory import free_memory, read_memory
from lltc.chains.plan import account, fit
from lltc.chains.rounds import round_lengths
from lltc.estimates import estimator
from lltc.posterior.target import local_posterior

WIDTH = 2048
PARAMS = {"a": np.ones((4, WIDTH), np.float32), "b": np.full(WIDTH, 1 / WIDTH, np.float32)}
DATA = np.zeros((3000, 4), np.float32)
FEW = {"num_draws": 16, "num_warmup": 16, "progress": False}


def wide(params, x):
    return (jnp.tanh(jnp.tanh(x @ params["a"])) @ params["b"]) ** 2


@pytest.mark.parametrize("budget", [20e6, 5e6])
def test_the_plan_fits_by_the_compilers_account(budget):
    posterior = local_posterior(wide, PARAMS, DATA)
    plan = fit(posterior, 8, int(budget))
    assert account(posterior, 8) > budget >= account(plan, 8)
    assert plan.batch_size == posterior.batch_size


def test_what_the_user_set_stays():
    posterior = local_posterior(wide, PARAMS, DATA, micro_batch=256, chain_batch=8)
    with pytest.raises(
        lltc.InputError, match=r"^memory is 0\.005 GB, but 10,240 parameters on 8 chains need"
    ):
        fit(posterior, 8, int(5e6))


def test_one_sentence_where_nothing_fits():
    with pytest.raises(
        lltc.InputError, match=r"^memory is 1e-05 GB.*raise memory, or pass fewer num_chains\.$"
    ):
        lltc.estimate_llc(wide, PARAMS, DATA, memory=10_000, **FEW)


@pytest.mark.parametrize(
    ("text", "size"), [("8 GB", 8e9), ("8gib", 2**33), (" 512 MB", 512e6), ("1.5k", 1500), (1e6, 1e6), (7, 7)]
)
def test_sizes_are_read(text, size):
    assert read_memory(text) == size


@pytest.mark.parametrize("wrong", ["", "GB", "-1 GB", "8 XB", 0, -5, float("nan"), float("inf"), True, [8]])
def test_what_is_no_size_is_refused(wrong):
    with pytest.raises(lltc.InputError, match=r"^memory must be a number of bytes or a size such as '8 GB'"):
        read_memory(wrong)


def test_by_default_most_of_what_is_free_is_taken(monkeypatch):
    assert free_memory() > 0
    for free in (3 << 30, 4 << 30, 5 << 30, 123_456_789_000):
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        assert 0.375 * free < read_memory(None) <= 0.75 * free


def test_a_control_group_bounds_what_is_free(tmp_path):
    group = tmp_path / "job"
    group.mkdir()
    for name, text in (
        ("max", "9000000"),
        ("current", "5000000"),
        ("stat", "anon 1\ninactive_file 1000000\n"),
    ):
        (group / f"memory.{name}").write_text(text)
    assert memory.left_in(group, *memory.NAMES) == 5_000_000
    assert memory.left_in(tmp_path, *memory.NAMES) > 1e15


def test_memory_that_runs_out_once_costs_a_retry(monkeypatch):
    """The first run stands in for a machine that promised more than it has."""
    plans, draw = [], estimator._draw_estimates

    def failing(posterior, *rest):
        plans.append(posterior.target.micro_batch)
        if len(plans) == 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 35 bytes.")
        return draw(posterior, *rest)

    monkeypatch.setattr(estimator, "_draw_estimates", failing)
    estimate = lltc.estimate_llc(wide, PARAMS, DATA, micro_batch=None, **FEW)
    assert estimate.num_draws == 16
    assert len(plans) == 2
    assert plans[1] < (plans[0] or 512)


@pytest.mark.parametrize(
    "error", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")]
)
def test_memory_that_runs_out_twice_is_one_sentence(monkeypatch, error):
    def failing(*_):
        raise error

    monkeypatch.setattr(estimator, "_draw_estimates", failing)
    with pytest.raises(
        lltc.InputError, match=r"^memory ran out with batch_size=512.*pass micro_batch=\d+, or a lower"
    ):
        lltc.estimate_llc(wide, PARAMS, DATA, **FEW)


def test_other_errors_stay_what_they_are(monkeypatch):
    def failing(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(estimator, "_draw_estimates", failing)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        lltc.estimate_llc(wide, PARAMS, DATA, **FEW)


def test_costly_examples_make_small_batches():
    def deep(params, x):
        for _ in range(200):
            x = jnp.tanh(x * params["a"][0])
        return jnp.sum(x**2, -1)

    costly = local_posterior(deep, PARAMS, np.zeros((3000, WIDTH), np.float32))
    cheap = local_posterior(wide, jax.tree.map(lambda a: a[..., :16], PARAMS), DATA)
    assert (is_costly(cheap, 8), is_costly(costly, 8)) == (False, True)
    assert with_affordable_batch(cheap, 8).batch_size == 512
    assert LEAST_BATCH <= with_affordable_batch(costly, 8).batch_size < 256


def test_rounds_of_warm_up():
    assert list(round_lengths(1000)) == [125] * 8
    lengths = list(round_lengths(None))
    assert (sum(lengths[:8]), sum(lengths)) == (128, 1000)
    assert sorted(lengths[8:-1]) == lengths[8:-1]
