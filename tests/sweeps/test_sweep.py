"""The sweep: the same numbers as single estimates, resumed where it stopped, honest about what failed."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc import InputError, Sweep
from lltc.checkpoints import save_npz, save_safetensors
from lltc.sweeps import checkpoint_key
from lltc.sweeps.jobs.plan import plan_sweep
from lltc.sweeps.jobs.request import make_request
from lltc.sweeps.store import folder as store
from tests.problems import balanced, linear_loss

FEW = {
    "num_draws": 64,
    "num_warmup": 64,
    "num_chains": 4,
    "nbeta": 1e3,
    "localization": 1.0,
    "progress": False,
}
DATA = balanced(0)[1][0]


def apply(params, x):
    return x @ params["first"] @ params["second"]


MODEL = lltc.behavioral(apply, "squared")


def checkpoints(folder, ranks=(0, 1, 2, 3), save=save_npz, suffix="npz"):
    folder.mkdir(exist_ok=True)
    for i, rank in enumerate(ranks):
        save(folder / f"step_{100 * i}.{suffix}", balanced(rank)[0])
    return folder


def run(source, out, **options) -> Sweep:
    return lltc.sweep(
        source, options.pop("model", MODEL), options.pop("data", DATA), out=out, **(FEW | options)
    )


def test_swept_equals_single(tmp_path):
    swept = run(checkpoints(tmp_path / "in"), tmp_path / "out", key=3)
    for i, rank in enumerate((0, 1, 2, 3)):
        single = lltc.estimate_llc(MODEL, balanced(rank)[0], DATA, key=checkpoint_key(3, 100 * i), **FEW)
        assert swept.curve["llc"].values[i] == single.llc
        assert swept.curve["llc_se"].values[i] == single.llc_se
        np.testing.assert_array_equal(swept.estimate(100 * i).draws, single.draws)


def test_npz_safetensors_records_and_pairs_give_the_same_curve(tmp_path):
    folder = checkpoints(tmp_path / "npz")
    other = checkpoints(tmp_path / "safetensors", save=save_safetensors, suffix="safetensors")
    pairs = [(100 * i, balanced(i)[0]) for i in (2, 0, 3, 1)]
    sources = [folder, str(other), lltc.find_checkpoints(folder), pairs]
    curves = [run(source, tmp_path / f"out{i}").curve for i, source in enumerate(sources)]
    assert list(curves[0]["step"].values) == [0, 100, 200, 300]
    for curve in curves[1:]:
        np.testing.assert_array_equal(curve["llc"], curves[0]["llc"])


def test_resumed_equals_uninterrupted_and_recomputes_only_what_is_missing(tmp_path, monkeypatch):
    folder = checkpoints(tmp_path / "in")
    whole = run(folder, tmp_path / "whole")
    finished = []

    def stop_after_two(*arguments):
        if len(finished) == 2:
            raise KeyboardInterrupt
        finished.append(arguments[1])
        return write(*arguments)

    write = store.write_result
    monkeypatch.setattr(store, "write_result", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "parts")
    assert list(Sweep.open(tmp_path / "parts").curve["step"].values) == [0, 100]
    finished.clear()
    resumed = run(folder, tmp_path / "parts")
    assert finished == [200, 300]
    np.testing.assert_array_equal(resumed.curve["llc"], whole.curve["llc"])
    assert not list((tmp_path / "parts").glob("*.tmp"))


def test_a_changed_checkpoint_is_recomputed_alone(tmp_path, monkeypatch):
    folder = checkpoints(tmp_path / "in")
    before = run(folder, tmp_path / "out").curve
    save_npz(folder / "step_100.npz", balanced(3)[0])
    written = []
    write = store.write_result
    monkeypatch.setattr(store, "write_result", lambda *a: (written.append(a[1]), write(*a))[1])
    after = run(folder, tmp_path / "out").curve
    assert written == [100]
    assert after["llc"].values[1] - before["llc"].values[1] > 1
    np.testing.assert_array_equal(after["llc"].values[[0, 2, 3]], before["llc"].values[[0, 2, 3]])


def test_a_half_written_result_is_recomputed(tmp_path):
    folder = checkpoints(tmp_path / "in", ranks=(0, 1))
    before = run(folder, tmp_path / "out").curve
    path = store.result_path(tmp_path / "out", 100)
    path.write_bytes(path.read_bytes()[:300])
    damaged = Sweep.open(tmp_path / "out").curve
    assert list(damaged["status"].values[-1:]) == ["failed"]
    assert "step_000000000100.nc' is refused because it cannot be read" in str(damaged["reason"].values[-1])
    np.testing.assert_array_equal(run(folder, tmp_path / "out").curve["llc"], before["llc"])


def test_bad_checkpoints_become_flagged_rows_and_the_sweep_goes_on(tmp_path):
    folder = checkpoints(tmp_path / "in")
    cut = folder / "step_100.npz"
    cut.write_bytes(cut.read_bytes()[:200])
    params = balanced(2)[0]
    save_npz(folder / "step_200.npz", params | {"first": params["first"] * np.nan})
    save_npz(folder / "step_250.npz", {"first": params["first"][:4], "second": params["second"]})
    swept = run(folder, tmp_path / "out")
    assert list(swept.curve["status"].values != "failed") == [True, False, False, False, True]
    assert list(np.isfinite(swept.curve["llc"].values)) == [True, False, False, False, True]
    reasons = [str(reason) for reason in swept.curve["reason"].values]
    assert "step_100.npz" in reasons[1]
    assert "non-finite values in first" in reasons[2]
    assert "model failed on params (first (4, 3)" in reasons[3]
    save_npz(cut, balanced(1)[0])
    mended = run(folder, tmp_path / "out")
    assert mended.curve["status"].values[1] != "failed"


def test_the_last_checkpoint_may_be_bad_in_any_way(tmp_path):
    folder = checkpoints(tmp_path / "in", ranks=(1, 2))
    good = run(folder, tmp_path / "good", localization=None).curve
    params = balanced(2)[0]
    save_npz(folder / "step_200.npz", {"first": params["first"][:4], "second": params["second"]})
    save_npz(folder / "step_300.npz", params | {"first": params["first"] * np.nan})
    (folder / "step_400.npz").write_bytes(b"PK")
    curve = run(folder, tmp_path / "out", localization=None).curve
    assert list(curve["status"].values) == [*good["status"].values, "failed", "failed", "failed"]
    np.testing.assert_array_equal(curve["llc"].values[:2], good["llc"])


def test_every_checkpoint_bad_is_one_sentence(tmp_path):
    pairs = [(step, {"first": np.ones((5, 3)) * np.nan, "second": np.ones((3, 5))}) for step in (0, 1)]
    with pytest.raises(InputError, match="params has non-finite values in first"):
        run(pairs, tmp_path / "out")


CHANGES = {
    "nbeta 1000 -> 500": {"nbeta": 500.0},
    "num_draws 64 -> 65": {"num_draws": 65},
    "key changed": {"key": 1},
    "model changed": {"model": lltc.behavioral(lambda p, x: 2 * apply(p, x), "squared")},
    "data changed": {"data": 2 * DATA},
    "restrict None -> first": {"restrict": "first"},
}


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "lltc.sweeps"]


@pytest.mark.parametrize("cause", CHANGES)
def test_a_change_estimates_anew_and_says_why_in_one_line(tmp_path, caplog, cause):
    folder = checkpoints(tmp_path / "in", ranks=(2, 3))
    before = run(folder, tmp_path / "out").curve
    assert said(caplog) == []
    changed = run(folder, tmp_path / "out", **CHANGES[cause])
    assert said(caplog) == [f"{cause}: 2 checkpoints are estimated anew"]
    fresh = run(folder, tmp_path / "fresh", **CHANGES[cause])
    np.testing.assert_array_equal(changed.curve["llc"], fresh.curve["llc"])
    assert np.all(changed.curve["llc"].values != before["llc"].values)


def test_a_change_taken_back_costs_nothing_that_was_not_replaced(tmp_path, caplog, monkeypatch):
    folder = checkpoints(tmp_path / "in")
    before = run(folder, tmp_path / "out").curve
    written, write = [], store.write_result

    def stop_after_one(*arguments):
        if written:
            raise KeyboardInterrupt
        written.append(arguments[1])
        return write(*arguments)

    monkeypatch.setattr(store, "write_result", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "out", nbeta=500.0)
    stopped = Sweep.open(tmp_path / "out")
    assert list(stopped.curve["step"].values) == [0]
    assert stopped.estimate(0).nbeta == stopped.estimate(np.float64(0)).nbeta == 500.0
    nowhere: tuple[Any, ...] = (100, 0.5, 7, "0", None)
    for step in nowhere:
        with pytest.raises(
            InputError, match=f"step={step!r} has no estimate, but one of the curve is needed"
        ):
            stopped.estimate(step)
    monkeypatch.setattr(store, "write_result", write)
    caplog.clear()
    after = run(folder, tmp_path / "out").curve
    assert said(caplog) == ["nbeta 500 -> 1000: 1 checkpoint is estimated anew"]
    np.testing.assert_array_equal(after["llc"], before["llc"])


def test_steps_that_left_the_plan_leave_the_curve_and_come_back_for_free(tmp_path, monkeypatch):
    folder = checkpoints(tmp_path / "in")
    whole = run(folder, tmp_path / "out").curve
    (folder / "step_100.npz").rename(tmp_path / "aside.npz")
    (folder / "step_300.npz").write_bytes(b"")
    assert list(run(folder, tmp_path / "out").curve["step"].values) == [0, 200, 300]
    failed = Sweep.open(tmp_path / "out").curve["status"].values == "failed"
    assert list(failed) == [False, False, True]
    (tmp_path / "aside.npz").rename(folder / "step_100.npz")
    save_npz(folder / "step_300.npz", balanced(3)[0])
    monkeypatch.setattr(store, "write_result", None)
    np.testing.assert_array_equal(run(folder, tmp_path / "out").curve["llc"], whole["llc"])


def test_the_same_model_written_elsewhere_is_the_same_model(tmp_path):
    folder = checkpoints(tmp_path / "in", ranks=(0, 1))
    run(folder, tmp_path / "out")
    again = lltc.behavioral(lambda p, inputs: inputs @ p["first"] @ p["second"], "squared")
    run(folder, tmp_path / "out", model=again)


def test_nbeta_and_localization_are_fixed_once(tmp_path):
    pairs = [(step, jnp.full(2, float(step))) for step in (1, 2, 4)]
    loss = lambda w, x: 0.5 * jnp.sum((w - x) ** 2, -1)
    swept = run(pairs, tmp_path / "out", model=loss, data=np.zeros((50, 2)), nbeta=None, localization=None)
    options = swept.settings.options
    assert options["nbeta"] == pytest.approx(50 / np.log(50))
    assert options["localization"] == pytest.approx(2 / (0.5 * np.linalg.norm([4, 4])) ** 2)
    assert {swept.estimate(step).localization for step in (1, 2, 4)} == {options["localization"]}
    more = [*pairs, (8, jnp.full(2, 8.0))]
    grown = run(more, tmp_path / "out", model=loss, data=np.zeros((50, 2)), nbeta=None, localization=None)
    assert grown.settings.options == options


def test_defaults_fixed_before_stay_only_while_what_they_rest_on_is_the_same(tmp_path):
    data = np.zeros((50, 2), np.float32)
    chains: dict[str, Any] = {"num_draws": 16, "num_warmup": 16, "num_chains": 2}
    loss = lambda params, x: 0.5 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)) + 0 * x[:, 0]
    now, mean = ({"a": np.full(2, size), "b": np.full(2, size)} for size in (1.0, 3.0))
    save_npz(tmp_path / "in" / "step_5.npz", {"now": now, "mean": mean})
    first = lltc.sweep(tmp_path / "in", loss, data, out=tmp_path, params_key="now", progress=False, **chains)
    fixed = first.settings.posterior

    def planned(**changed: Any) -> tuple[float, float]:
        asked: dict[str, Any] = {"params_key": "now"} | chains | changed
        return plan_sweep(
            tmp_path / "in", make_request(loss, data, **asked), tmp_path
        ).setup.settings.posterior

    assert planned(num_draws=17, weight_decay=0.1) == fixed
    assert planned(weights=np.full(50, 2.0)) == (pytest.approx(100 / np.log(100)), fixed[1])
    for changed in ({"params_key": "mean"}, {"tie": {"b": "a"}}, {"ignore": "b"}, {"restrict": "a"}):
        assert planned(**changed)[1] != fixed[1]


def test_all_checkpoints_share_one_compilation(tmp_path):
    compiled = []

    def watch(event: str, duration_secs: float, **_: str | int) -> None:
        del duration_secs
        compiled.extend([event] if "backend_compile" in event else [])

    run(checkpoints(tmp_path / "a"), tmp_path / "out")
    jax.monitoring.register_event_duration_secs_listener(watch)
    run(checkpoints(tmp_path / "b", ranks=(3, 1, 0, 2, 1)), tmp_path / "other")
    assert compiled == []
    run(checkpoints(tmp_path / "b", ranks=(0,)), tmp_path / "fewer", num_chains=6)
    assert compiled != []


def test_observables_become_variables_of_the_curve(tmp_path):
    norm = {"norm": lambda params: jnp.linalg.norm(params["first"])}
    swept = run(checkpoints(tmp_path / "in"), tmp_path / "out", observables=norm)
    np.testing.assert_allclose(swept.curve["norm"], np.sqrt([0, 1, 2, 3]), rtol=1e-6)
    with pytest.raises(InputError, match="one number, or a vector"):
        run(checkpoints(tmp_path / "in"), tmp_path / "o", observables={"map": lambda p: p["first"]})
    with pytest.raises(InputError, match="failed on a checkpoint"):
        run(checkpoints(tmp_path / "in"), tmp_path / "o", observables={"key": lambda p: p["absent"]})


def scaled(factor):
    return lambda params: float(np.linalg.norm(params["first"])) * factor


def test_new_and_changed_observables_are_evaluated_without_chains(tmp_path, caplog, monkeypatch):
    folder = checkpoints(tmp_path / "in")
    before = run(folder, tmp_path / "out", observables={"norm": scaled(1)}).curve
    monkeypatch.setattr(store, "write_result", None)
    monkeypatch.setattr("lltc.sweeps.jobs.worker.estimate_llc", None)
    run(folder, tmp_path / "out", observables={"norm": scaled(1)})
    assert said(caplog) == []
    traced = {"sum": lambda params: jnp.sum(params["first"])}
    after = run(folder, tmp_path / "out", observables={"norm": scaled(2)} | traced).curve
    assert said(caplog) == [
        "observable norm changed: 4 checkpoints are evaluated",
        "observable sum is new: 4 checkpoints are evaluated",
    ]
    np.testing.assert_array_equal(after["norm"], 2 * before["norm"])
    np.testing.assert_array_equal(after["sum"], [0, 1, 2, 3])
    np.testing.assert_array_equal(after["llc"], before["llc"])
    fewer = run(folder, tmp_path / "out", observables=traced).curve
    assert "norm" not in fewer


def test_an_observable_that_fails_at_one_checkpoint_spares_its_estimate(tmp_path):
    inverse = {"inverse": lambda params: 1 / int(params["first"].sum())}
    curve = run(checkpoints(tmp_path / "in"), tmp_path / "out", observables=inverse).curve
    np.testing.assert_array_equal(curve["inverse"], [np.nan, 1, 1 / 2, 1 / 3])
    assert np.isfinite(curve["llc"]).all()
    assert str(curve["reason"].values[0]).startswith("observables['inverse'] failed (ZeroDivisionError")


def test_task_loss_is_reported_beside_the_behavioral_loss(tmp_path):
    params, (x, y) = balanced(1)
    model = lltc.behavioral(lambda p, batch: apply(p, batch[0]), "squared", loss=linear_loss)
    swept = run([(0, balanced(0)[0]), (1, params)], tmp_path / "out", model=model, data=(x, y))
    np.testing.assert_allclose(swept.curve["loss"], [0.5, 0.0], atol=1e-6)


def test_sources_that_cannot_be_swept(tmp_path):
    with pytest.raises(InputError, match="checkpoints holds none"):
        run([], tmp_path / "out")
    with pytest.raises(InputError, match="step 1 more than once"):
        run([(1, jnp.ones(1)), (1, jnp.ones(1))], tmp_path / "out")
    with pytest.raises(InputError, match="checkpoints holds a str"):
        run(["abc"], tmp_path / "out")
    for step in (1.5, "10", float("nan"), float("inf"), None):
        with pytest.raises(InputError, match="checkpoints holds a tuple with the step"):
            run([(step, jnp.ones(1))], tmp_path / "out")
    for step in (-1, 10**19):
        with pytest.raises(InputError, match=f"checkpoints names step {step}, but a step is a whole number"):
            run([(step, balanced(1)[0]), (5, balanced(2)[0])], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        run(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(InputError, match=r"no sweep\.json"):
        Sweep.open(tmp_path / "empty")
    assert not (tmp_path / "out").exists()


def test_a_loader_reads_what_lltc_does_not_know(tmp_path, caplog):
    known = run(checkpoints(tmp_path / "known", ranks=(1, 3)), tmp_path / "out").curve
    folder = tmp_path / "own"
    folder.mkdir()
    for i, rank in enumerate((1, 3)):
        (folder / f"weights-{100 * i}.txt").write_text(str(rank))

    def load(path):
        return balanced(int(path.read_text()))[0]

    own = run(folder, tmp_path / "other", loader=load).curve
    np.testing.assert_array_equal(own["llc"], known["llc"])
    run(folder, tmp_path / "other", loader=lambda path: load(path))
    assert said(caplog) == ["loader changed: 2 checkpoints are estimated anew"]
    with pytest.raises(InputError, match="loader says how to read a folder"):
        run([(0, balanced(1)[0])], tmp_path / "o", loader=load)


def test_reading_other_params_from_the_same_bytes_estimates_anew(tmp_path, caplog):
    folder = tmp_path / "in"
    folder.mkdir()
    for step in (0, 1):
        params = {"now": balanced(2)[0], "mean": balanced(3)[0], "step": np.int64(step)}
        save_npz(folder / f"step_{step}.npz", params)
    now = run(folder, tmp_path / "out", params_key="now").curve
    mean = run(folder, tmp_path / "out", params_key="mean").curve
    assert said(caplog) == ["params_key now -> mean: 2 checkpoints are estimated anew"]
    assert np.all(mean["llc"].values > now["llc"].values)
    # Records say themselves how they are read.
    records = {name: lltc.find_checkpoints(folder, params_key=name) for name in ("mean", "now")}
    again = {name: run(given, tmp_path / "out").curve for name, given in records.items()}
    assert said(caplog)[1:] == ["params_key mean -> now: 2 checkpoints are estimated anew"]
    np.testing.assert_array_equal(again["mean"]["llc"], mean["llc"])
    np.testing.assert_array_equal(again["now"]["llc"], now["llc"])


def test_numbers_of_numpy_and_lists_of_one_glob_are_the_same_settings(tmp_path, monkeypatch):
    pairs = [(np.int64(i), balanced(i)[0]) for i in (1, 2)]
    plain = run(pairs, tmp_path / "out", restrict="first").settings
    monkeypatch.setattr(store, "write_result", None)
    given = {"nbeta": np.float32(1e3), "localization": jnp.float32(1.0), "num_chains": np.int64(4)}
    same = run(pairs, tmp_path / "out", restrict=["first"], **given).settings
    assert (same.numbers, same.given) == (plain.numbers, plain.given)


def test_settings_that_could_not_be_read_again_are_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("lltc.sweeps.jobs.worker.estimate_llc", None)
    monkeypatch.setattr("lltc.sweeps.jobs.request.versions", lambda: {"lltc": 3})
    with pytest.raises(InputError, match="settings of the sweep cannot be recorded"):
        run([(0, balanced(1)[0])], tmp_path / "out")


def test_a_results_file_is_a_datatree_with_its_settings(tmp_path):
    import xarray

    swept = run(checkpoints(tmp_path / "in", ranks=(1,)), tmp_path / "out")
    with xarray.open_datatree(store.result_path(swept.out, 0), engine="h5netcdf") as tree:
        assert tree.attrs["nbeta"] == 1e3
        assert tree["posterior/llc"].shape == (4, 64)
    settings = json.loads((swept.out / "sweep.json").read_text())
    assert settings["versions"]["jax"] == jax.__version__
    assert len(settings["model"]) == len(settings["data"]) == 16


def test_plot_and_report_hold_the_curve(tmp_path):
    swept = run(checkpoints(tmp_path / "in"), tmp_path / "out")
    axes = swept.plot()
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    assert set(np.round(swept.curve["llc"].values, 9)) <= set(np.round(drawn, 9))
    page = swept.report().read_text()
    assert page.lower().startswith("<!doctype html>")
    assert f"{swept.curve['llc'].values[0]:.2f}" in page
    assert axes is swept.plot(axes)
