"""The gallery shows every status, each made by the program that stands under its name."""

import io
import re
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from lltc import Status
from lltc.errors import LLCWarning

PAGE = (Path(__file__).parent.parent / "docs" / "gallery.md").read_text()
BEGINNING, *SECTIONS = re.split(r"^## (\w+)$", PAGE, flags=re.MULTILINE)
PROGRAMS = dict(zip(SECTIONS[::2], SECTIONS[1::2], strict=True))


def program(text: str) -> str:
    return "\n".join(re.findall(r"^```{code-cell} python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def session() -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(program(BEGINNING), names)
    return names


def test_every_status_is_there():
    assert set(PROGRAMS) == {status.name for status in Status}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_makes_its_status(name: str, session):
    with redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings():
        warnings.simplefilter("ignore", LLCWarning)
        exec(program(PROGRAMS[name]), session)
    assert re.search(rf"(status +{name}: | {name} )", printed.getvalue()), printed.getvalue()
