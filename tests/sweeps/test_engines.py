"""Where the work is done does not matter: same numbers, data sent once, one driver a folder, whole files."""

import errno
import importlib
import logging
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import lltc
from lltc import InputError, Sweep, files
from lltc.compilation import cached_compilation, configured
from lltc.posterior.data import as_data
from lltc.report.wording import measured
from lltc.sweeps.engines import cluster
from lltc.sweeps.jobs.handover import hand_over
from lltc.sweeps.preview import preview_runs
from lltc.sweeps.store import folder as store
from lltc.sweeps.store import lock
from tests.problems import balanced
from tests.processes import PATIENCE, ran, started
from tests.sweeping import DATA, FEW, MODEL, assert_same, load, make_checkpoints, run

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """One folder of compiled programs for all processes of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("home")
    make_checkpoints(home / "in", 6)
    return home


@pytest.fixture(scope="module")
def whole(home) -> Sweep:
    return run(home, "whole")


class CountedSource:
    """A data set that notes in `log` whenever it is unpickled."""

    def __init__(self, log: Path):
        self.log = log

    def __len__(self):
        return len(DATA)

    def __getitem__(self, rows):
        return DATA[rows]

    def __setstate__(self, state):
        self.__dict__.update(state)
        with open(self.log, "a") as file:
            file.write(f"{os.getpid()}\n")


def test_threads_and_processes_of_an_executor_give_the_same_bits(home, whole, tmp_path):
    with ThreadPoolExecutor(2) as threads:
        assert_same(run(home, "threads", executor=threads), whole)
    source = CountedSource(tmp_path / "log")
    serial = lltc.sweep(home / "in", MODEL, source, out=tmp_path / "serial", loader=load, **FEW)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        options = FEW | {"loader": load, "executor": processes}
        assert_same(lltc.sweep(home / "in", MODEL, source, out=tmp_path / "out", **options), serial)


def test_dask_takes_closures_and_sends_data_once_a_worker(home, tmp_path):
    scale = np.float32(1.0)
    model = lltc.behavioral(lambda params, x: scale * (x @ params["first"] @ params["second"]), "squared")
    source = CountedSource(tmp_path / "log")
    serial = lltc.sweep(home / "in", model, source, out=tmp_path / "serial", loader=load, **FEW)
    options = FEW | {"loader": lambda path: load(path), "workers": 2}
    assert_same(lltc.sweep(home / "in", model, source, out=tmp_path / "out", **options), serial)
    received = source.log.read_text().split()
    assert len(received) == len(set(received)) == 2


def test_dask_keeps_its_news_to_itself():
    """Orbax puts a handler on the root logger, to which Dask's loggers would pass all they have to tell."""
    from lltc.sweeps.engines.cluster import quiet

    importlib.import_module("distributed")  # It sets its loggers up.
    logger = logging.getLogger("distributed.scheduler")
    assert logger.isEnabledFor(logging.INFO)
    with quiet():
        assert not logger.isEnabledFor(logging.WARNING)
    assert logger.isEnabledFor(logging.INFO)


def test_a_broken_executor_and_an_unpicklable_model_are_sentences(home, tmp_path):
    model = lltc.behavioral(lambda params, x: x @ params["first"] @ params["second"], "squared")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        options = FEW | {"loader": load, "executor": processes}
        with pytest.raises(InputError, match="could not work on a checkpoint"):
            lltc.sweep(home / "in", model, DATA, out=tmp_path / "out", **options)
        # The executor is not broken, and hands its one process model and data once.
        source = CountedSource(tmp_path / "log")
        lltc.sweep(home / "in", MODEL, source, out=tmp_path / "out", **options)
        assert source.log.read_text().split() == [str(pid) for pid in processes._processes]
    dying = tmp_path / "dying"
    make_checkpoints(dying / "in", 3)
    (dying / "kill-saved-0").touch()
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes,
        pytest.raises(InputError, match="executor broke"),
    ):
        run(dying, "out", executor=processes)


@pytest.mark.parametrize(
    ("engine", "sentence"),
    [
        ({"workers": -1}, "workers must be a number of processes ≥ 0"),
        ({"scheduler": "host"}, "write it like tcp://host:8786"),
        ({"executor": 3}, "executor must be a concurrent.futures.Executor"),
        ({"workers": 2, "scheduler": "tcp://127.0.0.1:1"}, "workers and scheduler were given"),
        ({"worker": 2}, "worker is no argument of sweep"),
    ],
)
def test_engines_that_do_not_exist(home, engine, sentence):
    with pytest.raises(InputError, match=sentence):
        run(home, "never", **engine)
    assert not (home / "never").exists()


def test_a_missing_dask_is_one_sentence_with_the_command(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'lltc\[dask\]'"):
        run(home, "dask", workers=2)


def test_memory_maps_travel_by_name(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(40_000.0).reshape(4000, 10))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for rows in (mapped, mapped[17:], mapped.T[:3].T):
        sent = pickle.dumps(hand_over(as_data({"x": rows, "y": mapped[: len(rows)]})))
        assert len(sent) < (2000 if rows.flags.c_contiguous else 200_000)
        received = pickle.loads(sent)
        np.testing.assert_array_equal(received.batch(np.array([2, 0, 5]))["x"], rows[[2, 0, 5]])


def test_a_second_driver_is_refused_and_a_killed_one_is_not_in_the_way(tmp_path):
    code = (
        "import pathlib, sys, time; from lltc.sweeps.store.lock import hold\n"
        "with hold(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, tmp_path]
    with started(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "held\n"
        refusal = rf"is being swept by process {driver.pid} on"
        with pytest.raises(InputError, match=refusal), lock.hold(tmp_path):
            pass
    with lock.hold(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_without_locks_files_are_whole_all_the_same(home, whole, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    (home / "unlocked").mkdir()
    leftover = home / "unlocked" / ".step_000000000000.nc.beef.tmp"
    leftover.touch()
    swept = run(home, "unlocked")
    assert leftover.exists()
    leftover.unlink()
    assert_same(swept, whole)


def test_only_leftovers_of_dead_writers_are_removed(tmp_path):
    living, dead = tmp_path / ".a.nc.1.tmp", tmp_path / ".b.nc.2.tmp"
    dead.write_bytes(b"half")
    with open(living, "xb") as file:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
        files.remove_leftovers(tmp_path)
        assert (living.exists(), dead.exists()) == (True, False)
    files.remove_leftovers(tmp_path)
    assert not living.exists()


def test_a_temporary_that_is_taken_away_is_written_again(tmp_path, monkeypatch):
    replace, taken = os.replace, []

    def snatch(source, target):
        if not taken:
            taken.append(source)
            Path(source).unlink()
        replace(source, target)

    monkeypatch.setattr(os, "replace", snatch)
    files.write_whole(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_keeps_what_is_finished(
    home, whole, tmp_path, monkeypatch, call, record_property
):
    before, done = getattr(os, call), store.result_path(tmp_path / "out", 200)

    def full(*arguments):
        if done.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return before(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(
            InputError, match=r"^folder '.*' cannot be written \(No space left on device\)"
        ) as caught:
            lltc.sweep(home / "in", MODEL, DATA, out=tmp_path / "out", loader=load, **FEW)
    assert str(tmp_path / "out") in str(caught.value)
    assert list(Sweep.open(tmp_path / "out").curve["step"].values) == [0, 100, 200]
    assert not list((tmp_path / "out").glob("*.tmp"))
    assert_same(lltc.sweep(home / "in", MODEL, DATA, out=tmp_path / "out", loader=load, **FEW), whole)
    record_property("full disks", 1)


def test_a_full_disk_stops_the_workers_too(home, tmp_path, record_property):
    """The limit on a file's size, which worker processes inherit, stands in for the disk's."""
    code = (
        "import pathlib, resource, sys, tests.sweeping as s\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "limit = {'initializer': resource.setrlimit, 'initargs': (resource.RLIMIT_FSIZE, (5000, 5000))}\n"
        "with ProcessPoolExecutor(1, mp_context=get_context('spawn'), **limit) as pool:\n"
        "    s.run(pathlib.Path(sys.argv[1]), sys.argv[2], executor=pool)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, home, tmp_path / "out"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "0"},
        timeout=PATIENCE,
        check=False,
    )
    *_, last = ["", *done.stderr.splitlines()]
    assert f"folder '{tmp_path / 'out'}' cannot be written (File too large)" in last, done.stderr
    assert not list((tmp_path / "out").glob("*.tmp"))
    record_property("full disks", 1)


def test_the_second_process_compiles_nothing_and_finds_the_same(home, tmp_path):
    """Programs compiled, read from the cache, or compiled with no cache at all: the same bits."""
    code = (
        "import collections, pathlib, sys, jax, tests.sweeping as s\n"
        "seen = collections.Counter()\n"
        "jax.monitoring.register_event_listener(lambda event, **_: seen.update([event]))\n"
        "s.run(pathlib.Path(sys.argv[1]), sys.argv[2])\n"
        "print(*(seen[f'/jax/compilation_cache/cache_{name}'] for name in ('hits', 'misses')))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMP")}
    environment["XDG_CACHE_HOME"] = str(tmp_path)

    def count(out: str, **more: str) -> list[int]:
        words, around = [sys.executable, "-c", code, home, tmp_path / out], environment | more
        return [int(number) for number in ran(words, cwd=ROOT, env=around).split()]

    hits, misses = count("first")
    assert misses > 5
    assert count("second") == [hits + misses, 0]
    assert list((tmp_path / "lltc" / "jax").glob("*-cache"))
    assert count("without", JAX_ENABLE_COMPILATION_CACHE="0") == [0, 0]
    first, second, without = (Sweep.open(tmp_path / out) for out in ("first", "second", "without"))
    assert_same(second, first)
    assert_same(without, first)


def test_a_cache_of_the_users_own_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with configured({"jax_compilation_cache_dir": None}):
        assert jax.config.jax_compilation_cache_dir is None
        with cached_compilation():
            assert jax.config.jax_compilation_cache_dir == str(tmp_path / "lltc" / "jax")
            with cached_compilation():
                pass
            assert jax.config.jax_compilation_cache_dir == str(tmp_path / "lltc" / "jax")
        assert jax.config.jax_compilation_cache_dir is None
    with configured({"jax_compilation_cache_dir": "own"}), cached_compilation():
        assert jax.config.jax_compilation_cache_dir == "own"
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    with configured({"jax_compilation_cache_dir": None}), cached_compilation():
        assert jax.config.jax_compilation_cache_dir is None


def test_progress_is_a_line_a_checkpoint_or_one_bar(home, whole, capsys, monkeypatch):
    run(home, "lines", progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == [str(step) for step in range(0, 600, 100)]
    # Of the ranks 0, 1, 2, 3, 0, 1 the third stands alone; a repeated one is told when all are there.
    llc, llc_se = whole.curve["llc"].values[2], whole.curve["llc_se"].values[2]
    assert f"llc {measured(llc, llc_se)}  {whole.curve['status'].values[2]}  " in lines[2]
    assert "  3/6  ETA 0:" in lines[2]
    assert lines[-1].endswith("  6/6")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run(home, "bar", progress=True)
    shown = capsys.readouterr().err
    assert "sweep:" in shown
    assert "6/6" in shown
    assert "\n" not in shown.strip()


def test_runs_share_the_posterior_but_not_the_noise(tmp_path, monkeypatch):
    for name in ("seed1", "seed2"):
        make_checkpoints(tmp_path / "in" / name, 3)
    (tmp_path / "in" / "logs").mkdir()
    options: dict[str, Any] = FEW | {"loader": load, "nbeta": None, "localization": None}
    runs = lltc.sweep_runs(tmp_path / "in", MODEL, DATA, out=tmp_path / "out", pattern="seed*", **options)
    assert list(runs) == ["seed1", "seed2"]
    fixed = [
        (runs[name].settings.options["nbeta"], runs[name].settings.options["localization"]) for name in runs
    ]
    assert fixed[0] == fixed[1]
    assert fixed[0][0] == pytest.approx(5 / np.log(5))
    assert np.all(runs["seed1"].curve["llc"].values != runs["seed2"].curve["llc"].values)
    make_checkpoints(tmp_path / "in" / "seed0", 2)
    written, write = [], store.write_result
    monkeypatch.setattr(store, "write_result", lambda *a: (written.append(a[0].name), write(*a))[1])
    grown = lltc.sweep_runs(tmp_path / "in", MODEL, DATA, out=tmp_path / "out", pattern="seed*", **options)
    assert written == ["seed0", "seed0"]
    assert {len(lltc.Runs.open(tmp_path / "out")), len(grown)} == {3}
    assert grown["seed0"].settings.options == runs["seed1"].settings.options
    with pytest.raises(InputError, match=r"no sub-folder like 'x\*'"):
        lltc.sweep_runs(tmp_path / "in", MODEL, DATA, out=tmp_path / "out", pattern="x*", **options)
    for runs_of in (lltc.sweep_runs, preview_runs):
        with pytest.raises(
            InputError, match="folder is 'hf://org/name', but runs lie in local folders; sweep"
        ):
            runs_of("hf://org/name", MODEL, DATA, out=tmp_path / "out")
    with pytest.raises(InputError, match=r"no runs\.json"):
        lltc.Runs.open(tmp_path)


@pytest.mark.parametrize("pattern", ["", "/seed*", ".", None])
def test_a_pattern_that_is_none_is_refused_in_one_sentence(tmp_path, pattern):
    with pytest.raises(InputError, match="pattern must be a glob of names inside the folder, but"):
        lltc.sweep_runs(tmp_path, MODEL, DATA, out=tmp_path / "out", pattern=pattern)


def test_runs_of_one_name_are_refused(tmp_path):
    for name in ("seed1", "seed2"):
        make_checkpoints(tmp_path / "in" / name / "checkpoints", 1)
    with pytest.raises(InputError, match=r"pattern='seed\*/checkpoints' finds 2 runs called 'checkpoints'"):
        lltc.sweep_runs(tmp_path / "in", MODEL, DATA, out=tmp_path / "out", pattern="seed*/checkpoints")


def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    make_checkpoints(tmp_path / "in", 2)
    script.write_text(
        "import pathlib, tests.sweeping as s\ns.run(pathlib.Path(__file__).parent, 'out', workers=1)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        env=environment,
        timeout=PATIENCE,
        check=False,
    )
    assert "put the call under: if __name__ == '__main__':" in done.stderr, done.stderr
    assert done.returncode != 0


def test_previewing_tells_what_why_and_how_long(home, whole, tmp_path):
    del whole
    arguments: dict[str, Any] = FEW | {"loader": load}
    del arguments["progress"]
    preview = lltc.sweeps.preview_sweep
    done = preview(home / "in", MODEL, DATA, out=home / "whole", **arguments)
    assert str(done) == "done         6 checkpoints: steps 0, 100, 200, 300, 400, 500"
    changed = preview(home / "in", MODEL, DATA, out=home / "whole", workers=4, **(arguments | {"key": 9}))
    assert str(changed).splitlines()[:2] == [
        "anew         6 checkpoints: steps 0, 100, 200, 300, 400, 500",
        "why          key changed: 6 checkpoints are estimated anew",
    ]
    assert changed.total_seconds == 2 * changed.seconds > 0
    del arguments["loader"]
    began = time.perf_counter()
    fresh = preview([(0, balanced(1)[0])], MODEL, DATA, out=tmp_path / "out", **arguments)
    assert 0 < fresh.seconds < time.perf_counter() - began
    assert str(fresh).startswith("missing      1 checkpoint: step 0\n")
    assert not (tmp_path / "out").exists()


class Unmanned:
    """A Dask client whose workers ended: nothing is ever done."""

    status = "running"
    nthreads = dict

    def map(self, *_, **__):
        class Future:
            done = staticmethod(lambda: False)

        return [Future()]

    def cancel(self, *_, **__):
        pass


def test_workers_that_do_not_come_back_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.0)
    with pytest.raises(
        InputError, match=r"^the workers ended, and none has come back for 0 s; what is finished"
    ):
        list(cluster._collect(None, Unmanned(), "name", [None], "tcp://nowhere", 0.0))  # pyright: ignore[reportArgumentType]
