"""The page in a real browser: it draws, hovers, zooms, asks nothing of the network and reports no error."""

from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

from lltc.report import Exhibit, write_report, write_runs_report
from lltc.sweeps.page_tables import sweep_tables
from tests.browsing import Browser
from tests.synthetic import make_sweep

pytestmark = pytest.mark.browser
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SCREENS = (DESKTOP, {**DESKTOP, "dark": True}, PHONE)
PLOT = 'document.getElementById("curve")'
# Where a point of the first curve stands on the screen.
PLACE = """(() => {
  const plot = %s, place = plot._fullLayout, box = plot.getBoundingClientRect();
  const found = plot.data.find((trace) => trace.meta && trace.meta.points && trace.yaxis === "y");
  return [box.left + place.xaxis._offset + place.xaxis.c2p(found.x[%d]),
          box.top + place.yaxis._offset + place.yaxis.c2p(found.y[%d])];
})()"""
# Boxes of text that lie over one another on the curve, as pairs of their texts.
OVERLAPS = """(() => {
  const boxes = TEXTS.map((node) => [node.textContent.trim(), node.getBoundingClientRect()])
    .filter(([text]) => text);
  const found = [];
  boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
    const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    if (wide > 1 && high > 3) found.push([a, b]);
  }));
  return found;
})()"""
OUTSIDE = """TEXTS.map((node) => [node.textContent, node.getBoundingClientRect()])
  .filter(([, box]) => box.left < 0 || box.right > innerWidth).map(([text]) => text)"""
TEXTS = """[...document.querySelectorAll(
  "#curve .annotation-text, #curve .xtick text, #curve .textpoint text")]"""
SHOWN = f"""{PLOT}.data.filter((t) => t.visible && t.meta && t.meta.points && t.yaxis === "y")
  .map((t) => t.meta.run)"""
TIP = 'document.getElementById("tip")'
WHICH = 'document.getElementById("which").textContent'


class Change(NamedTuple):
    step_low: float
    step_high: float
    delta_llc: float
    delta_llc_se: float
    kind: str
    probability: float


def make_exhibit(count, *, log=False, top=2.5):
    """A curve with one rise before its middle, a last checkpoint that is not ok, an observable and chains."""
    steps = np.unique(np.geomspace(1, 10.0 ** (count - 2), count - 1)) if log else 10 * np.arange(1, count)
    steps = np.concatenate([[0], steps]).astype(int)
    half = max(2, count // 2)
    columns = {
        "llc": np.where(np.arange(count) < half, 1.0, top) + 0.01 * np.cos(np.arange(count)),
        "llc_se": np.full(count, 0.1),
        "loss": np.linspace(1, 0.02, count),
        "status": ["ok"] * (count - 1) + ["diverged </script><b>"],
        "rhat": np.full(count, 1.012),
        "ess": np.full(count, 321.0),
        "accuracy": np.linspace(0.5, 1, count),
    }
    curve = xr.Dataset(
        {name: ("step", values) for name, values in columns.items()},
        coords={"step": steps},
        attrs={"observables": ["accuracy"]},
    )
    change = Change(float(steps[half - 1]), float(steps[half]), top - 1, 0.1, "rise", 0.99)
    chains = {int(step): np.random.default_rng(step).gamma(2, size=(4, 30)) for step in steps[:-1]}
    details = {int(step): {"hot − cold": "0.07"} for step in steps}
    changes = np.where(np.arange(count - 1) == half - 1, 1.0, 0.01)
    return Exhibit(curve, [change], changes, chains, [False, False, True, True], details)


def make_page(folder, count, *, title="A curve", **options):
    exhibit = make_exhibit(count, **options)
    return write_report(folder / "page.html", exhibit, settings={"nbeta": 1.0}, title=title)


def make_runs_page(folder, count=3):
    runs = {f"seed {k}": make_exhibit(20, top=2.5 + k) for k in range(count)}
    return write_runs_report(folder / "runs.html", runs, settings={"nbeta": 1.0})


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


def looks_right(browser):
    """Nothing was logged or asked for; the page is as wide as the screen; texts are apart and inside."""
    assert browser.seen == []
    assert browser.run("performance.getEntriesByType('resource').length") == 0
    assert browser.run("document.documentElement.scrollWidth - innerWidth") <= 0
    assert browser.run(f"{TEXTS}.length") > 4
    assert browser.run(OVERLAPS.replace("TEXTS", TEXTS)) == []
    assert browser.run(OUTSIDE.replace("TEXTS", TEXTS)) == []


@pytest.mark.parametrize("count", [1, 5, 50, 500])
def test_a_page_looks_right_on_every_screen(tmp_path, browser, count):
    if count == 1:
        curve = make_exhibit(5).curve.isel(step=[0])
        page = write_report(tmp_path / "page.html", Exhibit(curve), settings={})
    else:
        page = make_page(tmp_path, count)
    assert page.stat().st_size < 7e6
    assert browser.open(page) < 30
    for screen in SCREENS:
        browser.show(**screen)
        browser.until(f"{PLOT}.layout.paper_bgcolor === '{'#15161a' if screen.get('dark') else '#fdfdfb'}'")
        browser.until(f"{PLOT}._fullLayout.width === {PLOT}.clientWidth")
        looks_right(browser)
        assert browser.run(f"{PLOT}.querySelectorAll('.point').length") >= count - 1


@pytest.mark.parametrize("count", [3, 12])
def test_several_runs_look_right_on_every_screen(tmp_path, browser, count):
    browser.open(make_runs_page(tmp_path, count))
    for screen in SCREENS:
        browser.show(**screen)
        browser.until(f"{PLOT}._fullLayout.width === {PLOT}.clientWidth")
        looks_right(browser)
    lines = f"{PLOT}.data.filter((t) => t.name && t.name.startsWith('seed')).map((t) => t.line.color)"
    colours = browser.run(lines)
    assert len(colours) == count
    assert len(set(colours)) == min(count, 8)


def test_the_numbers_are_drawn_and_markup_is_not(tmp_path, browser):
    title = "</title><script>document.documentElement.dataset.broken = 1</script>"
    browser.open(make_page(tmp_path, 6, title=title))
    assert browser.run("document.documentElement.dataset.broken") is None
    drawn = browser.run(f"(({{ x, y }}) => [x, y])({PLOT}.data.find((t) => t.name === 'llc'))")
    assert drawn[0] == [0, 10, 20, 30, 40, 50]
    np.testing.assert_allclose(drawn[1][:5], np.repeat([1, 2.5], [3, 2]) + 0.01 * np.cos(np.arange(5)))
    assert drawn[1][5] is None
    labels = browser.run(f"{PLOT}.layout.annotations.map((a) => a.text)")
    assert {"Δλ +1.50 ± 0.10", "Probability of a change, each interval", "accuracy"} <= set(labels)
    assert sum(label.startswith("λ ") for label in labels) == 2
    assert browser.run(WHICH) == "at step 40"


def test_hovering_tells_a_checkpoints_chains(tmp_path, browser):
    browser.open(make_page(tmp_path, 20), **DESKTOP)
    assert browser.run(f"{TIP}.hidden") is True
    browser.move(*browser.run(PLACE % (PLOT, 4, 4)))
    browser.until(f"!{TIP}.hidden")
    text = browser.run(f"{TIP}.innerText")
    for part in (
        "0.99 ± 0.10",
        "step 40, ok",
        "accuracy 0.6053",
        "R-hat 1.012",
        "ESS 321",
        "hot − cold 0.07",
    ):
        assert part in text
    paths = "[...document.querySelectorAll('#tip path')].map((p) => p.getAttribute('class'))"
    assert browser.run(paths) == ["cold chain"] * 2 + ["hot chain"] * 2 + ["cold mean", "hot mean"]
    browser.move(3, 3)
    browser.until(f"{TIP}.hidden")
    assert browser.seen == []


def test_a_drag_zooms_and_a_double_click_zooms_out(tmp_path, browser):
    browser.open(make_page(tmp_path, 20), **DESKTOP)
    ranges = f"[{PLOT}.layout.xaxis.range, {PLOT}.layout.yaxis.range]"
    before = browser.run(ranges)
    (x, y), (right, up) = (browser.run(PLACE % (PLOT, i, i)) for i in (4, 12))
    browser.drag((x, y + 30), (right, up - 30))
    browser.until(f"{PLOT}.layout.xaxis.range[0] > 10")
    (low, high), (bottom, top) = browser.run(ranges)
    assert (low, high) == pytest.approx((40, 120), abs=2)
    assert before[1][0] < bottom < 1 < 2.5 < top < before[1][1]
    # On a busy machine more than the usual 300 ms may lie between the two clicks.
    browser.run(f"{PLOT}._context.doubleClickDelay = 10000")
    browser.click(x, y, times=2)
    browser.until(f"{PLOT}.layout.xaxis.range[0] < 0")
    assert browser.run(ranges) == before
    assert browser.seen == []


def test_a_tap_keeps_a_checkpoint_and_shows_its_label(tmp_path, browser):
    browser.open(make_page(tmp_path, 20), **PHONE)
    browser.run(f"{PLOT}.scrollIntoView()")
    # The page hides its label when it scrolls, and that event comes with the next frame.
    browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    browser.tap(*browser.run(PLACE % (PLOT, 7, 7)))
    browser.until(f"{WHICH} === 'at step 70'")
    browser.until(f"{TIP}.innerText.includes('step 70, ok')")
    left, right = browser.run(f"(({{ left, right }}) => [left, right])({TIP}.getBoundingClientRect())")
    assert 0 <= left < right <= 390
    assert browser.seen == []


def test_a_log_axis_places_step_0_and_switches(tmp_path, browser):
    browser.open(make_page(tmp_path, 6, log=True))
    axis, x = f"{PLOT}.layout.xaxis.type", f"{PLOT}.data.find((t) => t.name === 'llc').x"
    assert browser.run(axis) == "log"
    # Step 0 stands a third of the way below the first positive step.
    assert browser.run(x) == pytest.approx([1 / 3, 1, 10, 100, 1000, 10000])
    looks_right(browser)
    browser.run("document.getElementById('linear').click()")
    assert (browser.run(axis), browser.run(x)) == ("linear", [0, 1, 10, 100, 1000, 10000])


def test_a_row_chooses_a_checkpoint_and_its_chains(tmp_path, browser):
    browser.open(make_page(tmp_path, 6))
    browser.run("document.querySelectorAll('#checkpoints tbody tr')[1].click()")
    assert browser.run(WHICH) == "at step 10"
    card = browser.run("document.getElementById('card').innerText")
    assert "1.01" in card
    assert "hot − cold" in card
    trace = browser.run("document.getElementById('trace').data.map((t) => t.y.length)")
    assert trace == [30] * 6
    browser.run("document.querySelectorAll('#checkpoints tbody tr')[5].click()")
    assert browser.run("document.getElementById('trace').data.length") == 0
    assert browser.seen == []


def test_a_run_is_hidden_and_shown_by_its_name(tmp_path, browser):
    browser.open(make_runs_page(tmp_path))
    everything = browser.run(SHOWN)
    assert set(everything) == {0, 1, 2}
    browser.run("document.querySelectorAll('#legend button')[1].click()")
    assert set(browser.run(SHOWN)) == {0, 2}
    browser.run("document.querySelectorAll('#legend button')[1].click()")
    assert browser.run(SHOWN) == everything
    browser.move(*browser.run(PLACE % (PLOT, 4, 4)))
    browser.until(f"{TIP}.innerText.includes('step 40, ok')")
    assert browser.seen == []


def test_the_citation_is_selected_for_copying(tmp_path, browser):
    browser.open(make_page(tmp_path, 5))
    browser.run("document.getElementById('copy').click()")
    chosen = browser.run("String(getSelection())")
    assert chosen.startswith("@software{lltc,")
    assert "@inproceedings{lau2025local" in chosen


NAMES, COLOUR, FOOT = "['head', 'tail']", "(t) => t.line.color", "(s) => [s.x0, s.x1, s.fillcolor]"


def test_components_and_changes_of_observables_are_drawn(browser, tmp_path):
    told = {"skill": {12: -3.0}, "flat": {}}
    swept = make_sweep({12: 1.0, 25: 2.0}, told, {"head": {12: 1.0}, "tail": {25: 2.0}})
    page = write_report(
        tmp_path / "page.html",
        Exhibit(
            swept.curve,
            swept.transitions,
            marks=swept.observable_transitions,
            component_marks=swept.component_transitions,
        ),
        settings={},
        tables=sweep_tables(swept),
    )
    for screen in SCREENS:
        browser.open(page, **screen)
        assert browser.seen == []
        names = browser.run(f"{PLOT}.data.map((t) => t.name)")
        assert {"head", "tail", "skill"} <= set(names)
        colours = browser.run(f"{PLOT}.data.filter((t) => t.meta && {NAMES}.includes(t.name)).map({COLOUR})")
        feet = browser.run(f"{PLOT}.layout.shapes.filter((s) => s.y1 < 0.2).map({FOOT})")
        assert [foot[:2] for foot in feet] == [[110, 120], [240, 250], [110, 120]]
        assert [foot[2] for foot in feet[:2]] == colours
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        assert browser.run(OUTSIDE.replace("TEXTS", TEXTS)) == []
