"""`python -m lltc.export` up to where PyTorch is needed: what is wrong with its words is one sentence."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from lltc.errors import LLCWarning
from lltc.export.__main__ import main
from lltc.export.modules import warn_of_training

CODE = """
class Net:
    training = True
    def __init__(self, width): ...
net = None
def broken(): raise RuntimeError("no weights\\nanywhere")
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Let a module of that name and version be PyTorch, and let the code lie in this folder."""
    (tmp_path / "exported_code.py").write_text(CODE)
    (tmp_path / "exported_fault.py").write_text("1 / 0")
    library = ModuleType("torch")
    library.__version__ = "2.10.0a0+git"  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "torch", library)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    return library


def refusal(capsys: pytest.CaptureFixture, *words: str) -> str:
    assert main([*words[:1], "out.pt2", "--example", "float32:3", *words[1:]]) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    return told


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["exported_code:Net"], "cannot be made (TypeError: "),
        (["exported_code:broken"], "cannot be made (RuntimeError: no weights): give a module, or a function"),
        (["exported_code:absent"], "is not there (AttributeError: "),
        (["exported_fault:net"], "is not there (ZeroDivisionError: division by zero): write"),
        (["exported_absent:net"], "is not there (ModuleNotFoundError: "),
        (["exported_code:net", "--rows", "0"], "rows is 0, but must be 1 or more: "),
        (["exported_code:net", "--rows", "-1"], "rows is -1, but must be 1 or more: "),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_sentence(capsys, words, sentence):
    assert sentence in refusal(capsys, *words)


@pytest.mark.parametrize("version", ["2.8.1+cpu", "1.13.0"])
def test_an_older_pytorch_is_told_before_anything_is_loaded(capsys, library, version):
    library.__version__ = version
    assert f"needs PyTorch 2.9 or later, and {version} is there" in refusal(capsys, "exported_fault:net")


def test_a_missing_pytorch_is_told(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "needs PyTorch 2.9 or later, which is not there" in refusal(capsys, "exported_fault:net")


def test_training_mode_is_warned_of_as_everything_is():
    class Dropout:
        training = True

    with pytest.warns(LLCWarning, match=r"its Dropout \(itself\) does otherwise"):
        warn_of_training(SimpleNamespace(named_modules=lambda: [("", Dropout())]))
