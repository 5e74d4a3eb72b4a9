"""A tiny sweep for tests that run it in other processes, and make those wait or die."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

import lltc
from tests.problems import balanced
from tests.processes import wait_until

FEW: dict[str, Any] = {
    "num_draws": 16,
    "num_warmup": 16,
    "num_chains": 2,
    "nbeta": 1e3,
    "localization": 1.0,
    "progress": False,
}
DATA = balanced(0)[1][0]


def apply(params, x):
    return x @ params["first"] @ params["second"]


MODEL = lltc.behavioral(apply, "squared")


def make_checkpoints(folder: Path, count: int) -> Path:
    """Write `count` checkpoints of a format of our own: the rank of the network and a number, as text."""
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"saved-{100 * number}.txt").write_text(f"{number % 4} {number}")
    return folder


def load(path: Path):
    """Read a checkpoint; where a file beside its folder says so, wait to be killed once, or always die."""
    control = path.parent.parent
    if (control / f"kill-{path.stem}").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    hold = control / f"hold-{path.stem}"
    if hold.exists():
        hold.rename(control / "held")
        (control / "pid").write_text(str(os.getpid()))
        time.sleep(600)
    return balanced(int(path.read_text().split()[0]))[0]


def held(control: Path) -> int:
    """Wait until a process waits in `load`, and return its id."""
    file = control / "pid"
    return int(wait_until(lambda: file.exists() and file.read_text()))


def run(home: Path, out: str, **options) -> lltc.Sweep:
    """Sweep the checkpoints in `home`."""
    return lltc.sweep(home / "in", MODEL, DATA, out=home / out, loader=load, **(FEW | options))


def assert_same(swept: lltc.Sweep, other: lltc.Sweep) -> None:
    """Two sweeps agree bit for bit, and left nothing half-written."""
    for name in ("step", "llc", "llc_se", "rhat", "step_size"):
        np.testing.assert_array_equal(swept.curve[name], other.curve[name])
    np.testing.assert_array_equal(swept.estimate(0).draws, other.estimate(0).draws)
    assert not list(swept.out.glob(".*.tmp"))
