"""Processes that die: workers, the scheduler, the driver; nothing is lost, mixed up or left half-written."""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lltc import InputError, Sweep
from lltc.sweeps.engines.cluster import _local_cluster as local_cluster
from lltc.sweeps.store import folder as store
from tests.processes import PATIENCE, started, wait_until
from tests.sweeping import assert_same, held, make_checkpoints, run

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
KILLS = 30
PRELOADED = [
    "tests.sweeping",
    "lltc.sweeps",
    "lltc.estimates.estimator",
    "arviz_base",
    "arviz_stats",
    "h5py",
    "dask.array",
]


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """One folder of compiled programs for all processes of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Sweep:
    """The sweep as it is when nothing happens."""
    home = tmp_path_factory.mktemp("whole")
    make_checkpoints(home / "in", 8)
    return run(home, "out")


@pytest.fixture
def home(tmp_path) -> Path:
    make_checkpoints(tmp_path / "in", 8)
    return tmp_path


@pytest.fixture
def dask(tmp_path):
    """Start `dask scheduler` and `dask worker` on loopback; every process is ended afterwards."""
    started = []

    def start(*words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "error",
        }
        process = subprocess.Popen(command, cwd=tmp_path, env=environment)
        started.append(process)
        return process

    yield start
    for process in reversed(started):
        process.terminate()
    for process in started:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def start_scheduler(dask, home: Path) -> tuple[subprocess.Popen, str]:
    file = home / "scheduler.json"
    file.unlink(missing_ok=True)
    process = dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    written = lambda: file.exists() and file.read_text().endswith("}")
    wait_until(lambda: process.poll() is not None or written())
    assert process.poll() is None
    return process, json.loads(file.read_text())["address"]


def start_worker(dask, address: str) -> subprocess.Popen:
    return dask("worker", address, "--nthreads", "1", "--memory-limit", "0")


def when_held(home: Path, act) -> threading.Thread:
    """Act on the process that waits in the loader, as soon as one does."""
    thread = threading.Thread(target=lambda: act(held(home)), daemon=True)
    thread.start()
    return thread


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_a_checkpoint_whose_worker_is_killed_is_redone(dask, home, whole, record_property):
    (home / "hold-saved-300").touch()
    _, address = start_scheduler(dask, home)
    start_worker(dask, address)
    killer = when_held(home, kill)
    swept = run(home, "out", scheduler=address)
    killer.join()
    assert_same(swept, whole)
    record_property("kills survived", 1)


def test_a_checkpoint_that_kills_every_worker_is_one_failed_row(home, whole):
    (home / "kill-saved-300").touch()
    swept = run(home, "out", workers=2)
    statuses = [str(status) for status in swept.curve["status"].values]
    assert [
        step for step, status in zip(range(0, 800, 100), statuses, strict=True) if status == "failed"
    ] == [300]
    others = np.arange(8) != 3
    np.testing.assert_array_equal(swept.curve["llc"].values[others], whole.curve["llc"].values[others])
    reason = str(swept.curve["reason"].values[3])
    assert reason.startswith("every worker that was given the checkpoint of step 300 was killed")
    (home / "kill-saved-300").unlink()
    assert_same(run(home, "out"), whole)


def test_a_killed_worker_that_is_slow_to_come_back_is_waited_for():
    import distributed
    from dask import config

    with (
        config.set({"distributed.deploy.lost-worker-timeout": "1ms"}),
        local_cluster(1) as address,
        distributed.Client(address, set_as_default=False) as client,
    ):
        kill(first := client.submit(os.getpid).result(PATIENCE))
        assert client.submit(os.getpid, pure=False).result(PATIENCE) != first


def test_a_last_checkpoint_that_kills_whoever_reads_it_is_one_failed_row(home, whole):
    (home / "kill-saved-700").touch()
    swept = run(home, "out", workers=2)
    assert [str(status) == "failed" for status in swept.curve["status"].values] == [False] * 7 + [True]
    assert str(swept.curve["reason"].values[7]).startswith("every worker that was given the checkpoint")
    (home / "kill-saved-700").unlink()
    assert_same(run(home, "out"), whole)


def test_a_lost_scheduler_is_one_sentence_and_the_next_run_resumes(dask, home, whole, record_property):
    (home / "hold-saved-600").touch()
    scheduler, address = start_scheduler(dask, home)
    start_worker(dask, address)
    killer = when_held(home, lambda _: scheduler.kill())
    with pytest.raises(InputError, match=r"was lost before the sweep was done; what is finished is kept"):
        run(home, "out", scheduler=address)
    killer.join()
    kill(held(home))
    done = {path.name: path.stat().st_mtime_ns for path in (home / "out").glob("step_*.nc")}
    assert len(done) >= 1
    with pytest.raises(InputError, match="does not answer"):
        run(home, "out", scheduler=address)
    _, address = start_scheduler(dask, home)
    start_worker(dask, address)
    assert_same(run(home, "out", scheduler=address), whole)
    for name, written in done.items():
        assert (home / "out" / name).stat().st_mtime_ns == written
    record_property("kills survived", 2)


def test_a_killed_driver_takes_its_workers_along_and_is_resumed(home, whole, record_property):
    (home / "hold-saved-500").touch()
    code = f"import pathlib, tests.sweeping as s; s.run(pathlib.Path({str(home)!r}), 'out', workers=2)"
    with started([sys.executable, "-c", code], cwd=ROOT) as driver:
        worker = held(home)
        with pytest.raises(InputError, match=rf"is being swept by process {driver.pid} on "):
            run(home, "out")
    wait_until(lambda: not is_alive(worker))
    assert_same(run(home, "out"), whole)
    record_property("kills survived", 1)


def is_alive(pid: int) -> bool:
    """Tell whether a process has not ended; one that ends is gone between two looks at it."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_thirty_random_kills_and_a_resume_equal_the_uninterrupted_sweep(home, whole, record_property):
    """Every start uses another key than the last, so that each is killed amid results it replaces."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    chance = random.Random(0)

    def start(key: int):
        process = context.Process(target=run, args=(home, "out"), kwargs={"key": key})
        process.start()
        return process

    for key in (1, 2):
        began = time.monotonic()
        process = start(key)
        process.join(PATIENCE)
        assert process.exitcode == 0
    duration = time.monotonic() - began
    killed, lost, key = 0, 0, 3
    while killed < KILLS:
        assert key < 3 + 4 * KILLS, "most of the sweeps were over before they were killed"
        began = time.monotonic()
        process = start(key)
        process.join(duration * chance.uniform(0.05, 0.9))
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        if process.exitcode == 0:
            duration = time.monotonic() - began  # The machine was busy when a run was timed.
        else:
            killed += 1
        key += 1
        lost += sum(not store.read_result(home / "out", step) for step in range(0, 800, 100))
    assert lost == 0
    (home / "out" / ".step_000000000100.nc.feed.tmp").write_bytes(b"half")
    resumed = run(home, "out")
    assert_same(resumed, whole)
    assert sorted(path.name for path in resumed.out.iterdir()) == sorted(
        [".lock", "sweep.json", *(store.result_path(resumed.out, step).name for step in range(0, 800, 100))]
    )
    record_property("kills survived", killed)
    record_property("rows lost", lost)
