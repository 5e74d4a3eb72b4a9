"""A reading that is killed: no draw told complete is lost, and the rest comes out to the same bits."""

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import pytest

import lltc
from lltc.fluctuations.tokens import driver
from tests.fluctuations.tokens.gaussian import DATA, OPTIONS, POINT, model, read
from tests.processes import PATIENCE

ROOT = Path(__file__).parents[3]
DRAWS, KEY = 1600, jax.random.key(4)
KILLS = 4
NUMBERS = [f"{what}/{kind}" for what in ("losses", "means") for kind in ("posterior", "prior")]
NUMBERS += ["draws/energy", "draws/virial"]

# Dies at the draw given: before anything of it is written, with half of it, with all of it. Where `moment` is
# a number, it dies wherever it is so many seconds of processor time after it has told `at` draws.
CHILD = """
import os, signal, sys
import jax
from pathlib import Path
from lltc.fluctuations.tokens.store import Store
from tests.fluctuations.tokens.gaussian import read
folder, at, moment = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
named, told = moment in ("before", "half", "all"), []
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
write = Store.write
def dying(self, kind, number, arrays):
    if named and (kind, number) == ("posterior", at):
        if moment != "before":
            some = dict(list(arrays.items())[: len(arrays) if moment == "all" else len(arrays) // 2])
            for name, (index, values) in some.items():
                self.file[name][index] = values
            self.file.flush()
        die()
    write(self, kind, number, arrays)
    print(kind, number, flush=True)
    told.append(number)
    if not named and len(told) == at:
        signal.setitimer(signal.ITIMER_PROF, float(moment))
Store.write = dying
read(folder, num_draws=int(sys.argv[4]), key=jax.random.key(4))
"""


def killed(folder: Path, at: int, moment: str, by: signal.Signals) -> list[str]:
    """Let a child read into a folder until it dies; return the draws it told to be complete."""
    command = [sys.executable, "-c", CHILD, str(folder), str(at), moment, str(DRAWS)]
    common: dict[str, Any] = {"cwd": ROOT, "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, **common)
    assert done.returncode == -by, done.stderr
    return done.stdout.splitlines()


def counts(folder: Path) -> list[int]:
    with h5py.File(folder / "losses.h5", "r") as file:
        return file["count"][...].tolist()  # pyright: ignore[reportIndexIssue, reportAttributeAccessIssue]


def assert_same_numbers(folder: Path, whole: Path):
    with h5py.File(folder / "losses.h5", "r") as one, h5py.File(whole / "losses.h5", "r") as other:
        for name in NUMBERS:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    read(folder, num_draws=DRAWS, key=KEY)
    return folder


@pytest.mark.process
def test_a_reading_killed_at_any_moment_of_a_draw_goes_on_to_the_same_bits(tmp_path, whole, record_property):
    moments = ((10, "before"), (20, "half"), (30, "all"))
    for at, moment in moments:
        told = killed(tmp_path, at, moment, signal.SIGKILL)
        assert told[-1] == f"posterior {at - 1}"
        assert counts(tmp_path) == [at, 0]
        with pytest.raises(lltc.InputError, match=r"is not finished.*call lltc.read again"):
            lltc.LossRecord.load(tmp_path)
    record = read(tmp_path, num_draws=DRAWS, key=KEY)
    assert_same_numbers(tmp_path, whole)
    reference = lltc.LossRecord.load(whole).estimate
    assert (record.estimate.llc, record.estimate.llc_se) == (reference.llc, reference.llc_se)
    record_property("kills survived", len(moments))


@pytest.mark.process
def test_a_reading_killed_at_random_loses_no_complete_draw(tmp_path, whole, record_property):
    """By draws and the child's own processor time: by the clock, a reading may be over before that."""
    rng = random.Random(0)
    for _ in range(KILLS):
        told = killed(tmp_path, rng.randint(1, 10), f"{rng.uniform(0.0001, 0.02):.6f}", signal.SIGPROF)
        last = told[-1].split()
        assert counts(tmp_path)[last[0] == "prior"] >= int(last[1]) + 1
    read(tmp_path, num_draws=DRAWS, key=KEY)
    assert_same_numbers(tmp_path, whole)
    record_property("kills survived", KILLS)


def test_a_reading_out_of_time_goes_on_where_it_stopped(tmp_path, whole):
    record = read(tmp_path, num_draws=DRAWS, key=KEY, time=1e-3)
    assert record.counts == (0, 0)
    with pytest.raises(lltc.InputError, match=r"holds 0 complete draws, but at least 8"):
        record.loss_gain()
    assert read(tmp_path, num_draws=DRAWS, key=KEY).counts == (100, 25)
    assert_same_numbers(tmp_path, whole)


def test_an_interrupted_reading_goes_on_where_it_stopped(tmp_path, whole, monkeypatch):
    """Ctrl-C while chains move: a half-made record does not come back as if it were whole."""
    made, sample = [], driver.sample

    def stopped(*given, **options):
        made.append(sample(*given, **options))
        return replace(made[-1], complete=len(made) < 4)

    with monkeypatch.context() as patched:
        patched.setattr(driver, "sample", stopped)
        with pytest.raises(KeyboardInterrupt):
            read(tmp_path, num_draws=DRAWS, key=KEY)
    assert counts(tmp_path) == [3, 0]
    assert read(tmp_path, num_draws=DRAWS, key=KEY).counts == (100, 25)
    assert_same_numbers(tmp_path, whole)


def test_chains_that_move_in_a_frame_of_their_own_go_on_too(tmp_path):
    """Of an ill-conditioned posterior the frame found in warm-up is kept with the state."""
    x, y, mask = DATA
    stiff = {"data": (x * np.array([300, 1, 1, 1], np.float32), y, mask), "num_draws": 256}
    options = OPTIONS | stiff | {"key": KEY, "kernel": lltc.kernels.baoab(), "components": None}
    params = POINT * np.array([1 / 300, 1, 1, 1], np.float32)
    for name in ("whole", "stopped"):
        if name == "stopped":
            assert lltc.read(model, params, store=tmp_path / name, time=1e-3, **options).counts == (0, 0)
        assert lltc.read(model, params, store=tmp_path / name, **options).counts == (16, 4)
    with h5py.File(tmp_path / "whole" / "losses.h5", "r") as file:
        assert json.loads(str(file.attrs["header"]))["rotation"] is not None
    assert_same_numbers(tmp_path / "stopped", tmp_path / "whole")
