"""Files made to run code when read: none does, whatever the format. (PyTorch's have a file of their own.)"""

import os
import pickle

import flax.serialization
import jax.numpy as jnp
import msgpack
import numpy as np
import pytest

from lltc.checkpoints import find_checkpoints, open_checkpoint
from lltc.errors import CheckpointError, InputError


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ.get("LLTC_BOMB", "exploded"),)


@pytest.fixture
def exploded(tmp_path, monkeypatch):
    monkeypatch.setenv("LLTC_BOMB", str(tmp_path / "exploded"))
    pickle.loads(pickle.dumps(Bomb()))  # the bomb works
    (tmp_path / "exploded").rmdir()
    return (tmp_path / "exploded").exists


def write_archive(path):
    np.savez(path, w=np.array([Bomb()], dtype=object), v=np.ones(2))


def write_lone_array(path):
    with path.open("wb") as handle:
        np.save(handle, np.array([Bomb()], dtype=object))


def write_pickle(path):
    path.write_bytes(pickle.dumps({"w": Bomb()}))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("step_1.npz", write_archive),
        ("step_1.npz", write_lone_array),
        ("step_1.eqx", write_lone_array),
        *(
            (f"step_1.{suffix}", write_pickle)
            for suffix in ("npz", "safetensors", "msgpack", "eqx", "pt", "ckpt")
        ),
        ("checkpoint_1", write_pickle),
    ],
)
def test_nothing_is_ever_unpickled(tmp_path, exploded, name, write):
    write(tmp_path / name)
    with pytest.raises(CheckpointError, match=rf"^(Cannot read c|C)heckpoint '.*{name}'.*\.$"):
        open_checkpoint(tmp_path / name).load({"w": np.zeros(1), "v": np.zeros(2)})
    assert not exploded()


@pytest.mark.parametrize("name", ["step_1.pkl", "params.pickle"])
def test_pickles_are_no_checkpoints(tmp_path, exploded, name):
    write_pickle(tmp_path / name)
    for find in (find_checkpoints, lambda folder: open_checkpoint(folder / name)):
        with pytest.raises(
            InputError, match=r"pickles are never read, as that runs the code they carry: save"
        ):
            find(tmp_path)
    assert not exploded()


def array_of(dtype, payload, shape=(1,)):
    return msgpack.packb((shape, dtype, payload))


@pytest.mark.parametrize(
    ("code", "payload"),
    [
        (1, array_of("object", pickle.dumps(Bomb()))),
        (1, array_of("O", bytes(8))),
        (3, array_of([["a", "O"]], bytes(8))),
        (1, array_of("float32", bytes(4), (2**40,))),
        (2, msgpack.packb(["1", "2"])),
        (1, pickle.dumps(Bomb())),
        (42, pickle.dumps(Bomb())),
    ],
)
def test_extensions_of_msgpack_are_arrays_or_refused(tmp_path, exploded, code, payload):
    content = {"w": msgpack.ExtType(code, payload), "v": msgpack.ExtType(1, array_of("float32", bytes(4)))}
    (tmp_path / "step_1.msgpack").write_bytes(msgpack.packb(content) or b"")
    with pytest.raises(CheckpointError, match=r"^Cannot read checkpoint '.*step_1\.msgpack'.*\.$"):
        open_checkpoint(tmp_path / "step_1.msgpack").load()
    assert not exploded()


def test_arrays_that_flax_splits_are_put_together(tmp_path, monkeypatch):
    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", 16)
    params = {"w": jnp.arange(30.0).reshape(5, 6), "b": jnp.ones(2), "n": 3, "z": 1 + 2j}
    (tmp_path / "step_1.msgpack").write_bytes(flax.serialization.to_bytes(params))
    loaded = open_checkpoint(tmp_path / "step_1.msgpack").load()
    np.testing.assert_array_equal(loaded["w"], np.arange(30.0).reshape(5, 6))
    np.testing.assert_array_equal(loaded["b"], [1, 1])
    assert (loaded["n"], loaded["z"]) == (3, 1 + 2j)
