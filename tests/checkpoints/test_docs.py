"""The tables of docs/checkpoints.md say what the code does."""

import re
from pathlib import Path

import pytest

from lltc.checkpoints import find_checkpoints, parse_step
from lltc.checkpoints.formats.shards import SUFFIXES
from lltc.errors import InputError

TEXT = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")] for line in TEXT.splitlines() if line[:2] == "| "
]
QUOTED = re.compile(r"`([^`]+)`")
FORMATS = {row[1]: row for row in ROWS if len(row) == 4 and row[0] not in ("format", "---")}
NAMES = [row for row in ROWS if len(row) == 2 and row[0] not in ("name", "---")]


@pytest.mark.parametrize("row", NAMES, ids=lambda row: row[1])
def test_steps_of_names_are_those_of_the_table(row):
    names, steps = (
        QUOTED.findall(row[0]),
        [None if step == "none" else int(step) for step in row[1].split(", ")],
    )
    steps = steps * len(names) if len(steps) == 1 else steps
    assert [parse_step(name) for name in names] == steps


def test_every_suffix_that_is_read_is_in_the_table():
    read = {name for row in FORMATS.values() if row[2] != "no" for name in QUOTED.findall(row[1])}
    assert set(SUFFIXES) <= read


REFUSED = [name for row in FORMATS.values() if row[2] == "no" for name in QUOTED.findall(row[1])]


@pytest.mark.parametrize("suffix", REFUSED)
def test_what_the_table_refuses_is_refused_with_a_remedy(tmp_path, suffix):
    assert len(REFUSED) > 8
    folder = tmp_path / "step_1"
    folder.mkdir()
    (folder / f"weights{suffix}").write_bytes(b"x")
    with pytest.raises(InputError, match=r"dcp_to_torch_save|save_npz|lltc\.Saver"):
        find_checkpoints(folder)
