"""A sweep of a repository's revisions from the shell: what fails there is a row, and the sweep goes on."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lltc
from lltc.checkpoints import save_safetensors
from tests.hubs import StandIn, running
from tests.problems import balanced
from tests.processes import PATIENCE

pytestmark = pytest.mark.process

SCRIPT = Path(sys.executable).parent / "lltc"
FEW = ["--num-draws", "32", "--num-warmup", "32", "--nbeta", "1000", "--localization", "1", "--no-progress"]
MODULE = """
import numpy as np
import lltc

model = lltc.behavioral(lambda params, x: x @ params["first"] @ params["second"], "squared")
data = (np.sqrt(5) * np.eye(5)).astype(np.float32)
"""


@pytest.fixture
def hub(tmp_path):
    (tmp_path / "network.py").write_text(MODULE)
    revisions = {
        f"step{step}": {
            "model.safetensors": save_safetensors(
                tmp_path / "made.safetensors", balanced(rank)[0]
            ).read_bytes()
        }
        for step, rank in ((1, 1), (10, 0), (100, 2), (1000, 3))
    }
    with running(StandIn({"org/tiny": revisions})) as hub:
        yield hub


def shell(folder: Path, hub: StandIn, *words: str, **environment: str) -> subprocess.CompletedProcess:
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(folder / "home"),
        "JAX_PLATFORMS": "cpu",
        "NO_PROXY": "127.0.0.1,localhost",
    } | environment
    model = ["--model", "network:model", "--data", "network:data"]
    common: dict[str, Any] = {"cwd": folder, "env": os.environ | environment, "timeout": PATIENCE}
    return subprocess.run([SCRIPT, *words, *model], capture_output=True, text=True, check=False, **common)


def missing(out: Path) -> dict[int, str]:
    """Return why steps could not be fetched, from the bracket on."""
    curve = lltc.Sweep.open(out).curve
    assert curve["step"].values.tolist() == [1, 10, 100, 1000, 5000]
    reasons = zip(curve["step"].values.tolist(), curve["reason"].values.tolist(), strict=True)
    return {step: reason[reason.index("(") :][:49] for step, reason in reasons if "Cannot fetch" in reason}


def test_revisions_are_swept_and_what_cannot_be_had_is_a_row(hub, tmp_path):
    hub.tags["step5000"] = "0" * 40
    hub.troubles = {"GET /storage/org/tiny/.*": ["fine", "short", "short", "short", "short"]}
    sweep = ["sweep", "hf://org/tiny", "--revisions", "step*", "--keep", "2", "--out", "out", *FEW]
    done = shell(tmp_path, hub, *sweep)
    assert done.returncode == 0, done.stderr
    assert missing(tmp_path / "out") == {
        1: "(Consistency check failed: file should be of size",
        5000: "(the hub has no such revision); check its access.",
    }
    assert len(list((tmp_path / "home" / "lltc" / "org--tiny").iterdir())) == 2
    fetched = hub.asked("GET /storage")
    # What is done is known by the hashes the hub lists.
    again = shell(tmp_path, hub, *sweep)
    assert again.returncode == 0, again.stderr
    assert hub.asked("GET /storage") - fetched == 1
    assert list(missing(tmp_path / "out")) == [5000]


def test_what_was_fetched_is_observed_offline_too(hub, tmp_path):
    done = shell(tmp_path, hub, "observe", "hf://org/tiny", "--revisions", "step*")
    assert done.returncode == 0, done.stderr
    offline = {"HF_HUB_OFFLINE": "1"}
    hub.requests.clear()
    done = shell(tmp_path, hub, "observe", "hf://org/tiny", "--revisions", "step*", **offline)
    assert done.returncode == 0, done.stderr
    assert not hub.requests
    done = shell(tmp_path, hub, "observe", ".", "--revisions", "step*")
    assert done.returncode == 2
    assert done.stderr.startswith("lltc: revisions cannot be heeded for '.', which is no repository")
