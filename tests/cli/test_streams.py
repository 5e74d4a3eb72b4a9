"""What the shell prints and saves comes through: any encoding, closed pipes, missing folders, signals."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lltc
from lltc.cli.app import ENDED, GRACE, STOPPED, _last_word
from lltc.errors import InputError, printable
from tests.processes import PATIENCE, ran, started

pytestmark = pytest.mark.process

MODULE = """
import time
import numpy as np
model = lambda p, x: 0.5 * (x @ p["w"]) ** 2
data = lambda: np.random.default_rng(0).normal(size=(60, 3)).astype("f4")
def slow():
    print("waiting", flush=True)
    time.sleep(1200)
def lingering():
    import atexit
    atexit.register(time.sleep, 1200)
    slow()
"""
# A job in the background inherits SIGINT ignored; a shell in a terminal does not.
INTERRUPTIBLE = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("lltc.cli", run_name="__main__")
"""
ESTIMATE = ["estimate", "step_1.npz", "--model", "m:model", "--num-draws", "50", "--num-warmup", "64"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "m.py").write_text(MODULE)
    lltc.checkpoints.save_npz(tmp_path / "step_1.npz", {"w": np.full(3, 0.01, np.float32)})
    return tmp_path


def run(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "lltc.cli", *words],
        cwd=home,
        capture_output=True,
        env=os.environ | environment,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_an_estimate_is_printed_in_any_encoding_and_saved_where_no_folder_was(home, encoding):
    out = home / "no" / "folder" / "e.nc"
    done = run(home, *ESTIMATE, "--data", "m:data", "--out", str(out), PYTHONIOENCODING=encoding)
    assert (done.returncode, b"status      " in done.stdout) == (0, True), done.stderr
    assert lltc.LLCEstimate.load(out).num_draws == 50


def test_a_place_that_cannot_be_written_loses_no_estimate(home):
    done = run(home, *ESTIMATE, "--data", "m:data", "--out", "/dev/null/e.nc")
    assert done.returncode == 2
    assert b"status      " in done.stdout
    assert b"lltc: folder '/dev/null' cannot be written" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("number", "data", "code"),
    [(signal.SIGINT, "slow", 130), (signal.SIGTERM, "slow", 143), (signal.SIGTERM, "lingering", 143)],
)
def test_signals_end_with_a_word_and_their_status(home, number, data, code, record_property):
    """Neither a step nor an end that takes longer than all patience is waited for."""
    command = [sys.executable, "-c", INTERRUPTIBLE, *ESTIMATE, "--data", f"m:{data}"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(command, cwd=home, text=True, **pipes) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.send_signal(number)
        error = process.communicate(timeout=PATIENCE)[1]
    assert (said, process.returncode) == ("waiting\n", code), error
    assert error == "lltc: stopped; what is written is kept, and the same command begins anew.\n"
    record_property("signals", 1)


def test_a_terminated_command_is_given_less_than_the_five_seconds_promised():
    assert GRACE < 5


def test_a_closed_pipe_is_no_error(home):
    words = f"{sys.executable} -m lltc.cli --help | head -n 1"
    done = subprocess.run(
        ["bash", "-c", words], cwd=home, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")


@pytest.mark.parametrize(("command", "word"), [("sweep", STOPPED), ("demo", STOPPED), ("probe", ENDED)])
def test_a_stopped_command_says_whether_it_goes_on_where_it_was(monkeypatch, command, word):
    monkeypatch.setattr(sys, "argv", ["lltc", command, "sweep"])
    assert _last_word() == word


def test_a_closed_pipe_costs_no_estimate(home):
    words = " ".join([sys.executable, "-m", "lltc.cli", *ESTIMATE, "--data", "m:data", "--out", "e.nc"])
    done = subprocess.run(
        ["bash", "-c", f"{words} | true"], cwd=home, capture_output=True, timeout=PATIENCE, check=True
    )
    assert b"Traceback" not in done.stderr
    assert lltc.LLCEstimate.load(home / "e.nc").num_draws == 50


def test_a_full_disk_under_standard_output_is_one_sentence(home):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m lltc.cli doctor > /dev/full"],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("lltc: the system stopped the command ([Errno 28] No space left on device)")
    assert len(done.stderr.splitlines()) == 1


def test_without_standard_output_and_error_an_estimate_ends_well(home):
    words = " ".join(
        [sys.executable, "-m", "lltc.cli", *ESTIMATE, "--data", "m:data", "--out", "e.nc", ">&-", "2>&-"]
    )
    ran(["bash", "-c", words], cwd=home)
    assert (home / "e.nc").exists()


def test_no_message_holds_what_a_terminal_obeys():
    assert str(InputError("name 'a\x1b[2J\x07\udcff' is odd")) == r"name 'a\x1b[2J\x07\udcff' is odd"
    assert printable("λ̂ = 1\n") == "λ̂ = 1\n"
    assert len(printable("a" * 10_000)) == 2000
