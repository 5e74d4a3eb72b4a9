"""The page embeds the curve's numbers, loads nothing from outside and escapes what it is given."""

import html
import json
import re
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from plotly.offline import get_plotlyjs

from lltc.errors import InputError
from lltc.report import Exhibit, write_report, write_runs_report
from lltc.report.columns import average, prefers_log
from lltc.report.panels import log_ticks
from lltc.report.payload import embed
from lltc.transitions import Transition


class Change(NamedTuple):
    step_low: float
    step_high: float
    delta_llc: float
    delta_llc_se: float
    kind: str
    probability: float


NASTY = "</script><img src=x onerror=alert(1)>&\"'"


def make_curve(count=6, **changes):
    rng = np.random.default_rng(0)
    columns = {
        "llc": 1 + 2 * (np.arange(count) >= count // 2) + 0.1 * rng.normal(size=count),
        "llc_se": np.full(count, 0.1),
        "loss": 1 / (1 + np.arange(count)),
        "status": ["ok"] * count,
        "ess": np.linspace(100, 200, count),
        "heat": np.linspace(1, 2, count),
        **changes,
    }
    data = {name: ("step", values) for name, values in columns.items()}
    return xr.Dataset(data, coords={"step": 25 * np.arange(count)}, attrs={"observables": ["heat"]})


RISE = Change(50, 75, 2.05, 0.11, "rise", 0.98)


def read(path):
    """The page without the plotting library, and its embedded data."""
    page = path.read_text(encoding="utf-8")
    assert page.count(get_plotlyjs()) == 1
    page = page.replace(get_plotlyjs(), "")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return page, json.loads(data)


@pytest.mark.parametrize("count", [1, 5, 500])
def test_embedded_numbers_are_the_curves(tmp_path, count):
    curve = make_curve(count)
    page, data = read(write_report(tmp_path / "a.html", Exhibit(curve), settings={}))
    (run,) = data["runs"]
    for name in ("step", "llc", "llc_se", "loss", "status"):
        assert run[name] == curve[name].values.tolist()
    assert run["observables"] == {"heat": curve["heat"].values.tolist()}
    assert [panel["title"] for panel in data["panels"]][2] == "heat"
    assert data["steps"] == run["step"]
    assert page.count("<tr>") == count + 1


def test_missing_numbers_are_null_and_dashes(tmp_path):
    status = ["ok", "ok", "diverged", "ok", "ok", "ok"]
    curve = make_curve(
        llc=[1, 1, np.nan, 3, 3, 3], llc_se=[0.1, 0.1, np.nan, np.inf, 0.1, 0.1], status=status
    )
    page, data = read(write_report(tmp_path / "a.html", Exhibit(curve), settings={}))
    (run,) = data["runs"]
    assert run["llc"] == [1, 1, None, 3, 3, 3]
    assert run["llc_se"] == [0.1, 0.1, None, None, 0.1, 0.1]
    assert run["table"][2][:3] == ["50", "—", "—"]
    assert '<td class="word failed">diverged</td>' in page
    assert "<dd>1 of 6</dd>" in page


def test_transitions_and_plateaus(tmp_path):
    curve = make_curve(llc=[1.0, 1.2, 1.1, 3.0, 3.1, 3.2], llc_se=[0.1, 0.2, 0.1, 0.1, 0.1, 0.1])
    page, data = read(
        write_report(tmp_path / "a.html", Exhibit(curve, [RISE]), settings={}, known=[(0, 60, 1.0, "one")])
    )
    (run,) = data["runs"]
    assert run["transitions"][0]["label"] == "Δλ +2.05 ± 0.11"
    assert run["transitions"][0]["short"] == "+2.05"
    assert [run["transitions"][0][name] for name in RISE._fields] == list(RISE)
    first, second = run["plateaus"]
    assert first["llc"] == pytest.approx((100 * 1.0 + 25 * 1.2 + 100 * 1.1) / 225)
    assert first["llc_se"] == pytest.approx(225**-0.5)
    assert (first["step_low"], first["step_high"], first["checkpoints"]) == (0, 50, 3)
    assert second["llc"] == pytest.approx(3.1)
    assert data["known"] == [{"step_low": 0, "step_high": 60, "llc": 1, "label": "one", "under": True}]
    assert '<td class="">+2.05 ± 0.11</td>' in page


def test_chains_are_kept_by_step(tmp_path):
    energies = np.random.default_rng(1).gamma(2.0, size=(4, 10))
    hot = [False, False, True, True]
    page, data = read(
        write_report(tmp_path / "a.html", Exhibit(make_curve(), chains={75: energies}, hot=hot), settings={})
    )
    (run,) = data["runs"]
    assert [chains is None for chains in run["chains"]] == [True, True, True, False, True, True]
    np.testing.assert_allclose(run["chains"][3], energies, rtol=5e-5)
    assert run["hot"] == hot
    assert run["draws"][3] == 10
    assert data["first"] == [0, 3]
    assert 'id="trace"' in page
    assert 'id="trace"' not in read(write_report(tmp_path / "b.html", Exhibit(make_curve()), settings={}))[0]


def test_many_chains_are_thinned_evenly(tmp_path):
    energies = np.arange(2 * 60_000).reshape(2, 60_000).astype(float)
    chains = dict.fromkeys((0, 25, 50), energies)
    curve = make_curve().assign(num_draws=("step", np.full(6, 70_000.0)))
    _, data = read(write_report(tmp_path / "a.html", Exhibit(curve, chains=chains), settings={}))
    (run,) = data["runs"]
    # 360,000 numbers for at most 250,000 places: every second one.
    assert run["chains"][1][1][:3] == [60_000, 60_002, 60_004]
    assert run["draws"][1] == 70_000


def test_changes_and_details_are_embedded(tmp_path):
    changes = [0.0, 0.01, 0.98764321, np.nan, 0.0]
    details = {50: {"hot − cold": "0.1", "error: Monte Carlo": "0.09"}}
    page = write_report(
        tmp_path / "a.html", Exhibit(make_curve(), changes=changes, details=details), settings={}
    )
    _, data = read(page)
    (run,) = data["runs"]
    assert run["changes"] == [0, 0.01, 0.9876, None, 0]
    assert run["details"] == [[], [], [["hot − cold", "0.1"], ["error: Monte Carlo", "0.09"]], [], [], []]
    assert [panel["kind"] for panel in data["panels"]] == ["llc", "change", "value", "value"]


def test_several_runs_share_one_page(tmp_path):
    other = make_curve(4, llc=[1.0, 1.0, 5.0, 5.0]).assign_coords(step=[0, 10, 20, 30])
    fall = Change(10, 20, -1.0, 0.2, "fall", 0.95)
    runs = {"seed <0>": Exhibit(make_curve(), [RISE]), "seed 1": Exhibit(other, [fall])}
    page, data = read(write_runs_report(tmp_path / "a.html", runs, settings={"nbeta": 10.0}))
    assert [run["name"] for run in data["runs"]] == ["seed <0>", "seed 1"]
    assert data["steps"] == [0, 10, 20, 25, 30, 50, 75, 100, 125]
    assert data["runs"][1]["llc"] == [1, 1, 5, 5]
    assert [panel["kind"] for panel in data["panels"]] == ["lanes", "llc", "value", "value"]
    assert page.count('aria-pressed="true">seed &lt;0&gt;</button>') == 1
    assert '<td class="word">seed 1</td><td class="">10</td><td class="">20</td>' in page
    # A row a checkpoint, a run, a transition and a plateau, and the heads of these four tables.
    assert page.count("<tr>") == (6 + 4) + 2 + 2 + (2 + 2) + 4
    assert "2 runs, 10 checkpoints from step 0 to 125; 2 transitions are marked." in page


def test_where_a_change_is_halfway_stands_in_the_table(tmp_path):
    halfway = Transition(50.0, 75.0, 2.0, 0.1, "rise", 0.99, (50.0, 75.0))
    page, _ = read(write_report(tmp_path / "a.html", Exhibit(make_curve(), [halfway]), settings={}))
    assert '<td class="">0.99</td><td class="">50–75</td>' in page


def test_nothing_comes_from_outside(tmp_path):
    page, _ = read(write_report(tmp_path / "a.html", Exhibit(make_curve(), [RISE]), settings={"a": 1}))
    assert "://" not in page
    tags = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r"\s(?:src|srcset|href|action|poster)\s*=", tags) == []
    assert not re.search(r"@import|url\(", page)
    assert "default-src 'none'" in page
    assert '"showSendToCloud"' not in page
    assert "showSendToCloud: false" in page
    assert "displaylogo: false" in page


def test_everything_given_is_escaped(tmp_path):
    curve = make_curve(status=[NASTY] * 6).rename({"heat": NASTY})
    curve.attrs["observables"] = [NASTY]
    settings = {NASTY: {NASTY: NASTY}, "versions": {NASTY: NASTY}}
    known = [(0, 60, 1.0, NASTY)]
    odd = RISE._replace(kind=NASTY)
    page, data = read(
        write_report(tmp_path / "a.html", Exhibit(curve, [odd]), settings=settings, known=known, title=NASTY)
    )
    assert NASTY not in page
    assert "<img" not in page
    assert page.count("</script>") == 3
    assert f"<h1>{html.escape(NASTY)}</h1>" in page
    assert f"<dt>{html.escape(NASTY)}.{html.escape(NASTY)}</dt>" in page
    assert data["runs"][0]["status"] == [NASTY] * 6
    assert data["known"][0]["label"] == NASTY


def test_settings_are_flattened(tmp_path):
    options = {"nbeta": 1737.1779, "restrict": None}
    settings = {"options": options, "sampler": {"name": "lm", "empty": {}}, "versions": {"jax": "0.12.0"}}
    page, _ = read(write_report(tmp_path / "a.html", Exhibit(make_curve()), settings=settings))
    lists = "".join(re.findall(r'<dl class="list">(.*?)</dl>', page))
    entries = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", lists)
    assert entries == [("nbeta", "1737.18"), ("sampler.name", "lm"), ("jax", "0.12.0")]


def test_a_lone_observable_and_one_with_more_dims(tmp_path):
    curve = make_curve()
    curve["tokens"] = (("step", "token"), np.zeros((6, 3)))
    curve.attrs["observables"] = "tokens"
    page, data = read(write_report(tmp_path / "a.html", Exhibit(curve), settings={}))
    assert len(data["panels"]) == 2
    assert "not over the steps alone: tokens." in page


def test_a_failed_write_leaves_the_old_page(tmp_path, monkeypatch):
    target = tmp_path / "a.html"
    target.write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(InputError, match=r"cannot be written \(full\); make room there"):
        write_report(target, Exhibit(make_curve()), settings={})
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


def test_bad_chains_are_refused(tmp_path):
    for chains, hot, message in (
        ({7: [[1.0]]}, None, "chains holds step 7"),
        ({25: [1.0]}, None, r"chains\[25\] has shape \(1,\)"),
        ({25: [[1.0], [2.0]]}, [True], "hot has 1 truth values for 2 chains"),
    ):
        with pytest.raises(InputError, match=message):
            write_report(tmp_path / "a.html", Exhibit(make_curve(), chains=chains, hot=hot), settings={})
    with pytest.raises(InputError, match=r"changes has shape \(6,\) for 6 checkpoints"):
        write_report(tmp_path / "a.html", Exhibit(make_curve(), changes=np.zeros(6)), settings={})
    with pytest.raises(InputError, match="runs is empty"):
        write_runs_report(tmp_path / "a.html", {}, settings={})
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.text() | st.integers() | st.none()))
def test_embedded_text_comes_back_and_cannot_end_the_script(value):
    text = embed(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&")


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.01, 10)), min_size=1, max_size=20))
def test_average_lies_among_the_values_and_beats_the_best(points):
    values, errors = np.array(points).T
    mean, se = average(values, errors)
    assert values.min() - 1e-9 <= mean <= values.max() + 1e-9
    assert se >= (np.sum(errors**-2.0) ** -0.5) * (1 - 1e-9)


@given(st.floats(-6, 3), st.floats(1.01, 9))
def test_log_axes_have_a_few_labels_inside(power, decades):
    low, high = 10.0**power, 10.0 ** (power + decades)
    ticks = log_ticks(np.array([low, high]))
    assert 1 <= len(ticks) <= 5
    assert all(low <= tick <= high for tick in ticks)


def test_log_is_preferred_only_where_it_spreads():
    assert prefers_log(np.array([0, 1, 10, 100, 1000]))
    assert not prefers_log(np.arange(0, 10000, 10))
    assert not prefers_log(np.array([-1, 1, 10, 100, 1000]))
    assert not prefers_log(np.array([0]))
