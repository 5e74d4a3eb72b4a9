"""The same weights at several steps: estimated once, named, and no transition marked from them."""

import json
import logging
import time
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from xarray import Dataset

import lltc
from lltc.checkpoints import save_npz
from lltc.sweeps import preview_sweep
from lltc.sweeps.jobs import worker
from lltc.sweeps.reading.curve_markers import mark, mark_observables
from lltc.sweeps.reading.repeats import find_repeats

FEW = {"num_draws": 64, "num_warmup": 64, "num_chains": 4, "step_size": 0.01, "progress": False}
DATA = jnp.ones((64, 3))


def loss(params, x):
    return 0.5 * jnp.sum((params["w"] * x) ** 2, -1)


def repeated(swept):
    return swept.curve["step"].values[swept.curve["status"].to_numpy() == "repeated"].tolist()


@pytest.fixture
def counted(monkeypatch):
    steps = []
    draw = worker._draw
    monkeypatch.setattr(worker, "_draw", lambda *args: (steps.append(1), draw(*args))[1])
    return steps


def write(folder, steps):
    for step, value in steps.items():
        save_npz(folder / f"step_{step}.npz", {"w": np.full(3, value, np.float32)})


def test_the_same_weights_are_estimated_once_and_said_to_be_the_same(tmp_path, counted, caplog):
    write(tmp_path / "in", {1: 0.1, 2: 0.2, 3: 0.1, 4: 0.3, 5: 0.1})
    with caplog.at_level(logging.WARNING, "lltc.sweeps"):
        swept = lltc.sweep(tmp_path / "in", loss, DATA, out=tmp_path / "out", **FEW)
    assert len(counted) == 3
    assert "step 1 has the same weights as 3, 5: estimated once, and no transition is marked" in caplog.text
    assert repeated(swept) == [1, 3, 5]
    llc = swept.curve["llc"].to_numpy()
    assert llc[0] == llc[2] == llc[4]
    assert str(swept.curve["reason"].values[2]) == (
        "The same weights lie at steps 1, 5; all but one may be misnamed, so no transition is marked from "
        "them."
    )
    assert swept.estimate(3).llc == llc[0]
    counted.clear()
    lltc.sweep(tmp_path / "in", loss, DATA, out=tmp_path / "out", **FEW)
    assert counted == []
    write(tmp_path / "in", {3: 0.4})
    swept = lltc.sweep(tmp_path / "in", loss, DATA, out=tmp_path / "out", **FEW)
    assert len(counted) == 1
    assert repeated(swept) == [1, 5]


def test_a_dry_run_counts_each_checkpoint_once(tmp_path):
    write(tmp_path / "in", {1: 0.1, 2: 0.2, 3: 0.1})
    lltc.sweep(tmp_path / "in", loss, DATA, out=tmp_path / "out", **FEW)
    engine = {"scheduler": None, "executor": None}

    def told(**changed):
        asked: dict[str, Any] = FEW | engine | changed
        preview = preview_sweep(tmp_path / "in", loss, DATA, out=tmp_path / "out", **asked)
        return str(preview).splitlines()

    assert told() == ["done         3 checkpoints: steps 1, 2, 3"]
    repeated, anew, why, shared, time = told(nbeta=100.0)
    assert repeated == "repeated     1 checkpoint: step 3"
    assert anew == "anew         2 checkpoints: steps 1, 2"
    assert why.endswith("2 checkpoints are estimated anew")
    assert "step 1 has the same weights as 3" in shared
    assert "for 2 estimates" in time


def test_weights_in_memory_and_components_are_shared_too(tmp_path, counted):
    pairs = [(step, {"w": np.full(3, value, np.float32)}) for step, value in ((1, 0.1), (2, 0.1), (3, 0.2))]
    swept = lltc.sweep(pairs, loss, DATA, out=tmp_path / "out", components={"all": "w"}, **FEW)
    assert len(counted) == 4
    assert repeated(swept) == [1, 2]
    component = swept.curve["component_llc"].sel(component="all").to_numpy()
    assert np.isfinite(component).all()
    assert component[0] == component[1]


def test_files_that_a_loader_tells_apart_by_name_are_not_the_same(tmp_path, counted):
    for step in (1, 2):
        (tmp_path / f"step_{step}.stub").write_text("")
    loader = lambda path: {"w": np.full(3, 0.1 * int(path.stem[-1]), np.float32)}
    swept = lltc.sweep(tmp_path, loss, DATA, out=tmp_path / "out", loader=loader, **FEW)
    assert len(counted) == 2
    assert repeated(swept) == []


def test_a_failure_is_shared_with_its_reason(tmp_path):
    write(tmp_path / "in", {1: np.nan, 2: 0.2, 3: np.nan})
    swept = lltc.sweep(tmp_path / "in", loss, DATA, out=tmp_path / "out", **FEW)
    assert (swept.curve["status"].to_numpy() == "failed").tolist() == [True, False, True]
    assert len(set(swept.curve["reason"].values[[0, 2]])) == 1


def test_no_transition_is_marked_from_repeated_weights():
    curve = Dataset(
        {
            "llc": ("step", np.array([1.0, 1.1, 0.9, 1.0, 1.05, 4.0, 4.1, 3.9, 4.0])),
            "llc_se": ("step", np.full(9, 0.1)),
            "loss": ("step", np.repeat([0.1, 4.0], [5, 4])),
            "status": ("step", np.array(["ok"] * 9, dtype=object)),
        },
        coords={"step": range(1, 10)},
        attrs={"observables": []},
    )
    assert len(mark(curve)) == len(mark_observables(curve)["loss"]) == 1
    curve["status"].values[5:] = "repeated"
    assert mark(curve) == mark_observables(curve)["loss"] == ()


def test_thousands_of_checkpoints_are_compared_by_hash():
    """Rows of an older version have no weights: they are the same where their files are."""
    rows = [row(step, w=f"w{step % 9000}") for step in range(10_000)]
    bare = [{"step": 10_000 + step, "checkpoint": f"file {step}"} for step in (8_999, 20_000, 20_000)]
    began = time.process_time()
    repeats = find_repeats(rows + [each | {"step": 10_000 + k} for k, each in enumerate(bare)])
    assert time.process_time() - began < 5
    assert repeats.keys() == {*range(1000), *range(8_999, 10_003)}
    assert "lie at step 8999;" in repeats[10_000]


def row(step, **weights):
    return {"step": step, "checkpoint": f"file {step}", "weights": json.dumps(weights)}


def test_equal_weights_in_files_that_differ_are_the_same():
    assert find_repeats([row(1, w="a"), row(2, w="b"), row(3, w="a")]).keys() == {1, 3}
    assert find_repeats([row(1, w="a"), row(2, w="b")]) == {}
    assert find_repeats([{"step": 1, "status": "failed"}, row(2, w="b"), row(3) | {"weights": "["}]) == {}


def test_one_shard_of_another_step_is_seen():
    rows = [row(step, a=f"a{step}", b=f"b{step}", c=f"c{step}") for step in range(6)]
    assert find_repeats(rows) == {}
    stale = [*rows[:4], row(4, a="a4", b="b3", c="c3"), rows[5]]
    assert find_repeats(stale)[4].startswith(
        "2 of 3 leaves that move, such as b, are those of step 3; a shard"
    )
    swapped = [*rows[:4], row(4, a="a4", b="b1", c="c4"), rows[5]]
    assert find_repeats(swapped).keys() == {1, 4}


def test_leaves_that_stand_still_on_purpose_are_no_repeats():
    frozen = [row(step, a=f"a{step}", b="b") for step in range(6)]
    unfrozen = [row(step, a=f"a{step}", b="b" if step < 3 else f"b{step}") for step in range(6)]
    not_yet = [row(step, a=f"a{step}", b="b" if step < 2 else f"b{step}") for step in range(6)]
    uniform = [row(step, a=f"a{step}", b="=0" if step in (1, 4) else f"b{step}") for step in range(6)]
    for rows in (frozen, unfrozen, not_yet, uniform):
        assert find_repeats(rows) == {}
