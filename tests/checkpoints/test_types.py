"""The narrow floats in every format: kept exactly where the format can name them, refused where it cannot."""

import equinox as eqx
import flax.serialization
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.flax

from lltc.checkpoints import fit_params, open_checkpoint, save_npz, save_safetensors
from lltc.errors import CheckpointError

FLOAT8 = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]
NARROW = ["bfloat16", *FLOAT8]
VALUES = [1.0, -2.0, 0.375]


def save_orbax(path, params):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, params)


WRITERS = {
    "step_1.npz": save_npz,
    "step_1.safetensors": save_safetensors,
    "step_2.safetensors": lambda path, params: safetensors.flax.save_file(params, path),
    "step_1.msgpack": lambda path, params: path.write_bytes(flax.serialization.to_bytes(params)),
    "step_1": save_orbax,
}


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", WRITERS)
def test_narrow_floats_survive(tmp_path, name, dtype):
    WRITERS[name](tmp_path / name, {"w": jnp.array(VALUES).astype(dtype)})
    loaded = open_checkpoint(tmp_path / name).load()["w"]
    assert loaded.dtype == getattr(ml_dtypes, dtype)
    np.testing.assert_array_equal(loaded.astype(np.float32), VALUES)
    widened = fit_params({"w": loaded}, {"w": jax.ShapeDtypeStruct((3,), np.float32)})["w"]
    np.testing.assert_array_equal(widened, np.array(VALUES, np.float32), strict=True)


@pytest.mark.parametrize("dtype", NARROW)
def test_archives_of_numpy_lose_the_type_and_are_refused(tmp_path, dtype):
    narrow: dict = {"w": np.array(VALUES).astype(dtype)}
    np.savez(tmp_path / "step_1.npz", **narrow)
    with pytest.raises(
        CheckpointError, match=r"type was not recorded.*save it (with|as)|without its type; save"
    ):
        open_checkpoint(tmp_path / "step_1.npz").load()


def test_equinox_keeps_bfloat16(tmp_path):
    eqx.tree_serialise_leaves(tmp_path / "step_1.eqx", {"w": jnp.array(VALUES, jnp.bfloat16)})
    loaded = open_checkpoint(tmp_path / "step_1.eqx").load({"w": jnp.zeros(3, jnp.bfloat16)})["w"]
    assert loaded.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(loaded.astype(np.float32), VALUES)


@pytest.mark.parametrize("dtype", FLOAT8)
def test_equinox_loses_float8_and_is_refused(tmp_path, dtype):
    eqx.tree_serialise_leaves(tmp_path / "step_1.eqx", {"w": jnp.array(VALUES).astype(dtype)})
    with pytest.raises(CheckpointError, match=r"float8.*save it as safetensors\.$"):
        open_checkpoint(tmp_path / "step_1.eqx").load({"w": jnp.zeros(3).astype(dtype)})
