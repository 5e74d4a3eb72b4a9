"""`lltc components` and `lltc probe`: what they print and refuse."""

import json
from pathlib import Path

import pytest

from lltc import InputError, cli
from lltc.checkpoints import save_npz
from tests.cli.test_cli import MODULE
from tests.problems import balanced

NETWORK = ["--model", "probed_network:model", "--data", "probed_network:data"]
FEW = ["--num-draws", "256", "--num-warmup", "64", "--nbeta", "1000", "--localization", "1", "--no-progress"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probing")
    (folder / "probed_network.py").write_text(MODULE)
    (folder / "checkpoints").mkdir()
    for step, rank in ((10, 0), (100, 1)):
        save_npz(folder / "checkpoints" / f"step_{step}.npz", balanced(rank)[0])
    return folder


def shell(place: Path, monkeypatch, *words: str) -> None:
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))
    command, bound, _ = cli.app.parse_args(list(words))
    command(*bound.args, **bound.kwargs)


def test_components_previews_patterns(place, monkeypatch, capsys):
    shell(place, monkeypatch, "components", "checkpoints")
    assert capsys.readouterr().out.splitlines() == [
        "path    shape   selected",
        "first   (5, 3)        15",
        "second  (3, 5)        15",
        "30 of 30 parameters in 2 of 2 leaves",
    ]
    shell(place, monkeypatch, "components", "checkpoints/step_10.npz", "first", "second[:,1]")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "first"
    assert lines[3] == "15 of 30 parameters in 1 of 2 leaves"
    assert lines[5:8] == ["second[:,1]", "path    shape   selected", "second  (3, 5)   3 of 15"]


def test_probe_prints_a_table_or_json(place, monkeypatch, capsys):
    words = ["probe", "checkpoints/step_10.npz", "checkpoints/step_100.npz", *NETWORK, *FEW]
    shell(place, monkeypatch, *words, "--plot", "spectra.png")
    assert "  stiff     0 → 9 of 30 directions: 9 stiffened, 0 softened" in capsys.readouterr().out
    assert (place / "spectra.png").read_bytes().startswith(b"\x89PNG")
    shell(place, monkeypatch, *words, "--components", "first", "--json")
    found = json.loads(capsys.readouterr().out)
    assert (found["num_stiffened"], found["num_softened"], found["lower_bound"]) == (9, 0, False)
    assert found["participation"] == pytest.approx(9, rel=0.1)
    assert found["delta_llc"] == pytest.approx(found["after"]["llc"] - found["before"]["llc"])
    assert list(found["by_component"]) == ["first"]
    assert found["by_component"]["first"]["stiffened"] == pytest.approx(4.5, abs=1e-3)
    assert len(found["examples_most_changed"]) == 5


def test_a_probe_is_shown_on_a_sweeps_page(place, monkeypatch):
    shell(place, monkeypatch, "sweep", "checkpoints", *NETWORK, "--out", "out", *FEW)
    words = ["probe", "checkpoints/step_10.npz", "checkpoints/step_100.npz", *NETWORK, *FEW]
    shell(place, monkeypatch, *words, "--sweep", "out")
    page = (place / "out" / "report.html").read_text()
    assert "Probe step_10.npz → step_100.npz" in page
    assert "9 directions stiffened and 0 softened" in page


def test_what_cannot_be_probed_is_refused(place, monkeypatch):
    words = ["probe", "checkpoints/step_10.npz", "checkpoints/step_100.npz", *NETWORK, *FEW]
    with pytest.raises(InputError, match="out='nothing' holds no"):
        shell(place, monkeypatch, *words, "--sweep", "nothing")
    with pytest.raises(InputError, match=r"components\['third'\]='third' selects no"):
        shell(place, monkeypatch, *words, "--components", "third")
    with pytest.raises(InputError, match="'nowhere' does not exist"):
        shell(place, monkeypatch, "components", "nowhere")
