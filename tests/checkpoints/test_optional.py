"""Files of Flax, Equinox and PyTorch."""

import json
import sys

import equinox as eqx
import flax.serialization
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

from lltc.checkpoints import find_checkpoints, open_checkpoint
from lltc.errors import CheckpointError, InputError

PARAMS = {"dense": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.full(3, 1.5, jnp.bfloat16)}}


ONE_LEAF = {
    "w": {"key_metadata": [{"key": "w", "key_type": 2}], "value_metadata": {"value_type": "np.ndarray"}}
}


def write_msgpack(path, state):
    path.write_bytes(flax.serialization.to_bytes(state))
    return open_checkpoint(path)


def test_msgpack_yields_params_exactly_and_never_the_optimizer(tmp_path):
    state = {"params": PARAMS, "opt_state": optax.adam(1e-3).init(PARAMS), "step": 7, "name": "run"}
    for name in ("step_7.msgpack", "checkpoint_7"):
        checkpoint = write_msgpack(tmp_path / name, state)
        assert (checkpoint.step, checkpoint.format) == (7, "msgpack")
        loaded = checkpoint.load()
        assert loaded.keys() == {"dense"}
        np.testing.assert_array_equal(loaded["dense"]["kernel"], np.arange(6.0).reshape(2, 3))
        np.testing.assert_array_equal(loaded["dense"]["bias"], np.full(3, 1.5, ml_dtypes.bfloat16))
    assert open_checkpoint(tmp_path / "checkpoint_7", "step").load() == 7
    assert "name" not in open_checkpoint(tmp_path / "checkpoint_7", "").load()


def test_msgpack_lists_fit_their_template(tmp_path):
    params = [jnp.zeros(2), (jnp.ones(3),)]
    fitted = write_msgpack(tmp_path / "step_1.msgpack", params).load(params)
    np.testing.assert_array_equal(fitted[1][0], [1.0, 1.0, 1.0])


def test_truncated_msgpack_is_told(tmp_path):
    checkpoint = write_msgpack(tmp_path / "step_1.msgpack", PARAMS)
    content = checkpoint.path.read_bytes()
    for length in range(0, len(content), 7):
        checkpoint.path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"^Cannot read checkpoint '.*step_1\.msgpack'"):
            checkpoint.load()


def make_model(seed):
    return {"mlp": eqx.nn.MLP(2, 1, 4, 1, key=jax.random.key(seed)), "dropout": eqx.nn.Dropout(0.25)}


def test_equinox_model_comes_back_whole(tmp_path):
    model, x = make_model(0), jnp.array([0.3, -0.7])
    eqx.tree_serialise_leaves(tmp_path / "step_1.eqx", model)
    with (tmp_path / "step_2.eqx").open("wb") as handle:
        handle.write((json.dumps({"width": 4}) + "\n").encode())
        eqx.tree_serialise_leaves(handle, model)
    for checkpoint in find_checkpoints(tmp_path):
        restored = checkpoint.load(make_model(1))
        np.testing.assert_array_equal(restored["mlp"](x), model["mlp"](x))
        assert restored["dropout"].p == 0.25


def test_equinox_bfloat16_survives(tmp_path):
    saved = {"w": jnp.arange(3, dtype=jnp.bfloat16)}
    eqx.tree_serialise_leaves(tmp_path / "step_1.eqx", saved)
    loaded = open_checkpoint(tmp_path / "step_1.eqx").load({"w": jnp.zeros(3, jnp.bfloat16)})
    assert loaded["w"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(loaded["w"], [0, 1, 2])


def test_equinox_misfits_and_damage_are_told(tmp_path):
    eqx.tree_serialise_leaves(tmp_path / "step_1.eqx", make_model(0))
    checkpoint = open_checkpoint(tmp_path / "step_1.eqx")
    with pytest.raises(InputError, match="records no names; pass template"):
        checkpoint.load()
    with pytest.raises(CheckpointError, match="stores 6 arrays but the template has 1"):
        checkpoint.load({"w": jnp.zeros(2)})
    wider = {"mlp": eqx.nn.MLP(2, 1, 5, 1, key=jax.random.key(0)), "dropout": eqx.nn.Dropout(0.25)}
    with pytest.raises(CheckpointError, match=r"mlp/layers/0/weight \(4, 2\)  mlp/layers/0/weight \(5, 2\)"):
        checkpoint.load(wider)
    content = checkpoint.path.read_bytes()
    for length in range(0, len(content), 31):
        checkpoint.path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"step_1\.eqx'"):
            checkpoint.load(make_model(0))


def test_a_missing_library_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    (tmp_path / "step_1").mkdir()
    (tmp_path / "step_1" / "_METADATA").write_text(json.dumps({"tree_metadata": ONE_LEAF}))
    [checkpoint] = find_checkpoints(tmp_path)
    with pytest.raises(InputError, match=r"install it with: pip install orbax-checkpoint$"):
        checkpoint.load()


def test_flax_files_need_no_library(tmp_path, monkeypatch):
    checkpoint = write_msgpack(tmp_path / "step_1.msgpack", PARAMS)
    for module in ("msgpack", "flax"):
        monkeypatch.setitem(sys.modules, module, None)
    np.testing.assert_array_equal(checkpoint.load()["dense"]["kernel"], np.arange(6.0).reshape(2, 3))


def test_torch_files_of_settings_beside_checkpoints_are_passed_over(tmp_path):
    for name in ("step_1.msgpack", "step_2.msgpack"):
        write_msgpack(tmp_path / name, PARAMS)
    (tmp_path / "training_args.bin").write_bytes(b"")
    assert [checkpoint.step for checkpoint in find_checkpoints(tmp_path)] == [1, 2]
