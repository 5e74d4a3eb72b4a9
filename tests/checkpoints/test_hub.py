"""Repositories on the Hugging Face hub: what a stand-in serves is read as if it lay here."""

import json
import os
import sys
import time
from pathlib import Path

import huggingface_hub.constants as constants
import numpy as np
import pytest
from safetensors.numpy import save

from lltc.checkpoints import find_checkpoints, open_checkpoint, save_safetensors
from lltc.checkpoints.hub import client
from lltc.checkpoints.hub.room import make_room, occupied
from lltc.errors import CheckpointError, InputError
from tests.hubs import StandIn, as_the_hub, commit_of

CONFIG = json.dumps({"model_type": "gpt_neox"}).encode()
STEPS = (0, 1, 512, 1000)


def weights(folder: Path, step: int) -> bytes:
    params = {"embed": {"weight": np.full((40, 50), step, np.float32)}}
    return save_safetensors(folder / "made.safetensors", params).read_bytes()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    revisions = {
        f"step{step}": {
            "model.safetensors": weights(tmp_path, step),
            "config.json": CONFIG,
            "README.md": b"#",
        }
        for step in STEPS
    }
    revisions["main"] = revisions["step1000"] | {"pytorch_model.bin": b"not read"}
    with as_the_hub(StandIn({"org/tiny": revisions}), tmp_path / "home", monkeypatch) as hub:
        yield hub


@pytest.fixture
def waits(monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def value(checkpoint) -> float:
    return float(checkpoint.load()["embed"]["weight"].mean())


def own(tmp_path: Path) -> list[str]:
    folder = tmp_path / "home" / "lltc" / "org--tiny"
    return [file.name for file in folder.iterdir()] if folder.exists() else []


def test_revisions_are_checkpoints_fetched_when_they_are_read(hub):
    found = find_checkpoints("hf://org/tiny", revisions="step*")
    assert [checkpoint.step for checkpoint in found] == list(STEPS)
    assert hub.asked("storage") == 0
    assert [value(checkpoint) for checkpoint in found] == list(STEPS)
    assert hub.asked("GET /storage") == len(STEPS)
    # What lies in the cache is not asked for again.
    assert [value(checkpoint) for checkpoint in found] == list(STEPS)
    assert hub.asked("GET /storage") == len(STEPS)
    assert hub.asked("README|pytorch_model") == 0


def test_one_revision_a_tag_and_a_commit_can_be_opened(hub):
    commit = commit_of(hub.repositories["org/tiny"]["step512"])
    hub.tags["paper"] = commit
    for revision in ("step512", "paper", commit):
        assert value(open_checkpoint(f"hf://org/tiny@{revision}")) == 512
    assert open_checkpoint("hf://org/tiny@step512").step == 512
    assert value(open_checkpoint("hf://org/tiny")) == 1000
    with pytest.raises(
        InputError,
        match=r"'hf://org/tiny' has no revision 'step3'; it has 'paper', 'step0', .* and 2 more\.$",
    ):
        open_checkpoint("hf://org/tiny@step3")


def test_folders_of_a_repository_are_checkpoints_too(hub, tmp_path):
    hub.repositories["org/runs"] = {
        "main": {
            f"seed0/checkpoint-{step}/{name}": content
            for step in (5, 50)
            for name, content in {"model.safetensors": weights(tmp_path, step), "optimizer.pt": b"x"}.items()
        }
    }
    found = find_checkpoints("hf://org/runs/seed0")
    assert [(checkpoint.step, value(checkpoint)) for checkpoint in found] == [(5, 5), (50, 50)]
    assert value(open_checkpoint("hf://org/runs@main/seed0/checkpoint-5")) == 5
    assert hub.asked("optimizer") == 0
    with pytest.raises(
        InputError, match=r"'hf://org/runs' holds no folder with a step in its name, but 'seed0'"
    ):
        find_checkpoints("hf://org/runs")
    with pytest.raises(InputError, match=r"pass revisions, such as 'step1'\.$"):
        find_checkpoints("hf://org/tiny")


def test_shards_come_with_their_index(hub):
    first, second = save({"a": np.ones(2)}), save({"b": np.zeros(3)})
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = {"metadata": {}, "weight_map": {"a": names[0], "b": names[1]}}
    hub.repositories["org/large"] = {
        "step7": {
            "model.safetensors.index.json": json.dumps(index).encode(),
            "consolidated.safetensors": first,
            **dict(zip(names, (first, second), strict=True)),
        }
    }
    [checkpoint] = find_checkpoints("hf://org/large", revisions="*")
    assert {name: array.shape for name, array in checkpoint.load().items()} == {"a": (2,), "b": (3,)}
    assert hub.asked("consolidated") == 0


def test_weights_may_be_called_by_their_revision(hub):
    weights = {
        "model_step7.safetensors": save({"a": np.ones(2)}),
        "other.safetensors": save({"b": np.ones(2)}),
    }
    hub.repositories["org/named"] = {"step7": weights}
    [checkpoint] = find_checkpoints("hf://org/named", revisions="*")
    assert checkpoint.load().keys() == {"a"}


def test_a_loader_is_given_the_whole_revision(hub):
    read = lambda path: np.array(sorted(file.name for file in Path(path).iterdir()))
    [checkpoint] = find_checkpoints("hf://org/tiny", revisions="step1", loader=read)
    assert checkpoint.load().tolist() == sorted(hub.repositories["org/tiny"]["step1"])


def test_fingerprints_need_no_download_and_follow_the_weights(hub):
    one, other = find_checkpoints("hf://org/tiny", revisions="step[01]")
    assert one.fingerprint() == one.fingerprint() != other.fingerprint()
    files = hub.repositories["org/tiny"]
    files["step3"] = files["step0"] | {"README.md": b"another"}
    [same] = find_checkpoints("hf://org/tiny", revisions="step3")
    assert same.fingerprint() == one.fingerprint()
    assert hub.asked("storage") == 0


def test_a_glance_at_revisions_shows_which_hold_the_same_weights(hub):
    hub.repositories["org/tiny"]["step2"] = hub.repositories["org/tiny"]["step1"]
    found = find_checkpoints("hf://org/tiny", revisions="step*")
    glances = {checkpoint.step: checkpoint.glance() for checkpoint in found}
    assert glances[1] == glances[2] != glances[512]
    assert hub.asked("storage") == 0


def test_offline_what_the_cache_holds_is_found(hub, monkeypatch):
    online = find_checkpoints("hf://org/tiny", revisions="step*")
    prints = [checkpoint.fingerprint() for checkpoint in online]
    assert [value(checkpoint) for checkpoint in online[:2]] == [0, 1]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.requests)
    found = find_checkpoints("hf://org/tiny", revisions="step*")
    assert [(checkpoint.step, value(checkpoint)) for checkpoint in found] == [(0, 0), (1, 1)]
    assert [checkpoint.fingerprint() for checkpoint in found] == prints[:2]
    with pytest.raises(
        CheckpointError, match=r"^Cannot fetch checkpoint 'hf://org/tiny@step512' \(.*offline"
    ):
        online[2].load()
    assert len(hub.requests) == asked


def test_a_busy_hub_is_waited_for_as_long_as_it_asks(hub, waits):
    hub.troubles = {"GET .*/refs": ["busy"], "GET .*/tree": ["busy", "down"], "HEAD .*/resolve": ["busy"] * 2}
    hub.troubles["GET /storage"] = ["busy"]
    [checkpoint] = find_checkpoints("hf://org/tiny", revisions="step512")
    assert waits == [1]
    assert value(checkpoint) == 512
    assert not any(hub.troubles.values())
    assert all(wait >= 1 for wait in waits)


def test_a_hub_that_stays_busy_is_told_in_a_sentence(hub, waits):
    hub.troubles = {"GET .*/refs": ["busy"] * 100}
    with pytest.raises(
        InputError, match=r"'hf://org/tiny' cannot be listed \(the hub answers 429 Too Many Req"
    ):
        find_checkpoints("hf://org/tiny", revisions="step*")
    assert len(waits) == 3


def test_a_hub_that_asks_for_a_day_is_not_waited_for(hub, waits):
    hub.troubles, hub.patience = {"GET .*/refs": ["busy"] * 100}, "86400"
    with pytest.raises(InputError, match=r"'hf://org/tiny' cannot be listed \(the hub answers 429"):
        find_checkpoints("hf://org/tiny", revisions="step*")
    assert waits == []


def test_a_hub_that_says_nothing_is_not_waited_for(hub, waits, monkeypatch):
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.1)
    hub.troubles = {"GET .*/refs": ["silent"] * 100}
    with pytest.raises(
        InputError, match=r"'hf://org/tiny' cannot be listed \(the hub has not answered within"
    ):
        find_checkpoints("hf://org/tiny", revisions="step*")
    assert len(waits) == client.ATTEMPTS - 1


def test_a_cut_connection_goes_on_where_it_was(hub, waits, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.troubles = {"GET /storage": ["cut", "cut"]}
    [checkpoint] = find_checkpoints("hf://org/tiny", revisions="step512")
    assert value(checkpoint) == 512
    assert hub.asked("GET /storage.* ranged$") == 2
    assert waits


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("short", r"should be of size \d+"),
        ("wrong", r"what came of 'model\.safetensors' is not the file the hub"),
    ],
)
def test_a_download_that_is_not_whole_is_refused_and_fetched_anew(hub, waits, trouble, reason):
    hub.troubles = {"GET /storage.*": [trouble] * 100}
    [checkpoint] = find_checkpoints("hf://org/tiny", revisions="step512")
    with pytest.raises(
        CheckpointError, match=rf"^Cannot fetch checkpoint 'hf://org/tiny@step512' \(.*{reason}"
    ):
        checkpoint.load()
    hub.troubles.clear()
    assert value(checkpoint) == 512
    assert waits or trouble == "wrong"


def test_a_file_that_was_damaged_in_the_cache_is_fetched_anew(hub, tmp_path):
    [checkpoint] = find_checkpoints("hf://org/tiny", revisions="step512")
    assert value(checkpoint) == 512
    [file] = (tmp_path / "home" / "hub").rglob("snapshots/*/model.safetensors")
    file.resolve().write_bytes(file.read_bytes()[:-4] + b"1234")
    assert value(checkpoint) == 512
    assert hub.asked("GET /storage") == 2


def test_missing_repositories_and_revisions_are_told_in_a_sentence(hub, waits):
    with pytest.raises(
        InputError, match=r"'hf://org/none' cannot be listed \(there is no such repository, or HF_TOK"
    ):
        find_checkpoints("hf://org/none", revisions="step*")
    with pytest.raises(
        InputError, match=r"revisions='epoch\*' names no revision of 'hf://org/tiny' with a step; it"
    ):
        find_checkpoints("hf://org/tiny", revisions="epoch*")
    checkpoint = find_checkpoints("hf://org/tiny", revisions="step*")[2]
    del hub.repositories["org/tiny"]["step512"]
    with pytest.raises(
        CheckpointError, match=r"'hf://org/tiny@step512' \(the hub has no such revision\); check"
    ):
        checkpoint.load()
    with pytest.raises(
        CheckpointError, match=r"^Cannot fetch checkpoint 'hf://org/tiny@step512' \(the hub has"
    ):
        checkpoint.fingerprint()
    hub.repositories["org/tiny"]["step2"] = {"README.md": b"#", "flax.h5": b""}
    [empty] = find_checkpoints("hf://org/tiny", revisions="step2")
    with pytest.raises(
        CheckpointError, match=r"holds no weights that can be read, but 'README\.md', 'flax\.h5'"
    ):
        empty.load()
    assert waits == []


def test_a_name_that_none_can_have_is_told_at_once(hub, waits):
    with pytest.raises(
        InputError, match=r"'hf://org/a--b' cannot be listed \(no repository can be called so\)"
    ):
        find_checkpoints("hf://org/a--b", revisions="step*")
    assert waits == []
    assert not hub.requests


@pytest.mark.usefixtures("waits")
def test_folders_that_cannot_be_listed_are_told_in_a_sentence(hub):
    hub.troubles = {"GET .*/tree": ["down"] * 100}
    with pytest.raises(
        InputError,
        match=r"^repository 'hf://org/tiny' cannot be listed \(the hub answers 503 .*\); check its",
    ):
        find_checkpoints("hf://org/tiny")


def test_a_branch_that_moved_is_not_taken_for_the_one_listed(hub, tmp_path):
    [checkpoint] = find_checkpoints("hf://org/tiny", revisions="step512")
    before = hub.repositories["org/tiny"]["step512"]
    hub.repositories["org/tiny"] |= {"old": before, "step512": {"model.safetensors": weights(tmp_path, 9)}}
    with pytest.raises(CheckpointError, match=r"the hub has moved 'step512' to another commit"):
        checkpoint.load()


def test_two_revisions_of_one_step_are_refused(hub):
    hub.repositories["org/tiny"]["run-step1"] = hub.repositories["org/tiny"]["step1"]
    with pytest.raises(
        InputError, match=r"'hf://org/tiny' holds two checkpoints of step 1, 'step1' and 'run-step1'"
    ):
        find_checkpoints("hf://org/tiny", revisions="*")


def test_with_keep_no_more_revisions_lie_on_disk(hub, tmp_path):
    found = find_checkpoints("hf://org/tiny", revisions="step*", keep=2)
    for number, checkpoint in enumerate(found):
        assert value(checkpoint) == checkpoint.step
        assert len(own(tmp_path)) == min(number + 1, 2)
    assert not (tmp_path / "home" / "hub").exists()
    assert value(found[-1]) == 1000
    assert hub.asked("GET /storage") == len(STEPS)
    assert value(found[0]) == 0
    assert hub.asked("GET /storage") == len(STEPS) + 1


def test_keep_deletes_nothing_that_others_downloaded(hub, tmp_path):
    assert value(open_checkpoint("hf://org/tiny@step1")) == 1
    for checkpoint in find_checkpoints("hf://org/tiny", revisions="step*", keep=1):
        assert value(checkpoint) == checkpoint.step
    assert hub.asked("GET /storage") == len(STEPS)
    assert own(tmp_path) == [commit_of(hub.repositories["org/tiny"]["step1000"])]
    assert value(open_checkpoint("hf://org/tiny@step1")) == 1
    assert hub.asked("GET /storage") == len(STEPS)


def test_a_commit_that_is_a_path_is_no_commit(hub):
    hub.tags["step7"] = "../../../elsewhere"
    assert 7 not in [checkpoint.step for checkpoint in find_checkpoints("hf://org/tiny", revisions="step*")]


def test_what_is_being_read_is_not_deleted(tmp_path):
    with occupied(tmp_path / "a") as read, occupied(tmp_path / "b") as other:
        make_room(other, 1)
        assert read.exists()
    with occupied(tmp_path / "c") as other:
        make_room(other, 1)
    assert [folder.name for folder in tmp_path.iterdir()] == ["c"]


def test_a_folder_that_another_process_deletes_meanwhile_is_no_fault(tmp_path, monkeypatch):
    """As when several workers fetch: what one is about to look at, or to open, another makes room of."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    see, opened = Path.stat, os.open

    def gone(path, **options):
        if path == tmp_path / "a":
            raise FileNotFoundError(path)
        return see(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", gone)
        make_room(tmp_path / "c", 1)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["a", "c"]

    def too_late(path, *options):
        monkeypatch.setattr(os, "open", opened)
        Path(path).rmdir()
        return opened(path, *options)

    monkeypatch.setattr(os, "open", too_late)
    with occupied(tmp_path / "d") as folder:
        assert folder.is_dir()


@pytest.mark.parametrize("keep", [0, -1, True, "2"])
def test_keep_is_a_number_of_revisions(keep):
    with pytest.raises(InputError, match=rf"^keep is {keep!r}, but must be a number of revisions from 1 on"):
        find_checkpoints("hf://org/tiny", revisions="step*", keep=keep)


def test_revisions_and_keep_are_of_the_hub_alone(tmp_path):
    with pytest.raises(
        InputError, match=r"^revisions and keep cannot be heeded for .* no repository on the Hug"
    ):
        find_checkpoints(tmp_path, revisions="step*", keep=2)
    with pytest.raises(
        InputError, match=r"'hf://org/tiny@step1' names a revision, but revisions='step\*' was"
    ):
        find_checkpoints("hf://org/tiny@step1", revisions="step*")


def test_the_missing_library_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"install it with: pip install 'lltc\[huggingface\]'$"):
        find_checkpoints("hf://org/tiny", revisions="step*")


def test_a_folder_that_never_looks_the_same_twice_is_held_all_the_same(tmp_path, monkeypatch):
    """As on file systems whose numbers of files change from look to look."""
    monkeypatch.setattr(os.path, "samestat", lambda *_: False)
    with occupied(tmp_path / "room") as room:
        assert room.is_dir()
