"""The quickstart runs from top to bottom with this interpreter, and its numbers hold."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.executing import execute

pytestmark = pytest.mark.notebook

STATE = """{
    "known": known.reset_index().to_dict("list"),
    "first": [first.llc, first.llc_se, first.status.name],
    "last": [last.llc, last.llc_se, last.init_loss, last.nbeta, last.status.name],
    "curve": swept.curve.to_dataframe().reset_index().to_dict("list"),
    "options": swept.settings.options,
}"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    return execute("quickstart", tmp_path_factory.mktemp("quickstart"), STATE)


def test_runs_with_this_interpreter(executed):
    assert Path(executed.state["executable"]).samefile(sys.executable)


def test_known_values_are_met(executed):
    known = {name: np.array(values) for name, values in executed.state["known"].items()}
    assert known["limit"].tolist() == [6.5, 8.0, 9.5, 10.5]
    np.testing.assert_array_less(np.abs(known["llc"] - known["exact"]), 4 * known["llc_se"])
    assert np.all(known["llc_se"] < 0.05 * known["exact"])
    assert set(known["status"]) == {"ok"}


def test_trained_network_is_a_minimum_and_the_untrained_is_not(executed):
    state = executed.state
    llc, llc_se, loss, nbeta, status = state["last"]
    assert nbeta == pytest.approx(1797 / np.log(1797))
    # No weights have a loss below zero, so the estimate cannot be under -nbeta * loss.
    assert -nbeta * loss < 0 < 20 * llc_se < llc < 64
    assert status == "ok"
    assert state["first"][0] < -3 * state["first"][1]
    assert state["first"][2] == "negative"


def test_curve_rises_then_falls(executed):
    curve, options = executed.state["curve"], executed.state["options"]
    assert curve["step"] == [0, 1, 7, 46, 303, 2000]
    assert curve["status"] == ["ok"] * 6
    assert curve["loss"][0] == pytest.approx(np.log(10), rel=0.1)
    assert curve["loss"][-1] == pytest.approx(executed.state["last"][2], rel=1e-4)
    llc, se = np.array(curve["llc"]), np.array(curve["llc_se"])
    top = int(np.argmax(llc))
    assert curve["step"][top] == 46
    for end in (0, -1):
        assert llc[top] - llc[end] > 4 * np.hypot(se[top], se[end])
    assert options["nbeta"] == pytest.approx(1797 / np.log(1797))


def test_shell_shows_what_python_measured(executed):
    shown = executed.text("show").splitlines()
    curve = executed.state["curve"]
    rows = {int(line.split()[0]): float(line.split()[1]) for line in shown[1:7]}
    np.testing.assert_allclose([rows[s] for s in curve["step"]], curve["llc"], atol=0.06)
    page = executed.folder / executed.text("report").strip()
    assert page.name == "report.html"
    assert "<html" in page.read_text()[:500]


@pytest.mark.parametrize("cell", ["chains", "curve"])
def test_pictures_are_drawn(executed, cell):
    (picture,) = executed.pictures(cell)
    assert len(picture) > 20_000
