"""`lltc doctor` says what is there, and goes on where something is broken."""

import re

import jax
import pytest

import lltc
from lltc.cli import examining


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    examining.doctor()
    return {line[:10].strip(): line[10:] for line in capsys.readouterr().out.splitlines()}


def test_every_line_says_something(capsys):
    said = lines(capsys)
    assert list(said) == list(examining.LINES)
    assert said["lltc"].startswith(lltc.__version__)
    assert jax.__version__ in said["jax"]
    assert said["devices"] == f"{len(jax.devices())} × cpu cpu"
    assert re.match(r"\d+\.\d GB free for JAX; the machine has \d+\.\d GB", said["memory"])
    assert f"numpy {examining.find_version('numpy')}" in said["needed"]
    assert f"flax {examining.find_version('flax')}" in said["optional"]
    assert not any(text.startswith("cannot be told") for text in said.values())


def test_what_is_broken_is_said_in_its_line_and_the_rest_follows(capsys, monkeypatch):
    def broken():
        raise RuntimeError("no device\nof this kind\x1b[2J")

    monkeypatch.setattr(jax, "devices", broken)
    said = lines(capsys)
    assert said["devices"] == r"cannot be told: RuntimeError: no device of this kind\x1b[2J"
    assert "GB" in said["memory"]


def test_the_home_folder_is_not_named(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert examining._short(tmp_path / "cache" / "lltc") == "~/cache/lltc"
    assert examining._short(tmp_path) == str(tmp_path)


def test_libraries_that_are_missing_are_named(monkeypatch):
    monkeypatch.setattr(examining, "requires", lambda _: ["numpy>=2", "nowhere>=1; extra == 'flax'"])
    assert examining._optional() == "not installed: nowhere"
    assert examining._needed() == f"numpy {examining.find_version('numpy')}"
