"""Probes of quadratics: shares, variances, each component's part and each example's variance are exact."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc import InputError, Status
from lltc.cli.probing import probe_to_json
from lltc.kernels import baoab
from lltc.posterior.target import local_posterior
from lltc.probes import probe, sampled
from lltc.probes.hessian import find_directions
from lltc.probes.shares import Moments, divide_llc
from lltc.report.wording import measured
from tests.problems import DUMMY, constant, regression

NBETA, GAMMA = 100.0, 1.0
OPTIONS: dict[str, Any] = {"nbeta": NBETA, "localization": GAMMA, "progress": False}
CURVATURES = {"a": np.array([1.0, 30.0]), "b": np.array([0.003, 0.1, 10.0])}
SCALES = {"before": {"a": 1.0, "b": 1.0}, "after": {"a": 0.0, "b": 1.0}}


def loss(params):
    return sum(
        0.5 * params[f"scale {name}"] * jnp.sum(h * params[name] ** 2) for name, h in CURVATURES.items()
    )


def point(scales):
    return {name: jnp.zeros(len(h)) for name, h in CURVATURES.items()} | {
        f"scale {name}": jnp.float32(scale) for name, scale in scales.items()
    }


@pytest.fixture(scope="module")
def found() -> Any:
    """Block a loses all its curvature, by scales that do not move; lltc says that it is then idle."""
    with pytest.warns(lltc.LLCWarning, match="does not depend on a"):
        return _probed()


def _probed() -> Any:
    return probe(
        constant(loss),
        point(SCALES["before"]),
        point(SCALES["after"]),
        DUMMY,
        components={"a": "a", "b": "b"},
        restrict=["a", "b"],
        refine=True,
        num_draws=8000,
        **OPTIONS,
    )


def test_shares_and_variances_of_a_quadratic(found):
    curvature = np.sort(np.concatenate(list(CURVATURES.values())))[::-1]
    seen = found.stiffness_before
    np.testing.assert_allclose(seen.curvature, curvature, rtol=1e-5)
    assert np.all(np.abs(seen.variance.value - 1 / (NBETA * curvature + GAMMA)) < 4 * seen.variance.se)
    off = np.abs(seen.share - NBETA * curvature / (NBETA * curvature + GAMMA))
    error = NBETA * curvature * seen.variance.se
    assert np.all(off < 4 * error)
    assert np.all(error < 0.1)
    assert (seen.num_stiff, found.stiffness_after.num_stiff) == (4, 2)
    assert (found.num_stiffened, found.num_softened) == (0, 2)
    falling = np.argsort(-np.concatenate(list(CURVATURES.values())))
    off = np.abs(seen.param_precision[falling] - NBETA * curvature)
    assert np.all(off < 4 * seen.variance.se / seen.variance.value**2)


def test_parts_are_those_of_the_independent_blocks(found):
    lost = -0.5 * sum(NBETA * h / (NBETA * h + GAMMA) for h in CURVATURES["a"])
    a, b = found.by_component["a"], found.by_component["b"]
    assert abs(a.delta_llc - lost) < 3.5 * a.delta_llc_se < 0.35
    assert abs(b.delta_llc) < 3.5 * b.delta_llc_se < 0.35
    assert a.softened == pytest.approx(2)
    assert b.softened == pytest.approx(0, abs=1e-6)
    assert found.participation == pytest.approx(2, rel=0.05)
    assert found.param_participation == pytest.approx(2, rel=0.05)
    for part, exact in ((a, lost), (b, 0.0)):
        assert part.refined is not None
        assert abs(part.refined.value - exact) < 3.5 * part.refined.se + 1e-3


def test_parts_add_up_where_the_checkpoint_is_no_minimum():
    """Off the minimum by δ: u has mean m = -nβhδ/(nβh + γ), and λ = nβh Σ ½(m² + σ²) + δm."""
    model = constant(lambda w: 0.5 * jnp.sum(h * w**2))
    h, offset = np.array([1.0, 3.0, 0.5]), np.array([0.3, 0.0, -0.2])
    options: dict[str, Any] = OPTIONS | {"components": ["[:2]", "[2:]"], "num_draws": 8000}
    found = probe(model, np.zeros(3, np.float32), offset.astype(np.float32), DUMMY, **options)
    mean = -NBETA * h * offset / (NBETA * h + GAMMA)
    change = NBETA * h * (0.5 * mean**2 + offset * mean)
    assert abs(found.delta_llc - change.sum()) < 3.5 * found.delta_llc_se < 0.5
    for part, exact in zip(found.by_component.values(), (change[:2].sum(), change[2]), strict=True):
        assert abs(part.delta_llc - exact) < 3.5 * part.delta_llc_se < 0.5
    parts = found.by_component.values()
    error = np.sqrt(found.delta_llc_se**2 + sum(part.delta_llc_se**2 for part in parts))
    assert abs(sum(part.delta_llc for part in parts) - found.delta_llc) < 3.5 * error < 0.15


def test_the_record_prints_and_is_labelled(found):
    lines = repr(found).splitlines()
    assert lines[0].startswith(f"Probe(Δλ̂ {measured(found.delta_llc, found.delta_llc_se)}: ")
    assert lines[1] == "  stiff     4 → 2 of 5 directions: 0 stiffened, 2 softened"
    assert lines[-3].split() == ["component", "Δλ̂", "stiffened", "softened", "moved", "refined", "Δλ̂"]
    assert lines[-2].split()[:2] == ["a", f"{found.by_component['a'].delta_llc:.3g}"]
    table = found.to_dataset()
    assert float(table.component_softened.sel(component="a")) == found.by_component["a"].softened
    assert float(table.llc.sel(checkpoint="after")) == found.after.llc
    np.testing.assert_array_equal(table.curvature.sel(checkpoint="before"), found.stiffness_before.curvature)
    assert table.num_stiff.values.tolist() == [4, 2]
    np.testing.assert_array_equal(table.loss_variance.sel(checkpoint="after"), found.examples.after.value)
    assert table.attrs == {"nbeta": NBETA, "localization": GAMMA}


def test_spectra_are_drawn(found):
    axes = found.plot()
    heights = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    np.testing.assert_allclose(heights["before: 4 stiff"], NBETA * found.stiffness_before.curvature[:4])
    assert len(heights["after: 2 stiff"]) == 2
    assert (
        axes.get_title()
        == f"0 stiffened, 2 softened; the change amounts to {found.participation:.1f} directions"
    )


def test_variances_of_single_losses():
    """ℓᵢ = ½ g xᵢ² u² has the variance ½ (g xᵢ² σ²)², σ² = 1/(nβ g mean x² + γ)."""
    x = np.linspace(0.1, 2, 40).astype(np.float32)
    model = lambda w, batch: 0.5 * w["g"] * batch**2 * w["u"] ** 2
    points = [{"g": jnp.float32(g), "u": jnp.float32(0)} for g in (0.01, 1.0)]
    found: Any = probe(model, points[0], points[1], x, restrict="u", num_draws=16_000, **OPTIONS)
    for pairs, g in ((found.examples.before, 0.01), (found.examples.after, 1.0)):
        exact = 0.5 * (g * x**2 / (NBETA * g * np.mean(x**2) + GAMMA)) ** 2
        assert np.all(np.abs(pairs.value - exact) < 4 * pairs.se)
        assert np.all(pairs.se < 0.2 * exact)
    assert found.examples.most(3).tolist() == [39, 38, 37]
    assert found.examples.examples[found.examples.most(1)[0]] == 39


def test_many_parameters_are_sketched():
    """Ten equal curvatures among 700 are all found; of fewer than ten the count is a lower bound."""
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(700, 10)))[0].astype(np.float32)
    model = constant(lambda w: 0.5 * jnp.sum((basis.T @ w) ** 2) + 5e-5 * jnp.sum(w**2))
    posterior = local_posterior(model, np.zeros(700, np.float32), DUMMY, **_only("nbeta", "localization"))
    curved = find_directions(posterior, 16, 100, 0)
    np.testing.assert_allclose(curved.curvature[:10], 1.0001, rtol=1e-4)
    np.testing.assert_allclose(curved.curvature[10:], 1e-4, rtol=0.05)
    np.testing.assert_allclose(np.linalg.norm(basis.T @ curved.directions[:, :10]), np.sqrt(10), rtol=1e-4)
    np.testing.assert_allclose(curved.directions.T @ curved.directions, np.eye(16), atol=1e-4)
    options: dict[str, Any] = OPTIONS | {"num_draws": 500, "num_warmup": 300}
    zeros = np.zeros(700, np.float32)
    few = probe(model, zeros, zeros, DUMMY, directions=4, components=[], **options)
    assert few.change.lower_bound
    assert few.stiffness_after.num_stiff == 4
    assert "at least" in repr(few.stiffness_after)
    assert "(at least;" in repr(few)
    assert few.by_component == {}


def _only(*names):
    return {name: OPTIONS[name] for name in names}


def test_curvature_is_measured_on_other_examples_than_those_that_found_it():
    """The top eigenvalues of the moments of 40 examples are far above 1; measured anew they are not."""
    model, weights, data = regression(3, 20_000, 30)
    posterior = local_posterior(model, weights, data)
    curved = find_directions(posterior, 64, 40, 0)
    assert curved.curvature.mean() == pytest.approx(1, abs=0.1)
    assert curved.curvature[:3].mean() < 2
    fitted = np.linalg.eigvalsh(data[0][:40].T @ data[0][:40] / 40)
    assert fitted[-3:].mean() > 2


def test_a_checkpoint_that_diverges_gives_no_numbers():
    broken = constant(lambda w: jnp.where(jnp.sum(w**2) > 0, jnp.nan, 0.0))
    zeros = np.zeros(3, np.float32)
    found = probe(broken, zeros, zeros, DUMMY, kernel=baoab(), num_draws=128, num_warmup=64, **OPTIONS)
    assert found.after.status is Status.diverged
    numbers = (found.delta_llc, found.num_stiffened, found.num_softened)
    assert found.stiffness_after.num_stiff is None
    assert np.isnan(found.to_dataset().num_stiff).all()
    assert json.loads(json.dumps(probe_to_json(found), allow_nan=False))["after"]["num_stiff"] is None
    assert np.isnan([*numbers, found.participation, found.param_participation, found.moved_inside]).all()
    assert np.isnan([part.stiffened for part in found.by_component.values()]).all()
    assert "  stiff     — → — of 3 directions: — stiffened, — softened" in repr(found)
    assert repr(found.stiffness_after).startswith("Stiffness(— stiff of 3 directions")
    assert "— stiffened" in found.plot().get_title()


def test_positions_of_chains_that_diverge_tell_no_stiffness(monkeypatch):
    """Far away they are numbers still, and huge."""
    draw = sampled.draw_estimates
    diverged = lambda *given, **more: [replace(each, status=Status.diverged) for each in draw(*given, **more)]
    monkeypatch.setattr(sampled, "draw_estimates", diverged)
    found = probe(constant(lambda w: jnp.sum(w**2)), np.zeros(2), np.zeros(2), DUMMY, **OPTIONS)
    assert np.isnan([found.num_stiffened, *found.stiffness_after.variance.value]).all()
    assert found.examples is not None
    assert np.isnan(found.examples.after.value).all()


def test_a_kink_carries_as_much_as_it_should():
    """E[nβ|b|] = 1, where that of a quadratic is ½."""
    model = constant(lambda w: 0.5 * w["a"] ** 2 + w["kink"] * abs(w["b"]) + (1 - w["kink"]) * w["b"] ** 2)
    points = [{"a": np.float32(0), "b": np.float32(0), "kink": np.float32(kink)} for kink in (0, 1)]
    found = probe(model, points[0], points[1], DUMMY, restrict=["a", "b"], **OPTIONS)
    assert abs(found.by_component["b"].delta_llc - 0.5) < 3.5 * found.by_component["b"].delta_llc_se < 0.2
    assert abs(found.by_component["a"].delta_llc) < 3.5 * found.by_component["a"].delta_llc_se < 0.2


@pytest.mark.parametrize(("llc", "parts"), [(1.5, [0.75, 0.75]), (2.1, [1, 1]), (2.9, [np.nan] * 2)])
def test_parts_that_cannot_add_up_are_none(llc, parts):
    """Two soft parameters of full confinement carry at most 1 each."""
    none = np.zeros((4, 3))
    moments = Moments(none[:, :2], np.zeros(2), np.eye(2, 3), none, none, np.array([1, 1, 2]))
    estimate: Any = SimpleNamespace(llc=llc, llc_se=0.1, nbeta=NBETA, localization=GAMMA)
    found = divide_llc(estimate, moments)
    np.testing.assert_allclose([part.value for part in found[:2]], parts)
    assert all(part.se >= 0.05 for part in found)


def test_all_that_a_probe_evaluates_keeps_within_memory(monkeypatch):
    plans = []
    find = sampled.find_directions
    monkeypatch.setattr(sampled, "find_directions", lambda *given: plans.append(given[0]) or find(*given))
    model, weights, data = regression(0, 256, 4)
    few: dict[str, Any] = {"num_draws": 128, "num_warmup": 16, "memory": 20_000, "progress": False}
    probe(model, weights, weights, data, **few)
    assert all(plan.block < 256 for plan in plans)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"restrict": "b"}, "another restrict each"),
        ({"restrict": {"a": np.array([True, False]), "b": False}}, "another restrict each"),
        ({"linear": False}, "another linear each"),
        ({"weight_decay": 0.1}, "another weight_decay each"),
        ({"data": DUMMY[:3]}, "another number of examples in data each"),
        ({"nbeta": 99.0}, "at one nβ and one γ"),
    ],
)
def test_posteriors_that_differ_in_more_than_the_checkpoint_are_refused(changed, said):
    model = constant(lambda w: jnp.sum(w["a"] ** 2) + jnp.sum(w["b"] ** 2))
    common = {"data": DUMMY, "restrict": "a", "nbeta": NBETA, "localization": GAMMA}
    point = {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float32)}
    one, other = (local_posterior(model, point, **some) for some in (common, common | changed))
    with pytest.raises(InputError, match=said):
        probe(one, other, progress=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"components": ["x"]}, r"components\['x'\]='x' selects no"),
        ({"num_draws": 100}, "num_draws must be at least 128"),
        ({"refine": "no"}, "refine must be True or False, but 'no'"),
        ({"directions": 0}, "directions must be an integer of at least 1, but 0"),
        ({"examples": 2.5}, "examples must be an integer of at least 1, but 2.5"),
        ({"after": {"a": jnp.zeros(2)}}, "before and after must be checkpoints of one network, but b is"),
    ],
)
def test_what_cannot_be_probed_is_refused_in_one_sentence(options, said):
    points = {"before": point(SCALES["before"]), "after": point(SCALES["after"])}
    with pytest.raises(InputError, match=said):
        probe(**(points | {"model": constant(loss), "data": DUMMY} | OPTIONS | options))
