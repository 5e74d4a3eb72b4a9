"""The SLURM script: on local workers, and with jobs that a stand-in for SLURM's commands runs here."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lltc
from lltc.checkpoints import save_npz
from tests.problems import balanced
from tests.processes import ran, started, wait_until

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
KILL_WAIT = 30  # Seconds that SLURM, as it is set up by default, gives a job between SIGTERM and SIGKILL.
SCRIPT = ROOT / "docs" / "slurm_sweep.py"
MODULE = """
import numpy as np
import lltc

def outputs(params, x):
    return x @ params["first"] @ params["second"]

model = lltc.behavioral(outputs, "squared")

def data():
    return (np.sqrt(5) * np.eye(5)).astype(np.float32)
"""
# Like SLURM's: it keeps a copy of the script, whose file is gone once the command has returned.
SBATCH = """#!/bin/bash
cat "${{@: -1}}" >> {place}/scripts
setsid bash -c "$(cat "${{@: -1}}")" > {place}/job.log 2>&1 &
echo $! >> {place}/jobs
echo "Submitted batch job $!"
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "network.py").write_text(MODULE)
    for step, rank in ((0, 0), (10, 1), (20, 2)):
        save_npz(tmp_path / "checkpoints" / f"step_{step}.npz", balanced(rank)[0])
    commands = tmp_path / "bin"
    commands.mkdir()
    scancel = '#!/bin/bash\nfor job in "$@"; do kill -- "-$job"; done\n'
    for name, text in (("sbatch", SBATCH.format(place=tmp_path)), ("scancel", scancel)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def sweep(place: Path, out: str, *words: str) -> lltc.Sweep:
    asked = ["--model", "network:model", "--data", "network:data", "--out", out, "--num-draws", "1000"]
    command = [sys.executable, SCRIPT, "checkpoints", *asked, *words]
    assert ran(command, cwd=place).splitlines()[-1] == f"{out}/report.html"
    return lltc.Sweep.open(place / out)


def test_jobs_and_local_workers_give_the_same_bits(place):
    local = sweep(place, "local", "--local", "--jobs", "1")
    assert list(local.curve["step"].values) == [0, 10, 20]
    jobs = sweep(place, "remote", "--jobs", "2", "--queue", "long", "--walltime", "01:00:00", "--gpus", "1")
    np.testing.assert_array_equal(jobs.curve["llc"], local.curve["llc"])
    np.testing.assert_array_equal(jobs.curve["llc_se"], local.curve["llc_se"])
    script = (place / "scripts").read_text()
    assert script.count("#SBATCH -p long") == len((place / "jobs").read_text().split()) == 2
    for line in (
        "#SBATCH -t 01:00:00",
        "#SBATCH --gres=gpu:1",
        f"export PYTHONPATH={place}:",
        "--nthreads 1",
    ):
        assert line in script
    assert "--lifetime 3300s" in script


def test_a_preempted_job_exits_in_time_and_goes_on_when_requeued(place, record_property):
    """What SLURM does to a job with --requeue: SIGTERM, some seconds, and the same script again."""
    script = ROOT / "docs" / "preemptible.sbatch"
    assert "#SBATCH --requeue" in script.read_text()
    words = ["checkpoints", "--model", "network:model", "--data", "network:data", "--num-draws", "50000"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    common: dict[str, Any] = {"cwd": place, "env": environment}
    command = ["bash", str(script), *words, "--out"]
    results = place / "preempted"
    with started([*command, "preempted"], stderr=subprocess.PIPE, text=True, **common) as job:
        wait_until(lambda: job.poll() is not None or any(results.glob("step_*.nc")))
        stamps = {path: path.stat().st_mtime_ns for path in results.glob("step_*.nc")}
        job.terminate()
        said = job.communicate(timeout=KILL_WAIT)[1]
    assert job.returncode == 143, said
    assert "the same command goes on from there" in said
    for out in ("preempted", "whole"):
        ran([*command, out], **common)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    preempted, whole = (lltc.Sweep.open(place / out).curve.llc.values for out in ("preempted", "whole"))
    np.testing.assert_array_equal(preempted, whole)
    record_property("signals", 1)
