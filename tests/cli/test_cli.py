"""The shell: what it prints, what it refuses, how fast it answers."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lltc import cli
from lltc.checkpoints import save_npz, save_safetensors
from tests.problems import balanced
from tests.processes import PATIENCE, ran, started, wait_until

pytestmark = pytest.mark.process

SCRIPT = Path(sys.executable).parent / "lltc"
FEW = ["--num-draws", "64", "--num-warmup", "64", "--nbeta", "1000", "--localization", "1", "--no-progress"]
SWEPT = ["sweep", "checkpoints", "--model", "network:model", "--data", "network:data", "--out", "o"]
MODULE = """
import numpy as np
import lltc

def outputs(params, x):
    return x @ params["first"] @ params["second"]

model = lltc.behavioral(outputs, "squared")
data = (np.sqrt(5) * np.eye(5)).astype(np.float32)

def made():
    return data

def load(path):
    rank = int(path.read_text())
    first, second = np.zeros((5, 3), np.float32), np.zeros((3, 5), np.float32)
    first[range(rank), range(rank)] = second[range(rank), range(rank)] = 1
    return {"first": first, "second": second}

def coupled(params, x):
    return ((outputs(params, x) - x.mean(0)) ** 2).sum(1)

observables = {"norm": lambda params: (params["first"] ** 2).sum() ** 0.5}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shell")
    (folder / "network.py").write_text(MODULE)
    (folder / "checkpoints").mkdir()
    for step, rank in ((9, 0), (10, 0), (100, 1), (1000, 3)):
        save_npz(folder / "checkpoints" / f"step_{step}.npz", balanced(rank)[0])
    return folder


def shell(folder: Path, *words: str) -> subprocess.CompletedProcess:
    # JAX writes its cache in place: what another process is still writing is no entry yet.
    warnings = "error,ignore:Error reading persistent compilation cache entry"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": warnings}
    common: dict[str, Any] = {"cwd": folder, "env": environment, "timeout": PATIENCE}
    return subprocess.run([SCRIPT, *words], capture_output=True, text=True, check=False, **common)


def processor_seconds(*command: object) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture(scope="module")
def swept(place):
    done = shell(
        place,
        "sweep",
        "checkpoints",
        "--model",
        "network:model",
        "--data",
        "network:data",
        "--out",
        "out",
        *FEW,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_help_is_quick_and_does_without_jax():
    """Less than twice what the libraries that parse the words and draw the help take by themselves."""
    libraries = [sys.executable, "-c", "import cyclopts, rich.markdown"]
    pairs = [(processor_seconds(SCRIPT, "--help"), processor_seconds(*libraries)) for _ in range(5)]
    helps, imports = zip(*pairs, strict=True)
    assert min(helps) < 2 * min(imports)
    code = (
        "import sys; from lltc import cli\n"
        "try:\n cli.app(sys.argv[1:])\nfinally:\n assert not {'jax', 'numpy'} & set(sys.modules)"
    )
    for words in (["--help"], ["sweep", "--help"]):
        told = ran([sys.executable, "-c", code, *words])
    for flag in ("--workers", "--scheduler", "--loader", "--runs", "--dry-run", "--observables", "--nbeta"):
        assert flag in told


def test_sweep_prints_table_and_sketch(swept):
    assert [line.split()[0] for line in swept.stdout.splitlines()[1:5]] == ["9", "10", "100", "1000"]
    assert "┤" in swept.stdout


@pytest.mark.usefixtures("swept")
def test_show_json_has_exactly_the_promised_shape(place):
    found = json.loads(shell(place, "show", "out", "--json").stdout)
    assert list(found) == ["curve", "transitions"]
    assert [list(point) for point in found["curve"]] == [
        ["step", "llc", "llc_se", "loss", "status", "reason"]
    ] * 4
    assert found["curve"][0]["reason"].startswith("The same weights lie at step 10")
    assert [point["step"] for point in found["curve"]] == [9, 10, 100, 1000]
    for marker in found["transitions"]:
        names = ["step_low", "step_high", "delta_llc", "delta_llc_se", "kind", "probability"]
        assert list(marker) == names


@pytest.mark.usefixtures("swept")
def test_show_and_report(place):
    shown = shell(place, "show", "out").stdout
    assert shown.splitlines()[0].split()[:2] == ["step", "llc"]
    assert "\nstep 9: The same weights lie at step 10;" in shown
    done = shell(place, "report", "out", "--out", "page.html")
    assert done.stdout.strip() == "page.html"
    assert (place / "page.html").read_text().lower().startswith("<!doctype html>")


def test_estimate_prints_a_summary_and_saves(place):
    from lltc import LLCEstimate

    done = shell(
        place,
        *("estimate", "checkpoints/step_1000.npz", "--model", "network:model", "--data", "network:made"),
        *("--out", "one.nc", *FEW),
    )
    assert done.returncode == 0, done.stderr
    saved = LLCEstimate.load(place / "one.nc")
    assert done.stdout.strip() == saved.summary().strip()
    assert abs(saved.llc - 10.49) < 5 * saved.llc_se


def test_a_long_estimate_says_on_standard_error_how_long_it_takes(place):
    impatient = "from network import *\nfrom lltc.estimates import outlook\noutlook.LONG = 0.0\n"
    (place / "impatient.py").write_text(impatient)
    words = ["estimate", "checkpoints/step_1000.npz", "--model", "impatient:model", "--data", "network:data"]
    done = shell(place, *words, *FEW[:-1], "--kernel", "ghmc")
    assert done.returncode == 0, done.stderr
    assert "s more for 64 draws on this machine\n" in done.stderr
    assert done.stderr.count("more for") == 1
    assert "more for" not in done.stdout


def test_check_prints_what_it_finds_and_its_status_tells(place):
    words = ["check", "checkpoints/step_1000.npz", "--data", "network:data", "--nbeta", "1000"]
    good = shell(place, *words, "--model", "network:model")
    assert good.returncode == 0, good.stderr
    assert "n = 5, one example is float32 (5,)" in good.stdout
    assert "nothing amiss" in good.stdout
    bad = shell(place, *words, "--model", "network:coupled")
    assert bad.returncode == 1, bad.stderr
    assert "refused     company in the batch: The loss of an example depends on the other" in bad.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["show", "nowhere"], "holds no sweep.json"),
        (["sweep", "nowhere", "--model", "network:model", "--data", "network:data", "--out", "o"], "nowhere"),
        (
            ["sweep", "checkpoints", "--model", "network", "--data", "network:data", "--out", "o"],
            "pkg.module:attr",
        ),
        (
            ["sweep", "checkpoints", "--model", "absent:model", "--data", "network:data", "--out", "o"],
            "imported",
        ),
        (
            ["sweep", "checkpoints", "--model", "network:absent", "--data", "network:data", "--out", "o"],
            "'absent'",
        ),
        ([*SWEPT, "--pattern", "seed*"], "--runs was not given"),
        ([*SWEPT, "--budget", "4", "--dry-run"], "budget was given with --dry-run"),
    ],
)
def test_bad_words_get_one_sentence_and_exit_status_2(place, words, sentence):
    done = shell(place, *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.startswith("lltc: ")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.usefixtures("swept")
def test_a_dry_run_tells_what_why_and_how_long_and_writes_nothing(place):
    before = {path: path.stat().st_mtime_ns for path in (place / "out").iterdir()}
    words = [
        "sweep",
        "checkpoints",
        "--model",
        "network:model",
        "--data",
        "network:data",
        "--out",
        "out",
        *FEW,
    ]
    done = shell(place, *words, "--num-chains", "6", "--dry-run", "--workers", "2")
    # Step 10 has the weights of step 9, and takes the new estimate over.
    assert done.stdout.splitlines()[:3] == [
        "repeated     1 checkpoint: step 10",
        "anew         3 checkpoints: steps 9, 100, 1000",
        "why          num_chains 8 -> 6: 3 checkpoints are estimated anew",
    ]
    assert "step 9 has the same weights as 10" in done.stdout.splitlines()[3]
    assert "for 3 estimates of" in done.stdout.splitlines()[4]
    assert done.stdout.endswith("(as finished ones took), 2 at a time\n")
    assert {path: path.stat().st_mtime_ns for path in (place / "out").iterdir()} == before


def test_runs_with_a_loader_observables_and_workers(place):
    for run in ("seed0", "seed1"):
        (place / "runs" / run).mkdir(parents=True)
        for step in (0, 10):
            (place / "runs" / run / f"saved-{step}.txt").write_text(str(step // 10))
    words = ["sweep", "runs", "--runs", "--model", "network:model", "--data", "network:made", "--out", "all"]
    more = ["--loader", "network:load", "--observables", "network:observables", "--workers", "1"]
    done = shell(place, *words, *more, *FEW)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("seed")] == ["seed0", "seed1"]
    found = json.loads(shell(place, "show", "all", "--json").stdout)
    assert {name: [point["step"] for point in run["curve"]] for name, run in found.items()} == {
        "seed0": [0, 10],
        "seed1": [0, 10],
    }
    from lltc import Runs

    np.testing.assert_array_equal(Runs.open(place / "all")["seed1"].curve["norm"], [0, 1])
    assert shell(place, "report", "all").stdout.strip() == "all/report.html"


def test_observing_prints_and_writes_every_checkpoint(place):
    words = ["observe", "checkpoints", "--model", "network:model", "--data", "network:data"]
    done = shell(place, *words, "--observables", "network:observables", "--out", "seen.csv")
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["step", "loss", "weight_norm", "norm"]
    assert [float(row.split()[-1]) for row in rows] == pytest.approx([0, 0, 1, 3**0.5], rel=1e-3)
    assert (place / "seen.csv").read_text().splitlines()[3].startswith("100,")


@pytest.mark.usefixtures("swept")
def test_components_are_swept_and_runs_compared(place):
    words = ["sweep", "checkpoints", "--model", "network:model", "--data", "network:data", "--out", "parts"]
    more = ["--components", "top=second", "--observables", "network:observables", "--along-chains", "norm"]
    done = shell(place, *words, *more, *FEW)
    assert done.returncode == 0, done.stderr
    assert "Dictionary(" in done.stdout
    from lltc import Sweep

    parts = Sweep.open(place / "parts")
    assert parts.components == ("top",)
    assert parts.estimate(100).observables["norm"].min() > 0
    found = shell(place, "compare", "parts", "out", "--out", "compared.html")
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("Comparison(2 runs, ")
    assert found.stdout.endswith("\ncompared.html\n")
    assert (place / "compared.html").exists()
    alone = shell(place, "compare", "parts")
    assert (alone.returncode, alone.stderr) == (
        2,
        "lltc: sweeps holds 1, but a comparison needs two or more; pass a list or lltc.Runs.\n",
    )


def test_heads_are_listed_with_what_selects_them(place):
    layer = {
        "self_attn.q_proj.weight": (8, 6),
        "self_attn.k_proj.weight": (4, 6),
        "mlp.up_proj.weight": (5, 6),
    }
    arrays = {f"model.layers.0.{name}": np.ones(shape) for name, shape in layer.items()}
    save_safetensors(place / "heads" / "checkpoint-5" / "model.safetensors", arrays)
    done = shell(place, "components", "heads", "mlps", "heads")
    assert done.returncode == 2
    assert "cannot be told apart without their number" in done.stderr
    (place / "heads" / "checkpoint-5" / "config.json").write_text('{"num_attention_heads": 4}')
    done = shell(place, "components", "heads", "mlps", "heads")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["mlps (1)", "layer0/mlp  30  model.layers.0.mlp.up_proj.weight"]
    assert lines[3] == "heads (6)"
    assert lines[4] == "layer0/group0  12  model.layers.0.self_attn.k_proj.weight[0:2]"
    assert lines[9] == "layer0/head3   12  model.layers.0.self_attn.q_proj.weight[6:8]"


def test_numbers_that_are_not_finite_become_null():
    import xarray as xr

    curve = xr.Dataset(
        {name: ("step", [np.nan]) for name in ("llc", "llc_se", "loss")} | {"status": ("step", ["failed"])},
        coords={"step": [3]},
    )
    curve["reason"] = ("step", ["It is gone."])
    found = cli.to_json(type("Swept", (), {"curve": curve, "transitions": ()}))
    told = {"step": 3, "llc": None, "llc_se": None, "loss": None, "status": "failed", "reason": "It is gone."}
    assert found["curve"] == [told]


@pytest.mark.usefixtures("swept")
def test_kill_and_resume(place, record_property):
    words = [
        "sweep",
        "checkpoints",
        "--model",
        "network:model",
        "--data",
        "network:data",
        "--out",
        "killed",
        *FEW,
    ]
    results = place / "killed"
    with started([SCRIPT, *words], cwd=place) as process:
        wait_until(lambda: process.poll() is not None or any(results.glob("step_*.nc")))
        process.kill()
    kept = {path.name: path.stat().st_mtime_ns for path in results.glob("step_*.nc")}
    assert kept
    again = shell(place, *words)
    assert again.returncode == 0, again.stderr
    whole = json.loads(shell(place, "show", "out", "--json").stdout)
    assert json.loads(shell(place, "show", "killed", "--json").stdout) == whole
    for name, written in kept.items():
        assert (results / name).stat().st_mtime_ns == written
    record_property("kills survived", 1)


def test_a_budget_and_a_kernel_are_heeded(place):
    words = ["--model", "network:model", "--data", "network:data", *FEW]
    done = shell(place, "sweep", "checkpoints", *words, "--out", "few", "--budget", "4", "--kernel", "mala")
    assert done.returncode == 0, done.stderr
    settings = json.loads((place / "few" / "sweep.json").read_text())
    assert settings["options"]["kernel"][2] == "mala"
    assert "1000" in done.stdout
    refused = shell(place, "sweep", "checkpoints", *words, "--out", "few", "--kernel", "best")
    assert refused.returncode == 2
    assert refused.stderr.startswith("lltc: kernel must be one of baoab, ghmc")
