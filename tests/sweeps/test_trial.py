"""Checkpoints read by another process first: what ends that process is one sentence here."""

import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from lltc.checkpoints import open_checkpoint, save_npz
from lltc.errors import CheckpointError
from lltc.estimates.described_options import complete_options
from lltc.posterior.data import as_data
from lltc.sweeps.jobs import trial
from lltc.sweeps.jobs.request import find_reference
from lltc.sweeps.jobs.trial import try_reading

pytestmark = pytest.mark.process


@pytest.fixture
def path(tmp_path):
    return save_npz(tmp_path / "step_10.npz", {"w": np.zeros(1000)})


@pytest.mark.parametrize(
    ("ends", "how"),
    [
        (lambda _: os.kill(os.getpid(), signal.SIGSEGV), "was ended by signal 11"),
        (lambda _: os._exit(5), "was ended with status 5"),
        (lambda _: np.ones(1 << 50), "ran out of memory"),
    ],
)
def test_a_loader_that_ends_its_process_is_one_sentence(path, ends, how):
    checkpoint = open_checkpoint(path, loader=ends)
    with pytest.raises(CheckpointError, match=rf"step_10.npz': a process of its own, .* {how}; delete it"):
        try_reading(checkpoint)


def test_memory_that_grows_by_pieces_is_bounded(path, monkeypatch):
    monkeypatch.setattr(trial, "free_memory", lambda: 1 << 30)

    def hoard(_):
        return [np.ones(1 << 24) for _ in range(64)]

    with pytest.raises(CheckpointError, match="ran out of memory"):
        try_reading(open_checkpoint(path, loader=hoard))


def test_a_reader_without_end_is_stopped(path, monkeypatch):
    monkeypatch.setattr(trial, "PATIENCE", 0.5)
    with pytest.raises(CheckpointError, match="took more than 1 s"):
        try_reading(open_checkpoint(path, loader=lambda _: time.sleep(600)))


def test_what_is_read_or_refused_like_anywhere_is_left_to_the_next_reader(path):
    def refuse(_):
        raise ValueError("not mine")

    try_reading(open_checkpoint(path))
    try_reading(open_checkpoint(path, loader=refuse))
    damaged = path.with_name("step_20.npz")
    damaged.write_bytes(path.read_bytes()[:-100])
    try_reading(open_checkpoint(damaged))


def test_a_process_that_cannot_begin_says_nothing_of_the_checkpoint(path, monkeypatch):
    monkeypatch.setattr(trial.sys, "executable", shutil.which("false"))
    try_reading(open_checkpoint(path))


def test_a_loader_that_no_other_process_can_have_is_left_alone(path):
    lock = subprocess.Popen(["true"])
    try_reading(open_checkpoint(path, loader=lambda _: lock))
    lock.wait()


@pytest.fixture
def remote(path):
    """The checkpoint as it lies elsewhere, and a file of the processes that fetched it."""

    class Remote(type(path)):
        protocol = "elsewhere"

        @property
        def fs(self):
            return self

        @property
        def path(self):
            return str(self)

        def is_dir(self):
            return False

        def get_file(self, source, target):
            with open(self.parent / "fetched", "a") as file:
                file.write(f"{os.getpid()}\n")
            shutil.copy(source, target)

    return Remote(path)


def reference(remote, loader):
    checkpoint = open_checkpoint(remote, loader=loader)
    data = as_data((np.zeros((8, 1)), np.zeros(8)))
    loss = lambda params, batch: (batch[0] @ params["w"][:1] - batch[1]) ** 2
    return find_reference((checkpoint,), loss, data, None, complete_options({}), apart=True)


def test_what_lies_elsewhere_is_fetched_once_and_not_by_the_process_that_tries_it(remote):
    params, _ = reference(remote, lambda file: {"w": np.load(file)["w"]})
    np.testing.assert_array_equal(params["w"], np.zeros(1000))
    assert remote.with_name("fetched").read_text().split() == [str(os.getpid())]


def test_the_name_of_what_lies_elsewhere_is_the_one_told(remote):
    with pytest.raises(CheckpointError, match=rf"'{remote}': a process of its own, .* by signal 11"):
        reference(remote, lambda _: os.kill(os.getpid(), signal.SIGSEGV))
