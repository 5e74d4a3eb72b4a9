"""Remote folders through fsspec: the same checkpoints and fingerprints as in a local folder."""

import sys

import flax.serialization
import numpy as np
import orbax.checkpoint as ocp
import pytest
from upath import UPath

from lltc.checkpoints import find_checkpoints, open_checkpoint, save_npz, save_safetensors
from lltc.checkpoints.remote import as_path
from lltc.errors import CheckpointError, InputError

SAVERS = {"npz": save_npz, "safetensors": save_safetensors}


@pytest.fixture
def memory():
    root = UPath("memory://lltc-tests")
    yield root
    root.fs.rm(root.path, recursive=True)


def upload(local, remote):
    remote.mkdir(parents=True, exist_ok=True)
    remote.fs.put(f"{local}/", f"{remote.path}/", recursive=True)


def params_of(step):
    return {"w": np.full(3, step, np.float32), "b": {"c": np.arange(2.0)}}


def save_files(folder, suffix):
    for step in (1, 20, 3):
        SAVERS[suffix](folder / f"step_{step}.{suffix}", params_of(step))


def save_flax(folder):
    folder.mkdir()
    for step in (1, 20, 3):
        (folder / f"step_{step}.msgpack").write_bytes(flax.serialization.to_bytes(params_of(step)))


def save_orbax(folder):
    with ocp.CheckpointManager(folder) as manager:
        for step in (1, 20, 3):
            manager.save(step, args=ocp.args.StandardSave(params_of(step)), force=True)


def save_folders(folder):
    for step in (1, 20, 3):
        save_safetensors(folder / f"checkpoint-{step}" / "model.safetensors", params_of(step))


WRITERS = {
    "npz": lambda folder: save_files(folder, "npz"),
    "safetensors": lambda folder: save_files(folder, "safetensors"),
    "folders": save_folders,
    "msgpack": save_flax,
    "orbax": save_orbax,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_remote_folder_is_read_like_a_local_one(tmp_path, memory, kind):
    WRITERS[kind](tmp_path / "run")
    upload(tmp_path / "run", memory / "run")
    here = find_checkpoints(tmp_path / "run")
    for folder in ("memory://lltc-tests/run", memory / "run"):
        there = find_checkpoints(folder)
        assert [(c.step, c.format) for c in there] == [(c.step, c.format) for c in here]
        assert [c.step for c in there] == [1, 3, 20]
        assert there[2].fingerprint() == here[2].fingerprint()
        loaded = there[2].load()
        np.testing.assert_array_equal(loaded["w"], [20, 20, 20])
        np.testing.assert_array_equal(loaded["b"]["c"], [0, 1])


def test_a_loader_is_given_a_local_copy(memory):
    memory.mkdir(parents=True)
    (memory / "step_7.txt").write_text("1 2 3")
    [checkpoint] = find_checkpoints(memory, loader=np.loadtxt)
    np.testing.assert_array_equal(checkpoint.load(), [1, 2, 3])


def test_remote_trouble_is_told_with_the_remote_name(tmp_path, memory):
    memory.mkdir(parents=True)
    with pytest.raises(InputError, match=r"folder 'memory://lltc-tests/none' does not exist"):
        find_checkpoints("memory://lltc-tests/none")
    with pytest.raises(InputError, match=r"holds no checkpoint .* it holds nothing\.$"):
        find_checkpoints(memory)
    save_files(tmp_path / "run", "npz")
    upload(tmp_path / "run", memory)
    with pytest.raises(InputError, match=r"is a file, not a folder"):
        find_checkpoints(memory / "step_1.npz")
    checkpoint = open_checkpoint(memory / "step_1.npz")
    (memory / "step_1.npz").write_bytes((memory / "step_1.npz").read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"^Cannot read checkpoint 'memory://lltc-tests/step_1\.npz'"):
        checkpoint.load()
    (memory / "step_1.npz").unlink()
    with pytest.raises(
        CheckpointError, match=r"^Cannot fetch checkpoint 'memory://lltc-tests/step_1\.npz' \("
    ):
        checkpoint.load()


def test_missing_libraries_are_named_with_their_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"^Reading 's3://b/run' needs a library; .*: pip install s3fs$"):
        find_checkpoints("s3://b/run")
    monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(InputError, match=r"install it with: pip install universal-pathlib gcsfs$"):
        find_checkpoints("gs://b/run")


def test_unknown_addresses_and_other_things_are_refused():
    with pytest.raises(InputError, match=r"'ssshh://b/run' is of no kind fsspec knows"):
        find_checkpoints("ssshh://b/run")
    with pytest.raises(InputError, match=r"path is a int, but must be a path or a URL"):
        find_checkpoints(3)  # pyright: ignore[reportArgumentType]


def test_local_addresses_stay_local(tmp_path):
    save_files(tmp_path, "npz")
    assert as_path(f"file://{tmp_path}") == tmp_path
    assert [checkpoint.step for checkpoint in find_checkpoints(f"file://{tmp_path}")] == [1, 3, 20]
