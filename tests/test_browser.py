"""The page in a real browser: it draws, asks nothing of the network and reports no error."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

from lltc.report import write_report

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium on the path"),
]


class Change(NamedTuple):
    step_low: float
    step_high: float
    delta_llc: float
    delta_llc_se: float
    kind: str
    probability: float


WATCH = """<script>window.seen = [];
addEventListener("error", (e) => seen.push("error: " + e.message));
addEventListener("securitypolicyviolation", (e) => seen.push("request: " + e.blockedURI));</script>"""
TELL = """<script>setTimeout(() => {
  %s
  setTimeout(() => {
    const plot = document.getElementById("curve");
    const note = document.createElement("pre");
    note.id = "probe";
    note.textContent = JSON.stringify({
      seen, requests: performance.getEntriesByType("resource").length, axis: plot.layout.xaxis.type,
      llc: plot.data.find((t) => t.name === "llc").y, x: plot.data.find((t) => t.name === "llc").x,
      paper: plot.layout.paper_bgcolor, overflow: document.documentElement.scrollWidth - innerWidth,
      which: document.getElementById("which").textContent, card: document.getElementById("card").innerText,
      traces: document.getElementById("trace") ? document.getElementById("trace").data.length : 0,
      labels: plot.layout.annotations.map((a) => a.text),
      drawn: document.querySelectorAll("#curve .point").length,
    });
    document.body.append(note);
  }, 500);
}, 500);</script>"""


def make_page(folder: Path, steps, *, title="A curve", action="", **options):
    count = len(steps)
    columns = {
        "llc": np.where(np.arange(count) < 3, 1.0, 2.5),
        "llc_se": np.full(count, 0.1),
        "loss": np.linspace(1, 0.2, count),
        "status": ["ok"] * (count - 1) + ["diverged </script><b>"],
    }
    curve = xr.Dataset({name: ("step", values) for name, values in columns.items()}, coords={"step": steps})
    change = [Change(steps[2], steps[3], 1.5, 0.1, "rise", 0.99)]
    page = write_report(folder / "page.html", curve, change, settings={"nbeta": 1.0}, title=title, **options)
    text = page.read_text(encoding="utf-8").replace("<title>", WATCH + "<title>", 1)
    page.write_text(text.replace("</body>", TELL % action + "</body>"), encoding="utf-8")
    return page


def browse(page: Path, *flags: str):
    """What the page's probe saw, as read back from the dumped document."""
    profile = page.parent / "profile"
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "--virtual-time-budget=2500", *flags]
    done = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=60, check=True
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


def test_the_page_draws_the_numbers_and_asks_for_nothing(tmp_path):
    seen = browse(
        make_page(tmp_path, [0, 10, 20, 30, 40, 50], title="</title><script>seen.push('in')</script>")
    )
    assert seen["seen"] == []
    assert seen["requests"] == 0
    assert seen["axis"] == "linear"
    assert seen["x"] == [0, 10, 20, 30, 40, 50]
    assert seen["llc"] == [1, 1, 1, 2.5, 2.5, None]
    assert "Δλ +1.50 ± 0.10" in seen["labels"]
    assert seen["drawn"] > 6
    assert seen["paper"] == "#fdfdfb"
    assert seen["which"] == "at step 40"
    assert seen["overflow"] <= 0


def test_log_axis_dark_scheme_and_a_chosen_checkpoint(tmp_path):
    chains = {1000: np.ones((4, 5)), 0: np.ones((2, 5))}
    action = 'document.querySelectorAll("#checkpoints tbody tr")[4].click();'
    page = make_page(
        tmp_path, [0, 1, 10, 100, 1000, 10000], action=action, chains=chains, hot=[False, False, True, True]
    )
    seen = browse(page, "--force-dark-mode", "--window-size=500,900")
    assert seen["seen"] == []
    assert seen["axis"] == "log"
    # Step 0 stands a third of the way below the first positive step.
    assert seen["x"] == pytest.approx([1 / 3, 1, 10, 100, 1000, 10000])
    assert seen["paper"] == "#15161a"
    assert seen["which"] == "at step 1000"
    assert "2.50" in seen["card"]
    assert seen["traces"] == 6
    assert seen["overflow"] <= 0


def test_the_axis_switches_and_500_checkpoints_draw(tmp_path):
    page = make_page(tmp_path, list(range(0, 5000, 10)), action='document.getElementById("log").click();')
    seen = browse(page)
    assert seen["seen"] == []
    assert seen["axis"] == "log"
    assert len(seen["llc"]) == 500
    assert seen["x"][1:] == list(range(10, 5000, 10))
