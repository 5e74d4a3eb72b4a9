"""Saving while training: the steps wanted, whole files, formats, and nothing at all at other steps."""

import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lltc.checkpoints import Saver, find_checkpoints, log_spaced_steps
from lltc.errors import InputError


@pytest.mark.parametrize("fmt", ["npz", "safetensors", "orbax"])
def test_a_training_run_leaves_its_checkpoints(tmp_path, fmt):
    optimizer = optax.adam(0.1)
    params = {"layers": [{"w": jnp.ones((2, 2))}, {"w": jnp.zeros(2, jnp.bfloat16)}]}
    state, trained = optimizer.init(params), {}
    saver = Saver(tmp_path / "run", log_spaced_steps(30, 5), format=fmt)
    for step in range(31):
        path = saver(step, params)
        assert (path is not None) == (step in saver.steps)
        trained[step] = params
        updates, state = optimizer.update(jax.tree.map(lambda w: w - 3, params), state)
        params = optax.apply_updates(params, updates)
    found = find_checkpoints(tmp_path / "run")
    assert [checkpoint.step for checkpoint in found] == list(log_spaced_steps(30, 5))
    assert {checkpoint.format for checkpoint in found} == {fmt}
    for checkpoint in found:
        loaded = checkpoint.load(params)
        jax.tree.map(np.testing.assert_array_equal, loaded, trained[checkpoint.step])
        assert loaded["layers"][1]["w"].dtype == jnp.bfloat16


@pytest.mark.parametrize("fmt", ["npz", "orbax"])
def test_a_step_saved_again_is_replaced(tmp_path, fmt):
    saver = Saver(tmp_path, [7], format=fmt)
    saver(7, {"w": np.zeros(2)})
    saver(7, {"w": np.ones(2)})
    [checkpoint] = find_checkpoints(tmp_path)
    np.testing.assert_array_equal(checkpoint.load()["w"], [1, 1])


def test_other_steps_cost_nothing(tmp_path):
    class Untouchable:
        def __getattribute__(self, name):
            raise AssertionError("params are looked at")

    saver, params = Saver(tmp_path / "run", log_spaced_steps(10**6, 7)), Untouchable()
    begun = time.process_time()
    assert not any(saver(step, params) for step in range(100_001, 200_001))
    # Far above the hundred nanoseconds of a look-up, far below any real work.
    assert (time.process_time() - begun) / 100_000 < 2e-5
    assert not (tmp_path / "run").exists()


def test_arrays_of_a_model_are_saved_and_the_whole_model_is_refused(tmp_path):
    model = eqx.nn.MLP(2, 1, 4, 1, key=jax.random.key(0))
    saver = Saver(tmp_path, [1])
    with pytest.raises(InputError, match="not an array of numbers; leave it out of params"):
        saver(1, model)
    saver(1, eqx.filter(model, eqx.is_array))
    [checkpoint] = find_checkpoints(tmp_path)
    x = jnp.array([0.3, -0.7])
    np.testing.assert_array_equal(checkpoint.load(model)(x), model(x))


def test_steps_may_be_integers_of_any_library(tmp_path):
    saver = Saver(tmp_path, np.array([3, 5, 8]))
    assert saver(jnp.int32(8), {"w": np.ones(1)}) == tmp_path / "step_8.npz"
    with pytest.raises(
        InputError, match=r"^step is 'last', but a step must be an integer from 0 on; pass one\.$"
    ):
        saver("last", {})  # pyright: ignore[reportArgumentType]
    assert [saver(step, {"w": np.ones(1)}) is not None for step in np.arange(3, 6)] == [True, False, True]
    assert [checkpoint.path.name for checkpoint in find_checkpoints(tmp_path)] == [
        f"step_{n}.npz" for n in (3, 5, 8)
    ]


@pytest.mark.parametrize(
    ("folder", "steps", "fmt", "message"),
    [
        ("run", [], "npz", "steps is empty, so nothing would be saved; pass at least one step."),
        ("run", [1, -2], "npz", "steps holds -2, but a step must be an integer from 0 on; pass one."),
        ("run", [1.5], "npz", "steps holds 1.5, but a step must be an integer from 0 on; pass one."),
        ("run", [1], "pickle", "format is 'pickle', but must be one of npz, safetensors, orbax."),
        ("s3://b", [1], "npz", "folder is 's3://b', but Saver writes to local folders; pass one."),
    ],
)
def test_what_cannot_be_saved_is_told_at_once(folder, steps, fmt, message):
    with pytest.raises(InputError) as caught:
        Saver(folder, steps, format=fmt)
    assert str(caught.value) == message
