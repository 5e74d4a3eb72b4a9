"""The superposition notebook: its run takes the known phases in order, and measures what is known of them."""

import numpy as np
import pytest

from tests.executing import execute

pytestmark = pytest.mark.notebook

LOSSES = {"4": 1 / 9, "5": 0.06874, "6": 0.04819}
STATE = """{
    "ends": ends.to_dict("list"),
    "shapes": shapes.tolist(),
    "losses": {name: quenched_loss[place] for name, place in pure.items()},
    "levels": levels.reset_index().to_dict("list"),
    "parts": {
        name: curve["component_llc"].sel(component="feature 5").values[phase_of == name].tolist()
        for name in pure
    },
    "transitions": [[t.step_low, t.step_high, t.delta_llc, t.delta_llc_se] for t in swept.transitions],
    "probes": [
        {
            "delta": [found.delta_llc, found.delta_llc_se],
            "stiffened": found.num_stiffened,
            "softened": found.num_softened,
            "parts": {name: list(part[:4]) for name, part in found.by_component.items()},
        }
        for found in (pentagon, hexagon)
    ],
    "crossings": [
        [*found.num_examples, found.before, found.after]
        for found in (crossing, exact_crossing, lltc.free_energy_crossing(phases["4"], phases["5"]))
    ],
    "known": {name: float(known[place]) for name, place in pure.items()},
    "shares": shares.reset_index().to_dict("list"),
}"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    return execute("superposition", tmp_path_factory.mktemp("superposition"), STATE)


def test_noise_revives_dead_features_and_descent_does_not(executed):
    plain, noisy = (executed.state["ends"][name] for name in ("plain", "noisy"))
    assert sum(plain) == sum(noisy) == 16
    # One run in twenty ends at six corners by descent alone.
    assert plain[6] <= 2 < noisy[6]


def test_the_run_takes_the_phases_in_order(executed):
    shapes, losses = executed.state["shapes"], executed.state["losses"]
    first = {name: shapes.index(name) for name in LOSSES}
    assert first["4"] < first["5"] < first["6"]
    assert set(shapes[first["6"] :]) == {"6"}
    for name, known in LOSSES.items():
        assert losses[name] == pytest.approx(known, abs=3e-5)


def test_levels_are_those_of_the_phases(executed):
    levels = executed.state["levels"]
    assert {"4", "5", "6"} <= set(levels["phase"])
    for name, llc, se, known, limit in zip(
        *(levels[column] for column in ("phase", "llc", "llc_se", "known", "limit")), strict=True
    ):
        if name != "4+":
            assert abs(llc - (limit if np.isnan(known) else known)) < 3.5 * se < 0.9, name
    assert executed.state["known"]["5"] == pytest.approx(7, abs=0.1)
    assert executed.state["known"]["6"] == pytest.approx(8.5, abs=0.1)


def test_the_last_feature_leaks_is_dead_and_comes_alive(executed):
    parts = {name: np.mean(found) for name, found in executed.state["parts"].items() if found}
    assert parts["4"] == pytest.approx(1.0, abs=0.15)
    assert parts["5"] == pytest.approx(0.0, abs=0.3)
    assert parts["6"] == pytest.approx(1.5, abs=0.1)


def test_the_rise_is_marked_where_the_sixth_feature_comes_alive(executed):
    state = executed.state
    alive = [100 * (k + 1) for k, name in enumerate(state["shapes"]) if name in ("5+", "6")]
    low, high, delta, se = state["transitions"][-1]
    assert low < alive[0] <= high
    assert abs(delta - (state["known"]["6"] - state["known"]["5"])) < 3.5 * se < 1


def test_probes_find_three_directions_of_the_sixth_feature(executed):
    released, added = executed.state["probes"]
    known = executed.state["known"]["6"] - executed.state["known"]["5"]
    delta, se = added["delta"]
    assert (added["stiffened"], added["softened"]) == (3, 0)
    assert abs(delta - known) < 3.5 * se
    assert added["parts"]["feature 5"][2] > 2.4
    for name, (part, error, *_) in added["parts"].items():
        assert abs(part - known * (name == "feature 5")) < 3.5 * error + 0.05, name
    gained, lost = (released["parts"][f"feature {k}"] for k in (4, 5))
    assert gained[0] > 0 > lost[0] + 3.5 * lost[1]
    assert lost[3] > 1.5 > 0.5 > lost[2]


def test_the_posterior_changes_its_mind_at_a_few_hundred_examples(executed):
    (n, se, *sides), exact, square = executed.state["crossings"]
    assert exact[0] == pytest.approx(445, abs=1)
    assert abs(n - exact[0]) < 3.5 * se < 250
    assert sides == exact[2:] == ["a", "b"]
    assert square[2:] == ["b", "b"]
    shares = executed.state["shares"]
    assert shares["n"] == [100, 300]
    for k, sign in ((0, -1), (1, 1)):
        from_5, from_6, se_5, se_6 = (shares[c][k] for c in ("from 5", "from 6", "5 se", "6 se"))
        assert abs(from_5 - from_6) < 3.5 * np.hypot(se_5, se_6)
        assert sign * ((from_5 + from_6) / 2 - 0.33) > 0


@pytest.mark.parametrize("cell", ["choose", "phases", "curve", "probe"])
def test_pictures_are_drawn(executed, cell):
    (picture,) = executed.pictures(cell)
    assert len(picture) > 10_000


def test_the_page_is_written(executed):
    assert (executed.folder / executed.text("report").strip()).name == "report.html"
