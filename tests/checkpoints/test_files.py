"""npz and safetensors: exact round trips, foreign files, damage, malice."""

import json
import os
import pickle

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from lltc.checkpoints import open_checkpoint, save_npz, save_safetensors
from lltc.errors import CheckpointError, InputError

SAVERS = {"npz": save_npz, "safetensors": save_safetensors}
DTYPES = ["float64", "float32", "float16", "int64", "int32", "uint8", "bool"]
WIDE = [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]


def assert_same(left, right):
    assert isinstance(left, np.ndarray)
    assert left.dtype == right.dtype
    assert left.shape == right.shape
    assert left.tobytes() == np.asarray(right).tobytes()


@pytest.fixture(params=SAVERS)
def save(request, tmp_path):
    return lambda params: SAVERS[request.param](tmp_path / f"step_1.{request.param}", params)


@pytest.mark.parametrize("dtype", [*DTYPES, *WIDE])
def test_every_type_and_shape_survives(save, dtype):
    values = np.arange(12).reshape(3, 4)
    params = {
        "scalar": values[1, 2].astype(dtype),
        "matrix": values.astype(dtype).T,
        "empty": np.zeros((0, 3), dtype),
    }
    loaded = open_checkpoint(save(params)).load()
    assert loaded.keys() == params.keys()
    for name, array in params.items():
        assert_same(loaded[name], array)


def test_nested_names_survive_with_their_dots_and_odd_spellings(save):
    params = {
        "file": {"allow_pickle": jnp.ones(2)},
        "h.0": {"ln w": np.zeros(1)},
        "list": [np.ones(1), np.zeros(2)],
    }
    path = save(params)
    loaded = open_checkpoint(path).load()
    assert set(loaded) == {"file", "h.0", "list"}
    np.testing.assert_array_equal(loaded["file"]["allow_pickle"], [1.0, 1.0])
    np.testing.assert_array_equal(loaded["h.0"]["ln w"], [0.0])
    fitted = open_checkpoint(path).load(template=params)
    assert isinstance(fitted["list"], list)
    np.testing.assert_array_equal(fitted["list"][1], [0.0, 0.0])


def test_a_bare_array_survives(save):
    np.testing.assert_array_equal(open_checkpoint(save(np.arange(4.0))).load(), [0.0, 1.0, 2.0, 3.0])


def test_foreign_files_nest_at_dots_or_slashes(tmp_path):
    slashes: dict = {"a/w": np.ones(2), "a/b.c": np.zeros(1)}
    np.savez(tmp_path / "step_1.npz", **slashes)
    assert set(open_checkpoint(tmp_path / "step_1.npz").load()["a"]) == {"w", "b.c"}
    dots: dict = {"h.0.w": np.ones(2)}
    np.savez_compressed(tmp_path / "step_2.npz", **dots)
    assert list(open_checkpoint(tmp_path / "step_2.npz").load()["h"]["0"]) == ["w"]
    safetensors.numpy.save_file({"w": np.ones(2), "w.scale": np.zeros(1)}, tmp_path / "step_3.safetensors")
    assert set(open_checkpoint(tmp_path / "step_3.safetensors").load()) == {"w", "w.scale"}


def test_training_states_yield_params_and_never_the_optimizer(save):
    state = {"params": {"w": np.ones(2)}, "opt_state": [{"mu": np.zeros(2)}], "step": np.int64(3)}
    path = save(state)
    assert list(open_checkpoint(path).load()) == ["w"]
    np.testing.assert_array_equal(open_checkpoint(path, "opt_state/0/mu").load(), [0.0, 0.0])
    with pytest.raises(
        CheckpointError, match=r"no params_key 'model': there is no 'model' among 'opt_state', 'p"
    ):
        open_checkpoint(path, "model").load()
    path = save({"state": state})
    assert list(open_checkpoint(path).load()) == ["w"]
    assert list(open_checkpoint(path, "state/params").load()) == ["w"]
    path = save({"model": {"w": np.ones(2)}, "optimizer": {"w": np.zeros(2)}})
    np.testing.assert_array_equal(open_checkpoint(path).load()["w"], [1.0, 1.0])
    path = save({"state_dict": {"w": np.ones(2)}, "epoch": np.int64(3)})
    np.testing.assert_array_equal(open_checkpoint(path).load()["w"], [1.0, 1.0])
    path = save({"model": {"w": np.ones(2)}, "key": {"w": np.zeros(2)}})
    assert set(open_checkpoint(path).load()) == {"model", "key"}
    path = save({"backbone": {"w": np.ones(2)}, "opt_state": {"w": np.zeros(2)}})
    with pytest.raises(CheckpointError, match=r"not named 'params'; pass params_key"):
        open_checkpoint(path).load()


def test_a_model_with_batch_statistics_keeps_them(save):
    loaded = open_checkpoint(save({"params": {"w": np.ones(2)}, "batch_stats": {"mean": np.zeros(2)}})).load()
    assert set(loaded) == {"params", "batch_stats"}


def test_nameless_bytes_are_refused(tmp_path):
    np.savez(tmp_path / "step_1.npz", w=np.ones(3).view("V8"))
    with pytest.raises(CheckpointError, match=r"array 'w' is raw bytes whose type was not recorded"):
        open_checkpoint(tmp_path / "step_1.npz").load()


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["LLTC_BOMB"],)


def test_nothing_is_ever_unpickled(tmp_path, monkeypatch):
    monkeypatch.setenv("LLTC_BOMB", str(tmp_path / "exploded"))
    objects = np.array([Bomb()], dtype=object)
    np.savez(tmp_path / "step_1.npz", w=objects, v=np.ones(2))
    (tmp_path / "step_2.npz").write_bytes(pickle.dumps(Bomb()))
    np.save(tmp_path / "step_3.npy", objects)
    (tmp_path / "step_3.npy").rename(tmp_path / "step_3.npz")
    (tmp_path / "step_4.safetensors").write_bytes(pickle.dumps(Bomb()))
    for name in ("step_1.npz", "step_2.npz", "step_3.npz", "step_4.safetensors"):
        with pytest.raises(CheckpointError, match=name):
            open_checkpoint(tmp_path / name).load()
    assert not (tmp_path / "exploded").exists()


def test_a_lone_array_is_not_an_archive(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(2))
    (tmp_path / "a.npy").rename(tmp_path / "step_1.npz")
    with pytest.raises(CheckpointError, match=r"it is not a \.npz archive"):
        open_checkpoint(tmp_path / "step_1.npz").load()


@pytest.mark.parametrize("suffix", SAVERS)
def test_every_truncation_is_told(tmp_path, suffix):
    path = SAVERS[suffix](tmp_path / f"step_1.{suffix}", {"a": {"w": np.arange(8.0)}, "b": np.ones(3)})
    content = path.read_bytes()
    for length in range(0, len(content), 11):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError) as caught:
            open_checkpoint(path).load()
        message = str(caught.value)
        assert message.startswith(f"Cannot read checkpoint '{path}'")
        assert "\n" not in message


@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_a_flipped_bit_in_an_archive_is_told_or_harmless(tmp_path_factory, position, bit):
    path = tmp_path_factory.getbasetemp() / "flipped" / "step_1.npz"
    save_npz(path, {"w": np.arange(8.0)})
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1 << bit
    path.write_bytes(content)
    told, loaded = None, {}
    try:
        loaded = open_checkpoint(path).load()
    except CheckpointError as error:
        told = str(error)
    harmless = [array.tolist() for array in loaded.values()] == [list(range(8))]
    assert harmless if told is None else "step_1.npz" in told


def test_shards_are_read_through_their_index(tmp_path):
    folder = tmp_path / "checkpoint-7"
    folder.mkdir()
    shards = {
        "model-00001-of-00002.safetensors": {"h.0.w": np.ones(2)},
        "model-00002-of-00002.safetensors": {"h.1.w": np.zeros(2)},
    }
    for name, arrays in shards.items():
        safetensors.numpy.save_file(arrays, folder / name)
    weight_map = {array: name for name, arrays in shards.items() for array in arrays}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    checkpoint = open_checkpoint(folder)
    assert (checkpoint.step, checkpoint.format) == (7, "safetensors")
    loaded = checkpoint.load()
    np.testing.assert_array_equal(loaded["h"]["0"]["w"], [1.0, 1.0])
    np.testing.assert_array_equal(loaded["h"]["1"]["w"], [0.0, 0.0])
    before = checkpoint.fingerprint()
    safetensors.numpy.save_file({"h.2.w": np.zeros(2)}, folder / "model-00002-of-00002.safetensors")
    assert checkpoint.fingerprint() != before
    with pytest.raises(
        CheckpointError, match=r"names 1 arrays its shards do not hold, the first being 'h\.1\.w'"
    ):
        checkpoint.load()
    twice = {"h.1.w": np.zeros(2), "h.0.w": np.zeros(2)}
    safetensors.numpy.save_file(twice, folder / "model-00002-of-00002.safetensors")
    with pytest.raises(CheckpointError, match=r"several of its shards hold 'h\.0\.w', as where two savings"):
        checkpoint.load()
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00002"):
        checkpoint.load()


def test_lost_arrays_are_told(tmp_path):
    path = save_npz(tmp_path / "step_1.npz", {"a": np.ones(1), "b": np.zeros(1)})
    with np.load(path) as archive:
        kept: dict = {name: archive[name] for name in archive.files if name != "b"}
    np.savez(path, **kept)
    with pytest.raises(CheckpointError, match=r"its array 'b' is lost"):
        open_checkpoint(path).load()
    np.savez(path)
    with pytest.raises(CheckpointError, match=r"it holds no array"):
        open_checkpoint(path).load()


def test_a_save_that_fails_leaves_the_old_file_and_no_debris(tmp_path, monkeypatch):
    path = save_npz(tmp_path / "step_1.npz", {"w": np.ones(2)})
    before = path.read_bytes()

    def fail(*_args, **_kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(InputError, match=r"cannot be written \(disk full\); make room there"):
        save_npz(path, {"w": np.zeros(2)})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["step_1.npz"]


def test_what_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"writes files whose name ends in \.npz"):
        save_npz(tmp_path / "a.bin", {"w": np.ones(2)})
    with pytest.raises(InputError, match="'f', which is not an array of numbers"):
        save_npz(tmp_path / "a.npz", {"f": print})
    with pytest.raises(InputError, match="'w' of type complex128, which safetensors cannot store"):
        save_safetensors(tmp_path / "a.safetensors", {"w": np.ones(2, complex)})
