"""Orbax folders written by every Orbax writer: exact values, no optimizer state, no devices, damage told."""

import os
import shutil
import warnings
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from orbax.checkpoint import v1

from lltc.checkpoints import find_checkpoints, open_checkpoint
from lltc.errors import CheckpointError

PARAMS = {
    "dense": {"kernel": jnp.arange(32.0).reshape(8, 4), "bias": jnp.full(3, 1.5, jnp.bfloat16)},
    "layers": [jnp.zeros(2), jnp.full((2, 1), 0.25)],
    "mlp/~/linear": {"w": jnp.arange(5)},
    "scale": jnp.float32(0.1),
}
STATE = {"params": PARAMS, "opt_state": optax.adam(1e-3).init(PARAMS), "step": 7}


def assert_params(loaded):
    assert loaded.keys() == PARAMS.keys()
    np.testing.assert_array_equal(loaded["dense"]["kernel"], np.arange(32.0).reshape(8, 4))
    np.testing.assert_array_equal(loaded["dense"]["bias"], np.full(3, 1.5, ml_dtypes.bfloat16))
    assert loaded["dense"]["bias"].dtype == ml_dtypes.bfloat16
    assert isinstance(loaded["layers"], list)
    np.testing.assert_array_equal(loaded["layers"][0], [0.0, 0.0])
    np.testing.assert_array_equal(loaded["layers"][1], [[0.25], [0.25]])
    np.testing.assert_array_equal(loaded["mlp/~/linear"]["w"], np.arange(5))
    assert loaded["scale"] == np.float32(0.1)
    assert isinstance(loaded["scale"], np.ndarray)


def save_manager(folder):
    with ocp.CheckpointManager(folder) as manager:
        for step in (20, 100):
            manager.save(step, args=ocp.args.StandardSave(STATE))
    return [20, 100]


def save_manager_with_items(folder):
    with ocp.CheckpointManager(folder, item_names=("params", "opt_state", "notes")) as manager:
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(PARAMS),
            opt_state=ocp.args.PyTreeSave(STATE["opt_state"]),
            notes=ocp.args.JsonSave({"seed": 1}),
        )
        manager.save(5, args=items)
    return [5]


def save_standard(folder):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "step_10", STATE)
        checkpointer.save(folder / "step_9", PARAMS)
    return [9, 10]


def save_pytree(folder):
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(folder / "checkpoint_3", STATE | {"name": "run"})
    return [3]


def save_pytree_without_database(folder):
    with ocp.PyTreeCheckpointer(use_ocdbt=False) as checkpointer:
        checkpointer.save(folder / "ckpt-4", STATE)
    return [4]


def save_v1(folder):
    v1.save(folder / "step_1", STATE)
    v1.save_checkpointables(folder / "step_2", {"params": PARAMS, "opt_state": STATE["opt_state"]})
    return [1, 2]


def save_v1_training(folder):
    with v1.training.Checkpointer(folder) as checkpointer:
        checkpointer.save(6, STATE)
    return [6]


WRITERS = [
    save_manager,
    save_manager_with_items,
    save_standard,
    save_pytree,
    save_pytree_without_database,
    save_v1,
    save_v1_training,
]


@pytest.mark.parametrize("save", WRITERS)
def test_every_writer_is_read_exactly_and_never_its_optimizer_state(tmp_path, save):
    steps = save(tmp_path)
    found = find_checkpoints(tmp_path)
    assert [(checkpoint.step, checkpoint.format) for checkpoint in found] == [
        (step, "orbax") for step in steps
    ]
    for checkpoint in found:
        assert_params(checkpoint.load())
        assert_params(checkpoint.load(template=PARAMS))


def test_params_key_selects_any_part(tmp_path):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "step_1", {"state": STATE})
    assert_params(open_checkpoint(tmp_path / "step_1").load())
    assert_params(open_checkpoint(tmp_path / "step_1", "state/params").load())
    mu = open_checkpoint(tmp_path / "step_1", "state/opt_state/0/mu/dense/kernel").load()
    np.testing.assert_array_equal(mu, np.zeros((8, 4)))
    assert open_checkpoint(tmp_path / "step_1", "step").load() == 7
    with pytest.raises(CheckpointError, match=r"there is no 'ema' among 'opt_state', 'params', 'step'"):
        open_checkpoint(tmp_path / "step_1", "state/ema").load()


def test_nnx_state_fits_the_model_it_came_from(tmp_path):
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.dense = nnx.Linear(2, 3, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)
            self.blocks = nnx.List([nnx.Linear(3, 3, rngs=rngs)])

    saved = nnx.state(Model(nnx.Rngs(0)))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "step_1", saved)
    template = nnx.state(Model(nnx.Rngs(1)), nnx.Param)
    fitted = open_checkpoint(tmp_path / "step_1").load(template)
    np.testing.assert_array_equal(fitted["dense"]["kernel"][...], saved["dense"]["kernel"][...])
    np.testing.assert_array_equal(fitted["blocks"][0]["kernel"][...], saved["blocks"][0]["kernel"][...])
    unlike: Any = template["dense"]["kernel"][...]
    assert not np.array_equal(fitted["dense"]["kernel"][...], unlike)
    whole = open_checkpoint(tmp_path / "step_1").load(nnx.state(Model(nnx.Rngs(1))))
    np.testing.assert_array_equal(whole["dense"]["bias"][...], saved["dense"]["bias"][...])


def test_unfinished_saves_are_passed_over(tmp_path):
    save_standard(tmp_path)
    shutil.copytree(tmp_path / "step_10", tmp_path / "step_11.orbax-checkpoint-tmp-17")
    shutil.copytree(tmp_path / "step_10", tmp_path / "12.orbax-checkpoint-tmp")
    (tmp_path / "13").mkdir()
    shutil.copytree(tmp_path / "step_10", tmp_path / "13" / "default.orbax-checkpoint-tmp-3")
    assert [checkpoint.step for checkpoint in find_checkpoints(tmp_path)] == [9, 10]


@pytest.mark.parametrize("save", [save_pytree, save_pytree_without_database, save_v1_training])
@pytest.mark.parametrize("length", ["gone", "empty", "half"])
def test_damage_is_told_or_harmless(tmp_path, save, length):
    [step] = save(tmp_path / "good")
    [good] = find_checkpoints(tmp_path / "good")
    told = {}
    for file in sorted(good.path.rglob("*")):
        relative = file.relative_to(good.path)
        if file.is_dir() or "opt_state" in str(relative):
            continue
        folder = tmp_path / "bad" / str(step)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(good.path, folder)
        if length == "gone":
            (folder / relative).unlink()
        else:
            os.truncate(folder / relative, file.stat().st_size // 2 if length == "half" else 0)
        try:
            loaded = open_checkpoint(folder).load()
        except CheckpointError as error:
            told[relative.name] = str(error)
        else:
            assert_params(loaded)
    start = f"Cannot read checkpoint '{tmp_path / 'bad' / str(step)}'"
    assert all(message.startswith(start) and "\n" not in message for message in told.values())
    assert "_METADATA" in told
    expected = {".zarray", "0.0"} if save is save_pytree_without_database else {"manifest.ocdbt"}
    assert expected <= told.keys()


def test_reading_works_inside_a_running_event_loop(tmp_path):
    import asyncio

    save_pytree(tmp_path)

    async def load():
        return find_checkpoints(tmp_path)[0].load()

    assert_params(asyncio.run(load()))


def test_fingerprint_survives_a_copy_and_follows_the_content(tmp_path):
    save_standard(tmp_path / "run")
    fingerprints = {c.step: c.fingerprint() for c in find_checkpoints(tmp_path / "run")}
    shutil.copytree(tmp_path / "run", tmp_path / "moved with space")
    moved = find_checkpoints(tmp_path / "moved with space")
    assert {c.step: c.fingerprint() for c in moved} == fingerprints
    assert fingerprints[9] != fingerprints[10]
    assert_params(moved[0].load())


def test_reading_warns_of_nothing(tmp_path, recwarn):
    save_pytree(tmp_path)
    recwarn.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_params(find_checkpoints(tmp_path)[0].load())
    assert not recwarn.list
