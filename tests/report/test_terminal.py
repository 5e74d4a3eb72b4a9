"""Exact text of sketches and tables, and the wording of numbers."""

from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from lltc.errors import InputError
from lltc.report import sketch, table
from lltc.report.wording import measured, number, sentence


class Change(NamedTuple):
    step_low: float
    step_high: float
    delta_llc: float
    delta_llc_se: float
    kind: str
    probability: float


RISE = Change(150, 200, 1.62, 0.05, "rise", 0.999)
FALL = Change(250, 300, -0.512, 0.0149, "fall", 0.9)


def test_sentences():
    assert sentence(RISE) == "rise of 1.62 ± 0.05 between steps 150 and 200 (probability 1.00)"
    assert sentence(FALL) == "fall of 0.512 ± 0.015 between steps 250 and 300 (probability 0.90)"


def test_ascii_sketch():
    steps, llc = [0, 100, 150, 200, 250, 300], [1.0, 1.0, 1.0, 2.62, np.nan, 2.1]
    drawn = sketch(steps, llc, [RISE], width=32, height=5, ascii=True).splitlines()
    assert drawn == [
        "   2.62 +               *",
        "        |              *       *",
        "   1.81 +             *",
        "        |            *",
        "      1 +************",
        "        +-----------------------",
        "                      ^    x",
        "                    +1.62",
        "         0     100     200   300",
    ]


def test_unicode_sketch():
    drawn = sketch(
        [0, 1, 2, 3], [0.0, 0.0, 1.0, 1.0], [Change(1, 2, 1.0, 0.1, "rise", 1.0)], width=25, height=3
    )
    assert drawn.splitlines() == [
        "      1 ┤         ⡠⠊⠉⠉⠉⠉⠉",
        "        │       ⡠⠎",
        "      0 ┤⣀⣀⣀⣀⣀⡠⠊",
        "        └────────────────",
        "                ▲",
        "              +1.00",
        "         0    1    2    3",
    ]


def test_sketch_without_a_number_and_of_one_checkpoint():
    nothing = sketch([0, 1], [np.nan, np.nan], width=24, height=3, ascii=True).splitlines()
    assert nothing[:3] == ["        |"] * 3
    assert nothing[4] == "         x             x"
    one = sketch([7], [2.0], width=24, height=3, ascii=True).splitlines()
    assert one[1] == "      2 +       *"
    assert one[-1].split() == ["7"]


def test_logarithmic_steps_are_labelled_by_decades():
    steps = [0, *np.unique(np.logspace(0, 4, 25).astype(int))]
    assert sketch(steps, np.arange(len(steps)), width=60).splitlines()[-1].split() == [
        "0", "1", "10", "100", "1000", "10000",
    ]  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(-1e6, 1e6) | st.just(float("nan"))), min_size=1),
    st.integers(24, 90),
    st.integers(3, 20),
    st.booleans(),
)
def test_sketch_keeps_its_size(points, width, height, ascii):
    steps, llc = zip(*points, strict=True)
    drawn = sketch(steps, llc, width=width, height=height, ascii=ascii)
    lines = drawn.splitlines()
    assert height + 2 <= len(lines) <= height + 3
    assert max(map(len, lines)) <= width
    assert drawn.isascii() or not ascii


def test_table():
    curve = xr.Dataset(
        {
            "llc": ("step", [1.0, np.nan, 12.34]),
            "llc_se": ("step", [0.05, np.nan, 1.4]),
            "loss": ("step", [0.693147, np.nan, 0.5]),
            "status": ("step", ["ok", "diverged", "ok"]),
        },
        coords={"step": [0, 150, 1200]},
    )
    assert table(curve, [RISE]).splitlines() == [
        "step  llc            loss  status",
        "   0  1.00 ± 0.05  0.6931  ok",
        " 150  —                 —  diverged",
        "1200  12.3 ± 1.4      0.5  ok",
        "",
        "rise of 1.62 ± 0.05 between steps 150 and 200 (probability 1.00)",
    ]


def test_numbers():
    nan = float("nan")
    assert number(nan) == "—"
    assert measured(nan, nan) == "—"
    assert measured(2.0, nan) == "2 ± —"
    assert measured(2.0, 0.0) == "2 ± 0"
    assert measured(1.62, 0.05, sign=True) == "+1.62 ± 0.05"
    assert measured(-3.5, 0.21) == "-3.50 ± 0.21"
    assert measured(123456.0, 4321.0) == "123000 ± 4000"
    assert number(1e-5) == "1e-05"


@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e4))
def test_rounding_stays_well_within_the_error(value, se):
    shown, error = map(float, measured(value, se).split(" ± "))
    assert abs(shown - value) <= 0.17 * se * 1.0001
    assert abs(error - se) <= 0.17 * se * 1.0001


def test_sketch_refuses():
    with pytest.raises(InputError, match=r"steps and llc have shapes \(2,\) and \(1,\)"):
        sketch([0, 1], [1.0])
    with pytest.raises(InputError, match="width is 10"):
        sketch([0], [1.0], width=10)
