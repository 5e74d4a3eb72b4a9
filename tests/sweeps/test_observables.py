"""Observables: known sub-losses and vectors at every checkpoint, along the chains, each with its markers."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom

import lltc
from lltc import InputError
from lltc.sweeps.store import folder as store
from lltc.toys import network_loss, network_outputs, train_bottleneck
from lltc.transitions import estimate_noise, find_changes
from tests.problems import balanced, linear_loss
from tests.sweeping import FEW

RANKS = (0, 0, 1, 1, 2, 2)
PAIRS = [(10 * i, balanced(rank)[0] | {"at": np.array(i)}) for i, rank in enumerate(RANKS)]
DATA = balanced(3)[1]
MODEL = lltc.behavioral(lambda p, batch: batch[0] @ p["first"] @ p["second"], "squared", loss=linear_loss)
BOTTLENECK = lltc.behavioral(lambda p, batch: network_outputs(p, batch["x"]), "squared", loss=network_loss)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train_bottleneck(tmp_path_factory.mktemp("run") / "in", num_checkpoints=24)


def sweep(out, **options: Any) -> lltc.Sweep:
    return lltc.sweep(PAIRS, MODEL, DATA, out=out, **(FEW | options))


def test_data_sets_slices_and_vectors_become_variables(tmp_path):
    x, y = DATA
    observables = {
        "second mode": (x[1:2], y[1:2]),
        "first two": slice(2),
        "ranks": lambda p: jnp.diag(p["first"] @ p["second"])[:3],
        "norm": lambda p: jnp.linalg.norm(p["first"]),
    }
    curve = sweep(tmp_path, observables=observables).curve
    # Mode i is missing, hence costs ½·5 on its own example, until the rank exceeds it.
    np.testing.assert_allclose(curve["second mode"], [2.5, 2.5, 2.5, 2.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(curve["first two"], [2.5, 2.5, 1.25, 1.25, 0, 0], atol=1e-6)
    assert curve["second mode"].attrs == {"units": "nats"}
    for mode in range(3):
        np.testing.assert_allclose(curve[f"ranks[{mode}]"], [float(rank > mode) for rank in RANKS], atol=1e-6)
    names = ["first two", "norm", "ranks[0]", "ranks[1]", "ranks[2]", "second mode"]
    assert curve.attrs["observables"] == names


def test_a_sub_loss_follows_its_data_and_its_model(tmp_path, caplog, monkeypatch):
    x, y = DATA
    sweep(tmp_path, observables={"one": (x[:1], y[:1])})
    monkeypatch.setattr("lltc.sweeps.jobs.worker.estimate_llc", None)
    caplog.clear()
    sweep(tmp_path, observables={"one": (x[:1].copy(), y[:1].copy())})
    assert caplog.messages == []
    curve = sweep(tmp_path, observables={"one": (x[:1], 2 * y[:1])}).curve
    assert caplog.messages == ["observable one changed: 6 checkpoints are evaluated"]
    np.testing.assert_allclose(curve["one"], [10, 10, 2.5, 2.5, 2.5, 2.5], atol=1e-5)


def test_a_mean_model_and_many_blocks_give_the_same_sub_loss(monkeypatch):
    monkeypatch.setattr("lltc.sweeps.jobs.observables.BLOCK", 2)
    mean = lambda params, batch: jnp.mean(linear_loss(params, batch))
    for model in (linear_loss, mean):
        curve = lltc.observe(PAIRS, model, DATA, observables={"all": DATA}).curve
        np.testing.assert_allclose(curve["all"], [1.5, 1.5, 1.0, 1.0, 0.5, 0.5], atol=1e-6)


def test_along_the_chains_an_observable_is_seen_at_every_16th_draw(tmp_path, caplog):
    distance = {"half": lambda p: 0.5 * jnp.sum(p["first"] ** 2), "loss of one": slice(1)}
    few = {"observables": distance, "num_draws": 64}
    assert sweep(tmp_path, **few).estimate(0).observables == {}
    caplog.clear()
    swept = sweep(tmp_path, along_chains=["half", "loss of one"], **few)
    assert caplog.messages == ["along_chains changed: 6 checkpoints are estimated anew"]
    seen = swept.estimate(0).observables
    assert {name: values.shape for name, values in seen.items()} == {"half": (2, 4), "loss of one": (2, 4)}
    # Around zero weights the squares of 15 weights are those of the prior, or less.
    assert 0 < seen["half"].mean() < 0.5 * 15 * 2


def test_what_cannot_be_observed_is_refused(tmp_path):
    tree = {"first": lambda p: p["first"]}
    cases = [
        ({"observables": {"llc": jnp.sum}}, "observables names 'llc'"),
        ({"observables": {"a[0]": jnp.sum}}, "does not end in a number"),
        ({"observables": [1]}, "observables must be a mapping"),
        ({"observables": {"odd": 3.0}}, r"observables\['odd'\] is neither a function of params nor a data"),
        ({"observables": {"none": slice(0, 0)}}, "takes none of the 5 examples"),
        ({"observables": {"wrong": np.zeros((3, 2))}}, r"model failed on params"),
        ({"observables": tree}, r"returned shape \(5, 3\), but one number, or a vector"),
        ({"along_chains": ["x"]}, "along_chains names 'x'"),
        (
            {"observables": {"n": lambda p: float(np.sum(p["first"]))}, "along_chains": "n"},
            "JAX cannot trace",
        ),
    ]
    for options, said in cases:
        with pytest.raises(InputError, match=said):
            sweep(tmp_path, **options)
    no_loss = lltc.behavioral(MODEL.apply, "squared")
    with pytest.raises(InputError, match="needs the task's loss"):
        lltc.observe(PAIRS, no_loss, DATA, observables={"a": slice(1)})


def test_files_of_single_numbers_are_still_read(tmp_path):
    swept = sweep(tmp_path, observables={"norm": lambda p: jnp.linalg.norm(p["first"])})
    found = json.loads(store.observables_path(tmp_path, 20).read_text())
    assert found["values"]["norm"][1] == 1.0
    assert float(swept.curve["norm"].sel(step=20)) == 1.0


def test_each_mode_of_the_bottleneck_changes_once_and_in_its_turn(run):
    modes = {f"mode {i}": slice(i, i + 1) for i in range(5)}
    seen = lltc.observe(run.path, BOTTLENECK, run.data, observables=modes)
    teacher = np.diag([*run.teacher, 0, 0])
    learnt = run.singular_values[list(run.steps)]
    for i in range(3):
        # Example i sees mode i alone, once the tiny start has turned into the teacher's directions.
        known = 2.5 * (learnt[:, i] - teacher[i, i]) ** 2
        np.testing.assert_allclose(seen.curve[f"mode {i}"], known, rtol=0.02, atol=0.02 * known.max())
        (change,) = seen.transitions[f"mode {i}"]
        assert change.kind == "fall"
        assert change.delta_llc == pytest.approx(-2.5 * teacher[i, i] ** 2, rel=0.02)
        halfway = int(np.argmax(run.singular_values[:, i] > teacher[i, i] / 2))
        assert change.step_low <= halfway <= change.step_high
    # Two outputs are always zero: their tiny losses are rounding, not changes.
    assert seen.transitions["mode 3"] == seen.transitions["mode 4"] == ()
    assert [change.kind for change in seen.transitions["loss"]] == ["fall"] * 3
    np.testing.assert_allclose(seen.curve["loss"], run.losses, rtol=1e-4, atol=1e-9)


def test_a_model_of_tokens_is_looked_at_by_its_losses_of_examples():
    """A masked token counts for nothing: an example's loss is the mean over the others."""
    loss = lambda w, x: ((w - x) ** 2, jnp.arange(x.shape[1]) < jnp.ones((len(x), 1)) * 2)
    data = np.array([[0.0, 2.0, 9.0], [1.0, 3.0, -9.0]], np.float32)
    seen = lltc.observe([(step, jnp.float32(step)) for step in (0, 1)], loss, data).curve
    assert seen["loss"].values.tolist() == [(0 + 4 + 1 + 9) / 4, (1 + 1 + 0 + 4) / 4]
    assert seen["gradient_norm"].values.tolist() == [3.0, 1.0]


@pytest.mark.parametrize("examples", [0, -1, 1.5, True])
def test_how_many_examples_are_looked_at_is_a_number(examples):
    with pytest.raises(InputError, match="examples must be an integer ≥ 1, but"):
        lltc.observe(PAIRS, MODEL, DATA, examples=examples)


def test_looking_says_what_could_not_be_read(tmp_path):
    pairs = [*PAIRS, (70, {"first": np.zeros(3)})]
    broken = {"inverse": lambda p: 1 / int(p["first"].sum())}
    seen = lltc.observe(pairs, MODEL, DATA, observables=broken)
    reasons = [str(reason) for reason in seen.curve["reason"].values]
    assert reasons[0].startswith("observables['inverse'] failed (ZeroDivisionError")
    assert reasons[2] == ""
    assert reasons[-1].startswith("checkpoint failed (")
    np.testing.assert_allclose(seen.curve["inverse"], [np.nan, np.nan, 1, 1, 0.5, 0.5, np.nan])
    seen.to_csv(tmp_path / "seen.csv")
    assert (tmp_path / "seen.csv").read_text().splitlines()[3].startswith("20,1.0,")
    told = [f"step {step}: {reason}" for (step, _), reason in zip(pairs, reasons, strict=True) if reason]
    assert len(told) == 3
    assert "\n".join(["", "", *told]) in repr(seen)
    assert repr(seen).splitlines()[0].split() == ["step", "loss", "gradient_norm", "weight_norm", "inverse"]
    with pytest.raises(InputError, match="could not be read at any step"):
        lltc.observe(pairs[-1:], MODEL, DATA)


def holds_step(change, at):
    """Tell whether a marker holds the interval that ends at point `at`, and little else."""
    return change.step_low < at <= change.step_high and change.step_high - change.step_low <= 3


@pytest.mark.parametrize("size", [10, 20, 40])
def test_white_noise_makes_no_marker_and_steps_do(size):
    rng = np.random.default_rng(size)
    flat = [find_changes(range(size), 7 + 0.1 * rng.normal(size=size)) for _ in range(20)]
    assert sum(map(bool, flat)) <= 1
    noise = [estimate_noise(rng.normal(size=size)) for _ in range(400)]
    assert np.median(noise) == pytest.approx(1 + 4 / size, rel=0.1)
    step = 10 * (np.arange(size) >= size // 2)
    marked = [find_changes(range(size), step + rng.normal(size=size)) for _ in range(40)]
    holding = [each for each in marked if len(each) == 1 and holds_step(*each, size // 2)]
    # Of ten points a step bends so many that its noise is taken for up to three times as large.
    assert len(holding) >= binom.ppf(1e-3, 40, 0.85 if size == 10 else 0.95)
    assert find_changes(range(size), np.full(size, 3.0)) == ()


def test_changes_do_not_depend_on_the_unit():
    rng = np.random.default_rng(0)
    values = np.repeat([1.0, 3.0, 2.0], 8) + 0.1 * rng.normal(size=24)
    marks = [(c.step_low, c.step_high, c.kind) for c in find_changes(range(24), values)]
    scaled = find_changes(range(24), -1e-6 * values)
    assert [(c.step_low, c.step_high) for c in scaled] == [mark[:2] for mark in marks]
    assert [kind for *_, kind in marks] == ["rise", "fall"]
    assert [c.kind for c in scaled] == ["fall", "rise"]
