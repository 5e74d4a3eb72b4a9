"""Learning coefficients along coordinates that are no training: germs that break, samples that grow."""

from dataclasses import replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc.errors import InputError
from lltc.sweeps.jobs import worker
from lltc.toys import quadrature_llc

SETTINGS: dict[str, Any] = {"nbeta": 1e4, "localization": 1.0, "progress": False}
DATA = jnp.zeros(9)


def germ(params, batch):
    """Return x⁴ + h x²."""
    return (params["x"] ** 4 + params["h"] * params["x"] ** 2) * jnp.ones(len(batch))


def at(h: float) -> lltc.Point:
    return lltc.Point({"x": jnp.zeros(()), "h": jnp.float32(h)}, germ, DATA)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A quartic that a quadratic term takes over: from ¼ to ½ as h passes 1/√nβ."""
    values = [0.0, *np.geomspace(1e-5, 1e2, 15).tolist()]
    options = SETTINGS | {"restrict": "x", "num_draws": 4000}
    return lltc.sweep_path(at, values, out=tmp_path_factory.mktemp("path") / "out", **options)


def test_a_quartic_germ_breaks_into_a_quadratic_one(broken):
    assert list(broken.curve.coords) == ["h"]
    exact = [
        quadrature_llc(
            lambda w, h=h: w[..., 0] ** 4 + h * w[..., 0] ** 2, nbeta=1e4, localization=1.0, center=(0.0,)
        )
        for h in broken.curve["h"].values
    ]
    z = (broken.curve["llc"].values - exact) / broken.curve["llc_se"].values
    assert np.abs(z).max() < 3.5
    assert np.sqrt(np.mean(z**2)) < 1.7
    assert exact[0] == pytest.approx(0.25, abs=0.005)
    assert exact[-1] == pytest.approx(0.5, abs=0.001)


def test_the_break_is_marked_where_both_terms_weigh_the_same(broken):
    """x⁴ and h x² are equal on the scale of the quartic's posterior, x² ~ 1/√nβ, at h ~ 1/√nβ = .01."""
    (marker,) = broken.transitions
    assert marker.kind == "rise"
    assert marker.step_low < 0.01 < marker.step_high
    assert marker.delta_llc == pytest.approx(0.25, abs=3.5 * marker.delta_llc_se)


def test_a_path_is_opened_again_and_resumed(broken):
    again = lltc.sweep_path(
        at, broken.curve["h"].values, out=broken.out, **SETTINGS, restrict="x", num_draws=4000
    )
    assert again.curve.equals(broken.curve)
    assert repr(again) == repr(broken) == repr(lltc.PathSweep.open(broken.out))
    assert again.estimate(0.0).llc == broken.curve["llc"].sel(h=0.0)
    axes = broken.plot()
    assert axes.get_xlabel() == "h"


@pytest.mark.parametrize(("top", "marks"), [(0.001, 0), (1.0, 1)])
def test_errors_and_drifts_below_the_floor_mark_nothing(broken, tmp_path, monkeypatch, top, marks):
    """Errors far below what matters: 1 % of the level on the plateau, a thousandth of the top beneath it."""
    values = np.linspace(0.0, 1.0, 24).tolist()
    drift = lambda h: top * (1 + 0.009 * h) if h > 0.5 else 1e-4 * (1 + np.round(3 * h)) * (top == 1.0)
    level = lambda h: drift(h) or top * (1 + 0.004 * np.round(3 * h))
    sample = broken.estimate(0.0)
    draw = lambda _setup, _key, params, _component: replace(
        sample, llc=level(float(params["h"])), llc_se=1e-9
    )
    monkeypatch.setattr(worker, "_draw", draw)
    path = lltc.sweep_path(at, values, out=tmp_path, restrict="x", **SETTINGS)
    assert len(path.transitions) == marks


def test_a_crossing_of_two_lines_gives_way_to_a_bowl(tmp_path):
    """x²y² + h(x² + y²) goes from ½ (and a logarithm) to 1."""

    def crossing(params, batch):
        x, y = params["w"]
        return (x**2 * y**2 + params["h"] * (x**2 + y**2)) * jnp.ones(len(batch))

    point = lambda h: lltc.Point({"w": jnp.zeros(2), "h": jnp.float32(h)}, crossing, DATA)
    path = lltc.sweep_path(point, [0.0, 0.01, 1.0], out=tmp_path, restrict="w", **SETTINGS)
    for h in (0.0, 0.01, 1.0):
        loss = lambda w, h=h: w[..., 0] ** 2 * w[..., 1] ** 2 + h * np.sum(w**2, -1)
        exact = quadrature_llc(loss, nbeta=1e4, localization=1.0)
        row = path.curve.sel(h=h)
        assert abs(row["llc"] - exact) < 3.5 * row["llc_se"]


def test_options_of_a_point_are_its_own(tmp_path):
    """Along the temperature λ̂ of a quadratic is ½ nβ/(nβ + γ), at the γ of the first point."""
    bowl = lambda w, x: 0.5 * w**2 * jnp.ones(len(x))
    point = lambda nbeta: (jnp.float32(2.0) * 0, bowl, DATA, {"nbeta": nbeta})
    path = lltc.sweep_path(
        point, [1.0, 9.0, 99.0], out=tmp_path, coordinate="nbeta", num_draws=4000, progress=False
    )
    exact = 0.5 * np.array([1 / 2, 9 / 10, 99 / 100])
    assert np.all(np.abs(path.curve["llc"].values - exact) < 3.5 * path.curve["llc_se"].values)
    assert {path.estimate(value).localization for value in (1.0, 9.0, 99.0)} == {1.0}


@pytest.mark.parametrize("values", [[], [1.0, 1.0], [np.nan], ["a"], None])
def test_values_that_are_no_axis(values, tmp_path):
    with pytest.raises(InputError, match="values must be different finite numbers, at least one, but"):
        lltc.sweep_path(at, values, out=tmp_path, **SETTINGS)


@pytest.mark.parametrize("coordinate", ["n/8", "", "loss", "llc", "first", 3])
def test_a_coordinate_that_is_no_name_is_refused_before_any_work(coordinate, tmp_path, monkeypatch):
    monkeypatch.setattr("lltc.sweeps.paths.run_plans", None)
    with pytest.raises(InputError, match="coordinate must be a text without a slash that names no variable"):
        lltc.sweep_path(
            at, [1.0], out=tmp_path, coordinate=coordinate, observables={"first": jnp.sum}, **SETTINGS
        )


@pytest.mark.parametrize("names", [["lr=low", "lr=high"], ["h=1", "h=1.0"], ["h=nan"], ["h=1", "g=1"], ["1"]])
def test_runs_that_are_no_path_are_one_sentence(names, tmp_path, monkeypatch):
    monkeypatch.setattr("lltc.sweeps.paths.Runs.open", lambda _: dict.fromkeys(names))
    with pytest.raises(InputError, match="holds several runs, but no path; pass a folder that"):
        lltc.PathSweep.open(tmp_path)


def test_a_point_that_is_none_and_a_value_that_is_not_there(broken, tmp_path):
    with pytest.raises(InputError, match=r"at\(1.0\) returned int, but a lltc.Point or"):
        lltc.sweep_path(lambda _: cast(Any, 3), [1.0], out=tmp_path, **SETTINGS)
    with pytest.raises(InputError, match=r"value=0.5 is none of the path's"):
        broken.estimate(0.5)
    with pytest.raises(InputError, match=r"holds no runs\.json"):
        lltc.PathSweep.open(tmp_path / "nothing")


def test_where_two_free_energies_cross():
    """By hand: n ΔL = Δλ ln n with ΔL = ln(100)/100 and Δλ = 1 has the root n = 100."""
    crossing = lltc.free_energy_crossing((np.log(100) / 100, 1.0), (0.0, 2.0))
    assert crossing.num_examples.value == pytest.approx(100)
    assert (crossing.before, crossing.after) == ("a", "b")
    swapped = lltc.free_energy_crossing((0.0, 2.0), (np.log(100) / 100, 1.0))
    assert swapped == (pytest.approx(crossing.num_examples), "b", "a")
    for n in (90, 110):
        free = np.array([n * np.log(100) / 100 + np.log(n), 2 * np.log(n)])
        assert np.argmin(free) == (n > 100)


def test_the_error_of_the_crossing_is_that_of_its_parts():
    """Against the spread of crossings of phases drawn at random."""
    rng = np.random.default_rng(0)
    losses, coefficients = rng.normal([0.07, 0.05], 3e-4, (4000, 2)), rng.normal([7, 8.5], 0.05, (4000, 2))
    found = lltc.free_energy_crossing((0.07, 7, 3e-4, 0.05), (0.05, 8.5, 3e-4, 0.05))
    drawn = [
        lltc.free_energy_crossing(*zip(loss, llc, strict=True)).num_examples.value
        for loss, llc in zip(losses, coefficients, strict=True)
    ]
    assert found.num_examples.se == pytest.approx(np.std(drawn), rel=0.05)


def test_phases_that_never_cross():
    assert lltc.free_energy_crossing((0.1, 1.0), (0.0, 1.1))[1:] == ("b", "b")
    assert lltc.free_energy_crossing((0.1, 2.0), (0.0, 1.0))[1:] == ("b", "b")
    with pytest.raises(InputError, match=r"a and b both have the loss 0.1"):
        lltc.free_energy_crossing((0.1, 2.0), (0.1, 1.0))
    with pytest.raises(InputError, match="b has loss nan and llc 1"):
        lltc.free_energy_crossing((0.1, 2.0), (float("nan"), 1.0))


def test_phases_of_superposition_by_estimates():
    """5-gon against 6-gon of 6 features: the crossing by estimates is that of the closed forms."""
    pentagon, hexagon = (lltc.toys.superposition(5, dead=1), lltc.toys.superposition(6))
    found = [
        lltc.estimate_llc(
            p.model, p.params, p.data, nbeta=p.nbeta, localization=1.0, num_draws=500, progress=False
        )
        for p in (pentagon, hexagon)
    ]
    phases = [lltc.Phase(e.init_loss, e.llc, llc_se=e.llc_se) for e in found]
    crossing = lltc.free_energy_crossing(*phases)
    assert crossing.num_examples.value == pytest.approx(445, abs=3.5 * crossing.num_examples.se + 40)
    assert (crossing.before, crossing.after) == ("a", "b")
    assert jax.tree.leaves(pentagon.params)
