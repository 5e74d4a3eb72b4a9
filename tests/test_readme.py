"""The README is followed word by word: its programs run, its commands exist, its numbers and links hold."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from lltc.cli.app import app
from tests.processes import ran

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PROGRAMS = [text for language, text in BLOCKS if language == "python"]
COMMANDS = [
    line.removeprefix("$ ").partition("  #")[0].strip()
    for language, text in BLOCKS
    if language == "console"
    for line in text.splitlines()
    if line.startswith("$ ")
]
NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Run the programs one after another in one session, and return what each printed."""
    parting = "\x1f"
    folder = tmp_path_factory.mktemp("readme")
    script = f"\nprint({parting!r})\n".join(PROGRAMS)
    told = ran([sys.executable, "-c", script], cwd=folder)
    assert (folder / "sweep" / "report.html").exists()
    return told.split(parting + "\n")


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(NUMBER, text)]


@pytest.mark.process
def test_the_estimate_is_printed_as_the_readme_shows_it(printed):
    """The same words around numbers that another processor rounds otherwise, within their own errors."""
    shown = next(text for language, text in BLOCKS if not language)
    told = printed[0]
    assert re.sub(NUMBER, "#", told).split() == re.sub(NUMBER, "#", shown).split()
    (llc, se, parameters, nbeta), (other, other_se, *same) = numbers(told)[:4], numbers(shown)[:4]
    assert abs(llc - other) < 4 * max(se, other_se)
    assert abs(llc - 5) < 4 * se
    assert [parameters, nbeta] == same


@pytest.mark.process
def test_the_sweep_writes_its_page(printed):
    assert printed[1].split() == ["sweep/report.html"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command: str):
    words = command.split()
    if words[0] == "make":
        ran(["make", "-n", *words[1:]], cwd=ROOT)
    elif words[0] == "lltc":
        app.parse_args(words[1:], exit_on_error=False, print_error=False)
    else:
        assert command == "pip install ."


def test_the_extras_that_are_named_are_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.search(r"extras: (.*)", README)
    assert named
    assert set(named[1].split(", ")) <= set(extras)


def test_the_three_numbers_are_those_of_the_benchmark():
    result = (ROOT / "benchmarks" / "results" / "accuracy.md").read_text()
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", result, re.MULTILINE))
    for name in ("median relative error", "llc ± 1.96 llc_se covers the target"):
        assert f"**{rows[name]}**" in README
    off, told = numbers(rows["estimates off by more than three errors"])
    assert f"**{off:.0f} of {rows['estimates']}**" in README
    assert f"{told:.0f} of these {off:.0f} say so" in README
    assert f"On {rows['problems']} problems" in README


def test_the_comparison_is_that_of_the_benchmark():
    result = (ROOT / "benchmarks" / "results" / "accuracy_peers.md").read_text()
    cells = [[cell.strip() for cell in line.split("|")] for line in result.splitlines()]
    rows = {cell[1]: cell for cell in cells if len(cell) > 6}
    plain, best = rows["devinterp SGLD"], rows["devinterp SGLD best step in hindsight"]
    text = " ".join(README.split())
    assert f"lltc's median error on {plain[2]} of these problems is {plain[6]}" in text
    assert f"devinterp 1.3.2's {plain[4]} at its documented step size and {best[4]} at the best" in text


def test_what_is_linked_and_shown_is_there():
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", README)]
    local = [target for target in targets if not target.startswith("https://")]
    assert len(local) > 15
    assert [target for target in local if not (ROOT / target).exists()] == []


def test_it_can_be_read_in_one_go():
    assert len(README.splitlines()) <= 130
