"""Orbax and Flax folders of other machines and years: more devices than here, layouts before metadata."""

import os
import shutil
import sys
from pathlib import Path

import flax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax.training import checkpoints, train_state

from lltc.checkpoints import find_checkpoints, open_checkpoint
from lltc.errors import CheckpointError
from tests.processes import ran

SAVE_ON_EIGHT_DEVICES = """
import sys, jax, numpy as np, optax, orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
assert len(jax.devices()) == 8
mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("x", "y"))
place = lambda array, *axes: jax.device_put(array, NamedSharding(mesh, PartitionSpec(*axes)))
params = {"w": place(np.arange(32.0).reshape(8, 4), "x", "y"), "b": place(np.ones(3))}
params["c"] = place(np.arange(8), "y")
opt_state = optax.adam(0.1).init(params)
with ocp.CheckpointManager(sys.argv[1] + "/one") as manager:
    manager.save(1, args=ocp.args.StandardSave({"params": params, "opt_state": opt_state}))
with ocp.CheckpointManager(sys.argv[1] + "/items") as manager:
    items = {"params": ocp.args.StandardSave(params), "opt_state": ocp.args.PyTreeSave(opt_state)}
    manager.save(1, args=ocp.args.Composite(**items))
with ocp.PyTreeCheckpointer(use_ocdbt=False) as checkpointer:
    checkpointer.save(sys.argv[1] + "/plain/1", {"params": params, "opt_state": opt_state})
"""
READ = """
import sys
from lltc.checkpoints import find_checkpoints
[checkpoint] = find_checkpoints(sys.argv[1])
print(checkpoint.load()["w"].sum(), "jax" in sys.modules)
"""
# Orbax ships checkpoints of its first layout as test data.
FIRST_LAYOUT = Path(orbax.checkpoint.__file__).parent / "testing"


@pytest.fixture(scope="module")
def saved_on_eight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eight")
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-c", SAVE_ON_EIGHT_DEVICES, str(folder)]
    ran(command, env=environment)
    return folder


@pytest.mark.parametrize("layout", ["one", "items", "plain"])
def test_a_run_saved_on_more_devices_is_read_whole(saved_on_eight, layout):
    [checkpoint] = find_checkpoints(saved_on_eight / layout)
    loaded = checkpoint.load()
    np.testing.assert_array_equal(loaded["w"], np.arange(32).reshape(8, 4))
    np.testing.assert_array_equal(loaded["b"], [1, 1, 1])
    np.testing.assert_array_equal(loaded["c"], np.arange(8))
    [checkpoint] = find_checkpoints(saved_on_eight / layout, params_key="opt_state/0/mu")
    np.testing.assert_array_equal(checkpoint.load()["w"], np.zeros((8, 4)))


def test_reading_takes_no_devices_at_all(saved_on_eight):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", READ, str(saved_on_eight / "one")]
    assert ran(command, env=environment).split() == ["496.0", "False"]


@pytest.mark.parametrize("layout", ["aggregate_some", "aggregate_all"])
@pytest.mark.parametrize("metadata", [True, False])
def test_the_first_layout_keeps_what_it_put_in_one_file(tmp_path, layout, metadata):
    shutil.copytree(FIRST_LAYOUT / f"{layout}.checkpoint", tmp_path / "checkpoint_10")
    if not metadata:
        (tmp_path / "checkpoint_10" / "_METADATA").unlink()
    [checkpoint] = find_checkpoints(tmp_path)
    assert (checkpoint.step, checkpoint.format) == (10, "orbax")
    loaded = checkpoint.load()
    np.testing.assert_array_equal(loaded["a"], np.arange(8))
    np.testing.assert_array_equal(loaded["b"], np.arange(16) * 2)
    np.testing.assert_array_equal(loaded["c"]["a"], np.arange(8).reshape(2, 4) * 3)
    np.testing.assert_array_equal(loaded["c"]["e"], np.arange(16).reshape(4, 4) * 4)


def test_damage_to_the_first_layout_is_told(tmp_path):
    shutil.copytree(FIRST_LAYOUT / "aggregate_some.checkpoint", tmp_path / "checkpoint_10")
    checkpoint = open_checkpoint(tmp_path / "checkpoint_10")
    shutil.rmtree(tmp_path / "checkpoint_10" / "a")
    with pytest.raises(CheckpointError, match=r"^Cannot read checkpoint '.*checkpoint_10'"):
        checkpoint.load()
    content = (tmp_path / "checkpoint_10" / "checkpoint").read_bytes()
    (tmp_path / "checkpoint_10" / "checkpoint").write_bytes(content[:-50])
    with pytest.raises(CheckpointError, match=r"^Cannot read checkpoint '.*checkpoint_10/checkpoint'"):
        checkpoint.load()


def test_tensorflow_folders_are_not_taken_for_orbax(tmp_path):
    (tmp_path / "1000").mkdir()
    for name in ("checkpoint", "ckpt-1.index", "ckpt-1.data-00000-of-00001"):
        (tmp_path / "1000" / name).write_bytes(b"")
    with pytest.raises(ValueError, match="holds no checkpoint that can be read"):
        find_checkpoints(tmp_path)


@pytest.mark.filterwarnings("ignore:Flax Checkpointing will soon be deprecated")
@pytest.mark.parametrize(("through_orbax", "kind"), [(False, "msgpack"), (True, "orbax")])
def test_train_states_of_flax_yield_params(tmp_path, through_orbax, kind):
    params = {"dense": {"kernel": jnp.arange(6.0).reshape(2, 3)}}
    state = train_state.TrainState.create(apply_fn=print, params=params, tx=optax.adam(1e-3))
    with flax.config.temp_flip_flag("use_orbax_checkpointing", through_orbax):
        for step in (9, 10):
            checkpoints.save_checkpoint(str(tmp_path), state, step=step, keep=5)
    found = find_checkpoints(tmp_path)
    assert [(checkpoint.step, checkpoint.format) for checkpoint in found] == [(9, kind), (10, kind)]
    np.testing.assert_array_equal(found[1].load()["dense"]["kernel"], np.arange(6).reshape(2, 3))
