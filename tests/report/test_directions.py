"""Probes on a sweep's page: their numbers, their spectra, in both schemes and on a phone."""

import re

import numpy as np
import pytest

import lltc
from lltc.report import Spectrum, draw_spectra
from tests.blocks import COMPONENTS, DATA, MODEL, params_at, sweep_blocks
from tests.browsing import Browser

PLACES = re.compile(r'<circle class="s(\d)( soft)?" cx="([\d.]+)" cy="([\d.]+)"')


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    out = tmp_path_factory.mktemp("probes")
    return sweep_blocks(out, components=None, observables=None, num_draws=100)


@pytest.fixture(scope="module")
def page(swept):
    options = {"nbeta": 20.0, "localization": 1.0, "progress": False, "num_draws": 500}
    before, after = params_at(20), params_at(40)
    found = lltc.probe(MODEL, before, after, DATA, components=COMPONENTS, **options)
    return swept.report(swept.out / "probes.html", probes={"20 → 40 <b>": found}), found


def test_a_probe_has_its_numbers_and_components_on_the_page(page):
    path, found = page
    text = path.read_text(encoding="utf-8")
    (section,) = re.findall(r"<section><h2>Probe 20 → 40 &lt;b&gt;</h2>.*?</section>", text, re.DOTALL)
    assert "2 directions stiffened and 0 softened" in section
    rows = re.findall(r"<tr><td.*?</tr>", section)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    assert [row[0] for row in cells] == ["left", "right"]
    for name, change, stiffened, softened, moved in cells:
        value, se = (float(part) for part in change.replace("−", "-").split(" ± "))
        part = found.by_component[name]
        assert value == pytest.approx(part.delta_llc, abs=se)
        assert [float(stiffened), float(moved)] == pytest.approx([2 * (name == "left"), 0], abs=1e-4)
        assert float(softened) == 0
    assert re.findall(r'<span class="s\d">([^<]*)</span>', section) == ["before: 4 stiff", "after: 6 stiff"]
    # Two open weights a block and two behind its gate: four stiff directions, and two more when one opens.
    drawn = [(mark, soft) for mark, soft, *_ in PLACES.findall(section)]
    assert (drawn.count(("0", "")), drawn.count(("1", ""))) == (4, 6)


def test_no_probe_no_section(swept):
    assert "<h2>Probe" not in swept.report().read_text(encoding="utf-8")


def test_spectra_are_drawn_to_scale():
    value, stiff = np.array([1000.0, 100, 10, 0.5, -3]), np.array([True, True, True, False, False])
    picture = draw_spectra([Spectrum("a", value, stiff), Spectrum("b", value[:2], stiff[:2])], level=10)
    drawn = PLACES.findall(picture)
    assert [mark for mark, *_ in drawn] == ["0"] * 4 + ["1"] * 2
    assert [soft for _, soft, *_ in drawn] == [""] * 3 + [" soft"] + [""] * 2
    x, y = np.array([[float(a), float(b)] for *_, a, b in drawn[:4]]).T
    np.testing.assert_allclose(np.diff(x), np.diff(x)[0], atol=0.2)
    np.testing.assert_allclose((y - y[0]) / (y[1] - y[0]), 3 - np.log10(value[:4]), atol=0.01)
    (level,) = re.findall(r'class="level" d="M\d+,([\d.]+)H', picture)
    assert float(level) == pytest.approx(y[2], abs=0.1)


def test_nothing_stiff_is_drawn_too():
    picture = draw_spectra([Spectrum("a: 0 stiff", np.array([0.5, -1]), np.array([False, False]))], level=0)
    assert ">a: 0 stiff<" in picture
    assert "level" not in picture
    assert "nan" not in picture


@pytest.mark.browser
def test_it_looks_right_on_every_screen(page, tmp_path):
    colour = "getComputedStyle(document.querySelector('.spectra circle.s1')).fill"
    texts = "[...document.querySelectorAll('.spectra text')].map((node) => node.getBoundingClientRect())"
    seen = []
    with Browser(tmp_path) as browser:
        for screen in ({"width": 1280}, {"width": 1280, "dark": True}, {"width": 390, "height": 844}):
            browser.open(page[0], **screen)
            assert browser.seen == []
            assert browser.run("document.documentElement.scrollWidth <= innerWidth")
            assert browser.run(f"{texts}.every((box) => box.left >= 0 && box.right <= innerWidth)")
            seen.append(browser.run(colour))
    assert seen == ["rgb(31, 95, 168)", "rgb(127, 178, 240)", "rgb(31, 95, 168)"]
