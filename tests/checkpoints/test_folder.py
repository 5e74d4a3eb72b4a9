"""Folders of checkpoints: found, ordered, named, refused; fingerprints."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lltc.checkpoints import (
    Saver,
    TorchSaver,
    find_checkpoints,
    open_checkpoint,
    save_npz,
    save_safetensors,
)
from lltc.errors import CheckpointError, InputError


def fill(folder, *names):
    for name in names:
        save = save_safetensors if name.endswith(".safetensors") else save_npz
        save(folder / name, {"w": np.arange(3.0)})


def refusal(call, *args):
    with pytest.raises(InputError) as caught:
        call(*args)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def test_checkpoints_are_ordered_by_number_not_by_name(tmp_path):
    fill(tmp_path, "step_9.npz", "step_10.npz", "step_100.npz", "step_0.npz")
    found = find_checkpoints(tmp_path, params_key="w")
    assert [checkpoint.step for checkpoint in found] == [0, 9, 10, 100]
    assert [checkpoint.path.name for checkpoint in found][:2] == ["step_0.npz", "step_9.npz"]
    assert {checkpoint.format for checkpoint in found} == {"npz"}
    np.testing.assert_array_equal(found[0].load(), np.arange(3.0))


def test_aliases_hidden_and_unfinished_entries_are_passed_over(tmp_path):
    fill(tmp_path, "step_1.npz", "best.npz", "last.npz", "last-v1.npz", "model_best-v12.npz", ".step_2.npz")
    fill(tmp_path, "step_3.tmp.npz", "tmp-step_4.npz")
    (tmp_path / "latest").symlink_to(tmp_path / "step_1.npz")
    (tmp_path / "step_9.npz").symlink_to(tmp_path / "gone.npz")
    for name in ("step_5.npz.tmp", "step_6.npz.part", "step_7.npz.incomplete", "step_8.npz~"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "7.orbax-checkpoint-tmp-123").mkdir()
    (tmp_path / "7.orbax-checkpoint-tmp-123" / "_METADATA").write_text("{}")
    (tmp_path / "log_5.txt").write_text("loss")
    assert [checkpoint.step for checkpoint in find_checkpoints(tmp_path)] == [1]


def test_trainer_output_keeps_its_final_model_beside_the_numbered_ones(tmp_path):
    for step in (500, 1000):
        fill(tmp_path / f"checkpoint-{step}", "model.safetensors")
    fill(tmp_path, "model.safetensors")
    found = find_checkpoints(tmp_path)
    assert [(c.step, c.format, c.path.name) for c in found] == [
        (500, "safetensors", "checkpoint-500"),
        (1000, "safetensors", "checkpoint-1000"),
    ]
    np.testing.assert_array_equal(found[1].load()["w"], np.arange(3.0))


def test_the_one_file_in_a_numbered_folder_is_its_checkpoint(tmp_path):
    fill(tmp_path / "1000", "params.npz")
    fill(tmp_path / "step_20", "model_step_20.npz")
    fill(tmp_path / "data", "train.npz")
    (tmp_path / "1000" / "notes.txt").write_text("x")
    found = find_checkpoints(tmp_path)
    assert [(checkpoint.step, checkpoint.format) for checkpoint in found] == [(20, "npz"), (1000, "npz")]
    before = found[0].fingerprint()
    np.testing.assert_array_equal(found[0].load()["w"], np.arange(3.0))
    (tmp_path / "step_20" / "notes.txt").write_text("x")
    assert found[0].fingerprint() == before
    (tmp_path / "step_20" / "model_step_20.npz").unlink()
    with pytest.raises(CheckpointError, match=r"^Cannot read checkpoint '.*step_20': its weights are gone"):
        found[0].load()


def test_a_run_in_a_numbered_folder_is_no_checkpoint(tmp_path):
    """`run_1` holds steps 1 and 2, of which the first has the folder's own number."""
    fill(tmp_path / "run_1", "step_1.npz", "step_2.npz")
    fill(tmp_path / "run_2", "step_1.npz", "step_2.npz")
    assert "it holds 'run_1', 'run_2'" in refusal(find_checkpoints, tmp_path)
    assert [checkpoint.step for checkpoint in find_checkpoints(tmp_path / "run_1")] == [1, 2]


@pytest.mark.parametrize("other", ["best.npz", "last.npz", "ema.npz"])
def test_a_run_with_its_best_in_a_numbered_folder_is_no_checkpoint(tmp_path, other):
    for run in ("run_1", "run_2"):
        fill(tmp_path / run, "model_1000.npz", "model_2000.npz", other)
    assert "it holds 'run_1', 'run_2'" in refusal(find_checkpoints, tmp_path)


def test_a_shard_alone_is_no_checkpoint(tmp_path):
    fill(tmp_path / "checkpoint-500", "model-00001-of-00002.npz")
    fill(tmp_path / "checkpoint-600", "model-00001-of-00001.npz")
    first, second = find_checkpoints(tmp_path)
    with pytest.raises(CheckpointError, match=r"'model-00001-of-00002\.npz', but no index\.json that tells"):
        first.load()
    assert second.load().keys() == {"w"}


@pytest.mark.parametrize("name", ["step_1_000.pt", "checkpoint_3_15000.pt", "step_1.5.pt"])
def test_a_step_that_cannot_be_told_is_never_left_out(tmp_path, name):
    for each in ("step_1.pt", "step_10.pt", name):
        (tmp_path / each).write_bytes(b"not read")
    assert f"holds the checkpoint '{name}', whose name carries no step" in refusal(find_checkpoints, tmp_path)


def test_a_long_name_takes_no_time(tmp_path):
    fill(tmp_path, "step_1.npz")
    (tmp_path / ("optimizer" + "1" * 200)).write_bytes(b"")
    assert [checkpoint.step for checkpoint in find_checkpoints(tmp_path)] == [1]


def test_an_adapter_may_stand_beside_its_checkpoints(tmp_path):
    for folder in ("checkpoint-500", "checkpoint-1000", "."):
        save_safetensors(tmp_path / folder / "adapter_model.safetensors", {"w": np.ones(2)})
    assert [checkpoint.step for checkpoint in find_checkpoints(tmp_path)] == [500, 1000]


def test_shards_of_a_trainer_are_named_one_folder_deeper(tmp_path):
    (tmp_path / "checkpoint-5" / "pytorch_model_fsdp_0").mkdir(parents=True)
    (tmp_path / "checkpoint-5" / "pytorch_model_fsdp_0" / "__0_0.distcp").write_bytes(b"")
    assert "make a .pt file of it with dcp_to_torch_save" in refusal(find_checkpoints, tmp_path)


def test_arguments_of_another_kind_are_refused(tmp_path):
    fill(tmp_path, "step_1.npz")
    number: Any = 5
    for call, sentence in (
        (partial(find_checkpoints, tmp_path, ignore=number), "ignore is 5, but must be globs"),
        (partial(find_checkpoints, tmp_path, params_key=number), "params_key is 5, but must name"),
        (partial(Saver, tmp_path, number), "steps is 5, but must be the steps"),
        (partial(TorchSaver, tmp_path, number), "steps is 5, but must be the steps"),
    ):
        assert sentence in refusal(call)


def test_what_a_trainer_keeps_to_go_on_is_no_checkpoint(tmp_path):
    fill(tmp_path, "step_10.npz", "rng_state_0.npz", "optimizer_10.npz", "random_states_1.safetensors")
    fill(tmp_path / "step_20", "weights.npz", "rng_state_0.npz", "optimizer_state_dict.npz")
    fill(tmp_path / "step_30", "weights_30.npz", "other_0.npz")
    assert [checkpoint.step for checkpoint in find_checkpoints(tmp_path)] == [10, 20, 30]
    fill(tmp_path / "networks", "optimizer_network_1.npz", "sampler-of-words_2.npz")
    assert [checkpoint.step for checkpoint in find_checkpoints(tmp_path / "networks")] == [1, 2]


def test_a_loader_reads_what_lltc_does_not_know(tmp_path):
    for step in (100, 20):
        np.savetxt(tmp_path / f"weights_{step}.txt", [step, 1.0])
    (tmp_path / "run_3").mkdir()
    np.savetxt(tmp_path / "run_3" / "w.csv", [3.0, 1.0])
    (tmp_path / "readme.txt").write_text("no step")
    (tmp_path / "weights_500.txt.tmp").write_text("half")

    def load(path):
        return {"net": {"w": np.loadtxt(path / "w.csv" if path.is_dir() else path)}}

    found = find_checkpoints(tmp_path, loader=load)
    assert [(checkpoint.step, checkpoint.format) for checkpoint in found] == [
        (3, "loader"),
        (20, "loader"),
        (100, "loader"),
    ]
    assert [checkpoint.load()["net"]["w"][0] for checkpoint in found] == [3, 20, 100]
    assert found[1].load(template={"w": np.zeros(2, np.float32)})["w"].dtype == np.float32
    [*_, last] = find_checkpoints(tmp_path, loader=load, params_key="net/w")
    np.testing.assert_array_equal(last.load(), [100, 1])
    assert open_checkpoint(tmp_path / "readme.txt", loader=lambda path: path.read_text()).load() == "no step"
    before = found[0].fingerprint()
    np.savetxt(tmp_path / "run_3" / "w.csv", [4.0, 1.0])
    assert found[0].fingerprint() != before


def test_a_loader_that_fails_is_told_with_its_reason(tmp_path):
    (tmp_path / "step_1.txt").write_text("x")
    [checkpoint] = find_checkpoints(tmp_path, loader=lambda path: {}[path.stem])
    with pytest.raises(CheckpointError, match=r"step_1\.txt': loader raised KeyError: 'step_1'\.$"):
        checkpoint.load()
    (tmp_path / "step_1.txt").rename(tmp_path / "notes.txt")
    message = refusal(lambda folder: find_checkpoints(folder, loader=np.load), tmp_path)
    assert message.endswith("holds no name with a step; it holds 'notes.txt'.")


def test_missing_empty_and_unreadable_folders_are_told_apart(tmp_path):
    assert "does not exist" in refusal(find_checkpoints, tmp_path / "none")
    assert "it holds nothing" in refusal(find_checkpoints, tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    assert "it holds 'notes.txt'" in refusal(find_checkpoints, tmp_path)
    assert "is a file, not a folder" in refusal(find_checkpoints, tmp_path / "notes.txt")
    assert "not one checkpoint" in refusal(open_checkpoint, tmp_path / "notes.txt")
    assert "does not exist" in refusal(open_checkpoint, tmp_path / "none.npz")


def test_suffixes_may_be_written_large(tmp_path):
    for name in ("step_1.npz", "step_2.NPZ"):
        save_npz(tmp_path / "saved.npz", {"w": np.ones(2)}).rename(tmp_path / name)
    checkpoints = find_checkpoints(tmp_path)
    assert [(checkpoint.step, checkpoint.format) for checkpoint in checkpoints] == [(1, "npz"), (2, "npz")]
    assert checkpoints[1].load()["w"].tolist() == [1, 1]


def test_two_checkpoints_of_one_step_are_both_named(tmp_path):
    fill(tmp_path, "step_10.npz", "step_010.npz")
    message = refusal(find_checkpoints, tmp_path)
    assert "two checkpoints of step 10, 'step_010.npz' and 'step_10.npz'" in message


def test_mixed_formats_are_refused_with_one_of_each(tmp_path):
    fill(tmp_path, "step_1.npz", "step_2.safetensors")
    assert "'step_1.npz' (npz) and 'step_2.safetensors' (safetensors)" in refusal(find_checkpoints, tmp_path)


def test_a_name_without_a_step_is_refused(tmp_path):
    fill(tmp_path, "step_1.npz", "final.npz")
    assert "'final.npz', whose name carries no step" in refusal(find_checkpoints, tmp_path)
    fill(tmp_path / "alone", "model.safetensors")
    assert "itself one checkpoint" in refusal(find_checkpoints, tmp_path / "alone")


def test_one_checkpoint_is_opened_alone(tmp_path):
    fill(tmp_path, "final.npz", "ckpt-30.npz")
    assert open_checkpoint(tmp_path / "final.npz").step == -1
    assert open_checkpoint(str(tmp_path / "ckpt-30.npz")).step == 30


def test_fingerprint_follows_the_content_not_the_place(tmp_path):
    fill(tmp_path / "a" / "checkpoint-1", "model.safetensors")
    original = open_checkpoint(tmp_path / "a" / "checkpoint-1").fingerprint()
    shutil.copytree(tmp_path / "a" / "checkpoint-1", tmp_path / "b" / "step_2")
    copy = open_checkpoint(tmp_path / "b" / "step_2")
    assert copy.fingerprint() == original
    assert len(original) == 64
    save_safetensors(tmp_path / "b" / "step_2" / "model.safetensors", {"w": np.arange(1.0, 4.0)})
    assert copy.fingerprint() != original


def test_fingerprint_of_a_file_changes_with_any_byte(tmp_path):
    fill(tmp_path, "step_1.npz")
    path = tmp_path / "step_1.npz"
    content = path.read_bytes()
    prints = {open_checkpoint(path).fingerprint()}
    for position in range(0, len(content), 37):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        prints.add(open_checkpoint(path).fingerprint())
    assert len(prints) == 1 + len(range(0, len(content), 37))


@contextmanager
def a_stranger():
    """Be a user who owns nothing; whoever may read everything cannot see a refusal."""
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)


def test_what_may_not_be_read_is_told():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        fill(folder, "step_1.npz", "step_2.npz")
        fill(folder / "step_3", "model.npz")
        checkpoint = find_checkpoints(folder)[0]
        np.testing.assert_array_equal(checkpoint.load()["w"], np.arange(3.0))
        Path(name).chmod(0o755)
        checkpoint.path.chmod(0)
        with a_stranger(), pytest.raises(CheckpointError, match=r"step_1\.npz'.*Permission denied: '.*'\.$"):
            checkpoint.load()
        for closed in (folder / "step_3", folder, Path(name)):
            closed.chmod(0)
            with a_stranger():
                assert "cannot be looked at (Permission denied)" in refusal(find_checkpoints, folder)
            closed.chmod(0o755)
