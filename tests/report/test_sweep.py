"""What a sweep and several runs hand to their pages and pictures."""

import json
import re
from typing import Any

import numpy as np
import pytest

import lltc
from lltc.sweeps.page_data import describe, exhibit
from tests.sweeping import DATA, FEW, MODEL, load, make_checkpoints


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs")
    for name, count in (("seed0", 3), ("seed1", 4)):
        make_checkpoints(home / "in" / name, count)
    lltc.sweep_runs(home / "in", MODEL, DATA, out=home / "out", loader=load, **FEW)
    return home


def embedded(page):
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    return json.loads(data)


def test_a_sweeps_page_holds_its_chains_budget_and_changes(home):
    swept = lltc.Runs.open(home / "out")["seed1"]
    data = embedded(swept.report())
    (run,) = data["runs"]
    estimate = swept.estimate(200)
    np.testing.assert_allclose(run["chains"][2], estimate.draws, rtol=5e-5)
    assert run["hot"] == [False, True]
    assert run["draws"] == [16, 16, 16, 16]
    details = dict(run["details"][2])
    assert details["draws a chain"] == "16"
    assert float(details["hot − cold"].replace("−", "-")) == pytest.approx(estimate.hot_cold_gap, rel=0.06)
    large = [v for v in estimate.budget if v > 0.1 * estimate.llc_se]
    shown = [float(text) for name, text in details.items() if name.startswith("error: ")]
    assert shown == pytest.approx(large, rel=0.06)
    assert len(run["changes"]) == 3
    assert "<dt>nbeta</dt><dd>1000</dd>" in swept.report().read_text()


def test_long_chains_are_read_thinned(tmp_path):
    pairs = [(0, np.ones(2, np.float32))]
    loss = lambda w, x: 0.5 * ((w - x) ** 2).sum(-1)
    options: dict[str, Any] = FEW | {"num_draws": 450}
    swept = lltc.sweep(pairs, loss, np.zeros((9, 2), np.float32), out=tmp_path, **options)
    chains = exhibit(swept).chains or {}
    np.testing.assert_array_equal(chains[0], swept.estimate(0).draws[:, ::2])


def test_a_page_and_a_picture_of_several_runs(home):
    runs = lltc.Runs.open(home / "out")
    page = runs.report()
    assert page == home / "out" / "report.html"
    data = embedded(page)
    assert [run["name"] for run in data["runs"]] == ["seed0", "seed1"]
    for run, swept in zip(data["runs"], runs.values(), strict=True):
        assert run["llc"] == swept.curve["llc"].values.tolist()
    text = page.read_text()
    assert "<dt>nbeta</dt><dd>1000</dd>" in text
    assert "<dt>key</dt>" not in text
    bars: Any = runs.plot().containers
    drawn = np.concatenate([bar.lines[0].get_ydata() for bar in bars])
    expected = np.concatenate([swept.curve["llc"].values for swept in runs.values()])
    assert sorted(drawn) == sorted(expected)


def test_only_what_matters_of_an_error_is_told():
    row = {"num_draws": 4000, "llc_se": 1.0, "hot_cold_gap": -0.25, "nonfinite_share": 0.0, "acceptance": 0.9}
    budget = {"monte_carlo": 0.9, "equilibration": 0.0, "spread": 0.11, "heat": 0.09}
    assert describe(row | {"budget": json.dumps(budget)}) == {
        "hot − cold": "−0.25",
        "draws a chain": "4,000",
        "moves accepted": "90%",
        "error: Monte Carlo": "0.9",
        "error: unexplored": "0.11",
    }
    assert describe(row | {"nonfinite_share": 0.015})["warm-up steps undone"] == "1.50%"
