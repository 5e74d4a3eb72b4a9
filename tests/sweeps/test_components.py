"""Component sweeps: the team's own numbers at every checkpoint, resumed and extended bit for bit."""

import json
import re
from typing import Any

import jax
import numpy as np
import pytest

import lltc
from lltc import InputError, Sweep
from lltc.checkpoints import save_safetensors
from lltc.estimates.by_component import estimate_llc_team
from lltc.sweeps import checkpoint_key, preview_sweep
from lltc.sweeps.jobs import worker
from lltc.sweeps.jobs.plan import plan_sweep
from lltc.sweeps.jobs.request import make_request
from lltc.sweeps.jobs.survey import survey, with_checkpoints
from lltc.sweeps.reading.curve_markers import find_partings, mark_components
from lltc.sweeps.store import folder as store
from tests.blocks import COMPONENTS, DATA, LEARNT, MODEL, STEPS, params_at, sweep_blocks
from tests.sweeping import FEW

PAIRS = [(step, params_at(step)) for step in STEPS[2:5]]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return sweep_blocks(tmp_path_factory.mktemp("blocks"))


def first_three(path, leaf):
    return np.arange(leaf.size) < 3 if path == "left/weights" else False


def run(out, **options) -> Sweep:
    asked: dict[str, Any] = FEW | {"components": COMPONENTS} | options
    return lltc.sweep(PAIRS, MODEL, DATA, out=out, **asked)


def test_heads_are_told_apart_by_the_config_beside_the_checkpoints(tmp_path):
    layer = {
        "attn.c_attn.weight": np.ones((4, 12), np.float32),
        "mlp.c_fc.weight": np.ones((4, 8), np.float32),
    }
    params = {f"h.0.{name}": array for name, array in layer.items()}
    loss = lambda p, x: sum((leaf**2).sum() for leaf in jax.tree.leaves(p)) * (1 + 0 * x[:, 0])
    for step in (1, 2):
        save_safetensors(tmp_path / "run" / f"checkpoint-{step}" / "model.safetensors", params)
    request = make_request(loss, np.zeros((9, 1), np.float32), components=["heads", "mlps"])
    with pytest.raises(
        InputError, match=r"cannot be told apart without their number; pass lltc\.ready_components"
    ):
        plan_sweep(tmp_path / "run", request, tmp_path / "out")
    (tmp_path / "run" / "checkpoint-2" / "config.json").write_text('{"n_head": 2}')
    setup = plan_sweep(tmp_path / "run", request, tmp_path / "out").setup
    assert list(setup.components) == ["layer0/head0", "layer0/head1", "layer0/mlp"]
    assert setup.components.keys() == setup.settings.components.keys()


def test_each_block_changes_in_its_own_component_alone(swept):
    (rise,), (other,) = (swept.component_transitions[name] for name in COMPONENTS)
    assert (rise.step_low, rise.step_high, rise.kind) == (20, 30, "rise")
    assert (other.step_low, other.step_high, other.kind) == (70, 80, "rise")
    assert [(t.step_low, t.step_high) for t in swept.transitions] == [(20, 30), (70, 80)]
    table = swept.curve
    assert table["component_llc"].dims == ("component", "step")
    # A block of which k weights act has k/2 · nβ/(nβ + γ), and independent blocks add up.
    exact = np.array([np.where(table["step"] < at, 1, 2) * 20 / 21 for at in LEARNT.values()])
    assert np.all(np.abs(table["component_llc"] - exact) < 4 * table["component_llc_se"])
    parts, errors = table["component_llc"].sum("component"), table["component_llc_se"]
    spread = np.sqrt(table["llc_se"] ** 2 + (errors**2).sum("component"))
    assert np.all(np.abs(table["llc"] - parts) < 4 * spread)
    assert np.all(table["component_status"] != "failed")


def test_components_part_where_one_learns_and_merge_where_the_other_follows(swept):
    found = [(p.components, p.kind, p.marker.step_low, p.marker.step_high) for p in swept.partings]
    pair = tuple(COMPONENTS)
    assert found == [(pair, "part", 20, 30), (pair, "merge", 70, 80)]


def test_two_that_never_meet_neither_part_nor_merge(swept):
    apart = swept.curve.copy(deep=True)
    apart["component_llc"].loc[{"component": "right"}] += 5
    assert find_partings(apart) == ()


def test_components_that_do_not_act_yet_have_no_error_and_are_marked_all_the_same(swept):
    curve = swept.curve.copy(deep=True)
    for name in ("component_llc", "component_llc_se"):
        curve[name].loc[{"component": "left", "step": slice(0, 20)}] = 0.0
        curve[name].loc[{"component": "right"}] = 0.0
    found = mark_components(curve)
    assert [(t.step_low, t.step_high, t.kind) for t in found["left"]] == [(20, 30, "rise")]
    assert found["right"] == ()
    assert [p.kind for p in find_partings(curve)] == ["part"]


def test_a_component_is_a_member_of_the_team(tmp_path):
    found = run(tmp_path, key=7)
    for step, params in PAIRS:
        options: dict[str, Any] = FEW | {"key": checkpoint_key(7, step)}
        team = estimate_llc_team(MODEL, params, DATA, components=COMPONENTS, **options)
        np.testing.assert_array_equal(found.curve["component_llc"].sel(step=step), team.llc)
        np.testing.assert_array_equal(found.curve["component_llc_se"].sel(step=step), team.llc_se)
        np.testing.assert_array_equal(found.estimate(step, "left").draws, team["left"].draws)
    assert found.components == ("left", "right")


def test_new_and_changed_components_are_estimated_by_themselves(tmp_path, caplog, monkeypatch):
    before = run(tmp_path, components=None)
    assert before.component_transitions == {}
    assert before.partings == ()
    monkeypatch.setattr("lltc.sweeps.jobs.worker.estimate_llc", None)
    caplog.clear()
    first = run(tmp_path)
    assert caplog.messages == [f"component {name} is new: 3 checkpoints are estimated" for name in COMPONENTS]
    np.testing.assert_array_equal(first.curve["llc"], before.curve["llc"])
    caplog.clear()
    changed = run(tmp_path, components=COMPONENTS | {"left": "left/weights[:3]"})
    assert caplog.messages == ["component left changed: 3 checkpoints are estimated"]
    assert changed.estimate(20, "left").num_params == 3
    np.testing.assert_array_equal(changed.curve["component_llc"][1], first.curve["component_llc"][1])
    # A pattern spelt otherwise that selects the same is the same component.
    monkeypatch.setattr("lltc.sweeps.jobs.worker.estimate_llc_team", None)
    caplog.clear()
    same = run(tmp_path, components=COMPONENTS | {"left": first_three})
    assert caplog.messages == []
    np.testing.assert_array_equal(same.curve["component_llc"], changed.curve["component_llc"])
    fewer = run(tmp_path, components={"right": "right/*"})
    assert fewer.components == ("right",)


def test_stopped_between_components_it_goes_on_bit_for_bit(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    finished, write = [], store.write_result

    def stop_after_four(*arguments):
        if len(finished) == 4:
            raise KeyboardInterrupt
        finished.append((arguments[1], arguments[4]))
        return write(*arguments)

    monkeypatch.setattr(store, "write_result", stop_after_four)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts")
    assert finished == [(20, None), (20, "left"), (20, "right"), (30, None)]
    part = Sweep.open(tmp_path / "parts").curve["component_status"]
    assert (part.sel(step=30) == "failed").all()
    assert (part.sel(step=20) != "failed").all()
    left = []
    monkeypatch.setattr(store, "write_result", lambda *a: (left.append((a[1], a[4])), write(*a))[1])
    resumed = run(tmp_path / "parts")
    assert left == [(30, "left"), (30, "right"), (40, None), (40, "left"), (40, "right")]
    for name in ("llc", "component_llc", "component_llc_se"):
        np.testing.assert_array_equal(resumed.curve[name], whole.curve[name])


def test_a_component_that_stops_costs_neither_the_whole_nor_another(tmp_path, monkeypatch, caplog):
    draw = worker._draw

    def stop_left(setup, key, params, component):
        if component == "left":
            raise RuntimeError("left is out of order")
        return draw(setup, key, params, component)

    monkeypatch.setattr(worker, "_draw", stop_left)
    curve = run(tmp_path).curve
    assert (curve["status"] != "failed").all()
    assert (curve["component_status"].sel(component="left") == "failed").all()
    assert np.isfinite(curve["component_llc"].sel(component="right")).all()
    said = "component left: Stopped by RuntimeError: left is out of order"
    assert curve["reason"].values.tolist() == [said] * 3
    monkeypatch.setattr(worker, "estimate_llc", None)
    monkeypatch.setattr(worker, "_draw", draw)
    caplog.clear()
    mended = run(tmp_path).curve
    assert caplog.messages == ["component left failed before: 3 checkpoints are tried again"]
    assert np.isfinite(mended["component_llc"]).all()
    assert mended["reason"].values.tolist() == [""] * 3
    assert not list(tmp_path.glob("*.failed.json"))


def test_a_worker_killed_over_a_component_leaves_the_whole_as_it_is(tmp_path):
    whole = run(tmp_path, components={"right": "right/*"}).curve
    asked: dict[str, Any] = {name: value for name, value in FEW.items() if name != "progress"}
    request = make_request(MODEL, DATA, components=COMPONENTS, **asked)
    setup, tasks = plan_sweep(PAIRS, request, tmp_path)[1:]
    store.write_settings(tmp_path, with_checkpoints(setup.settings, works := survey(setup, tasks)))
    assert worker.fail(setup, works[0], "killed").status == "failed"
    curve = Sweep.open(tmp_path).curve
    assert curve["llc"].equals(whole["llc"])
    assert curve["component_llc"].sel(component="right").equals(whole["component_llc"].sel(component="right"))
    assert curve["reason"].values.tolist() == ["component left: killed", "", ""]


def test_a_dry_run_counts_the_components(tmp_path):
    run(tmp_path, components=None)
    few = {name: value for name, value in FEW.items() if name != "progress"}
    preview = preview_sweep(PAIRS, MODEL, DATA, out=tmp_path, components=COMPONENTS, **few)
    assert "components   3 checkpoints: steps 20, 30, 40" in str(preview)
    assert "for 6 estimates" in str(preview)


def test_components_that_select_nothing_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"components\['x'\]='middle/\*' selects no floating-point"):
        run(tmp_path, components={"x": "middle/*"})
    with pytest.raises(InputError, match="components must be a mapping"):
        run(tmp_path, components=[])


def test_a_page_shows_components_partings_and_the_dictionary(swept):
    page = swept.report().read_text()
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    (told,) = json.loads(data)["runs"]
    assert [c["name"] for c in told["components"]] == ["left", "right"]
    assert told["components"][0]["llc"] == swept.curve["component_llc"].values[0].tolist()
    assert [c["marks"] for c in told["components"]] == [[[20, 30, "rise"]], [[70, 80, "rise"]]]
    assert told["marks"]["left closed"] == [[20, 30, "fall"]]
    assert told["marks"]["constant"] == []
    kinds = [panel["kind"] for panel in json.loads(data)["panels"]]
    assert kinds == ["llc", "change", "components", "value", "value", "value", "value"]
    assert [name for name, _ in told["details"][0]][-2:] == ["llc of left", "llc of right"]
    text = re.sub(r"<[^>]+>", "|", page)
    for row in (["left and right", "part", "20", "30"], ["left and right", "merge", "70", "80"]):
        assert "||".join(row) in text
    found = swept.dictionary()
    assert "||".join(["llc", "rise 20–30", "component left", "rise of "]) in text
    partners = [
        (e.structure, e.partner, e.overlap, e.chance) for e in found.entries if e.kind == "observable"
    ]
    # Among eleven intervals a single one is met by one shift, two by two.
    assert [p for p in partners if p[0] == "left"] == [
        ("left", "left closed", 1.0, pytest.approx(1 / 11)),
        ("left", "loss", 1.0, pytest.approx(2 / 11)),
    ]
    assert "<dt>components</dt><dd>left, right</dd>" in page
