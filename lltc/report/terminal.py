"""A curve in the terminal: a sketch of it, and its numbers as text."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lltc.errors import InputError
from lltc.report.columns import prefers_log, read_columns, zero_position
from lltc.report.wording import measured, number, sentence

MARGIN = 8
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


class Glyphs(NamedTuple):
    """What a sketch is drawn with; `dots` is how many (across, down) one character holds."""

    dots: tuple[int, int]
    axis: str
    tick: str
    corner: str
    floor: str
    rise: str
    fall: str
    failed: str


UNICODE = Glyphs((2, 4), "│", "┤", "└", "─", "▲", "▼", "×")
ASCII = Glyphs((1, 1), "|", "+", "+", "-", "^", "v", "x")


def sketch(
    steps: Any,
    llc: Any,
    transitions: Sequence[Any] = (),
    *,
    width: int = 72,
    height: int = 14,
    ascii: bool = False,
) -> str:
    """Sketch of the curve for a terminal, with a row of markers and the steps under it.

    ▲ marks a rise, ▼ a fall, × a checkpoint whose llc is NaN; the steps are spread logarithmically where they
    span decades, with step 0 left of the first positive one.

    Args:
        steps: shape (checkpoints,).
        llc: shape (checkpoints,).
        transitions: objects with step_low, step_high, kind and delta_llc.
        width: characters a line, at least 24.
        height: lines of the curve itself, at least 3.
        ascii: draw with ASCII characters only.

    Raises:
        InputError: the shapes differ, there is no checkpoint, or the sketch is too small.

    Example:
        >>> print(sketch([0, 1, 2, 3], [1.0, 1.0, 3.0, 3.0], width=24, height=3, ascii=True))
              3 +        *******
                |       *
              1 +*******
                +---------------
                 0    1   2    3
    """
    steps, llc = np.asarray(steps, dtype=float), np.asarray(llc, dtype=float)
    check_sketch(steps, llc, width, height)
    glyphs = ASCII if ascii else UNICODE
    order = np.argsort(steps, kind="stable")
    steps, llc = steps[order], llc[order]
    columns = width - MARGIN - 1
    place = column_placer(steps, columns)
    rows = draw_curve(place(steps, glyphs.dots[0]), llc, columns, height, glyphs)
    lines = [*frame(rows, llc, glyphs), " " * MARGIN + glyphs.corner + glyphs.floor * columns]
    markers = [(int(place(at, 1)), glyphs.failed) for at in steps[np.isnan(llc)]]
    labels = []
    for t in transitions:
        at = int(np.mean(place(np.array([t.step_low, t.step_high]), 1)))
        markers.append((at, glyphs.rise if t.kind == "rise" else glyphs.fall))
        labels.append((at, f"{t.delta_llc:+.2f}"))
    ends = [(0, number(steps[0], 7)), (columns - 1, number(steps[-1], 7))]
    if len(steps) == 1 or steps[0] == steps[-1]:
        ends = [(int(place(steps[0], 1)), ends[0][1])]
    middles = [(int(place(at, 1)), number(at, 7)) for at in round_steps(steps) if steps[0] < at < steps[-1]]
    under = [
        write_row(markers, columns, gap=0),
        write_row(labels, columns),
        write_row(ends + middles, columns, gap=3),
    ]
    lines += [" " * (MARGIN + 1) + row for row in under if row]
    return "\n".join(line.rstrip() for line in lines)


def check_sketch(steps: np.ndarray, llc: np.ndarray, width: int, height: int) -> None:
    """Refuse what cannot be sketched."""
    if steps.ndim != 1 or steps.shape != llc.shape or not len(steps):
        raise InputError(
            f"steps and llc have shapes {steps.shape} and {llc.shape}; give two lists of one length."
        )
    if width < 24 or height < 3:
        raise InputError(
            f"width is {width} and height {height}; give a width of at least 24 and a height of at least 3."
        )


def column_placer(steps: np.ndarray, columns: int) -> Any:
    """A function from steps to columns, at `across` dots a column."""
    log = prefers_log(steps)
    zero = zero_position(steps)

    def along(at: Any) -> np.ndarray:
        return np.log(np.where(np.asarray(at) > 0, at, zero)) if log else np.asarray(at, dtype=float)

    low, high = along(steps[0]), along(steps[-1])
    span = high - low if high > low else 1.0
    shift = 0.0 if high > low else 0.5

    def place(at: Any, across: int) -> np.ndarray:
        share = np.clip((along(at) - low) / span + shift, 0.0, 1.0)
        return np.rint(share * (columns * across - 1)).astype(int)

    return place


def round_steps(steps: np.ndarray) -> list[float]:
    """Round steps to label: powers of ten on a logarithmic axis, else about five even ones."""
    span = float(steps[-1] - steps[0])
    if span <= 0:
        return []
    if prefers_log(steps):
        return [10.0**k for k in range(-3, int(np.log10(steps[-1])) + 1)]
    power = 10.0 ** np.floor(np.log10(span / 5))
    stride = max(power * next(m for m in (1, 2, 5, 10) if m * power >= span / 5), 1.0)
    return [float(at) for at in stride * np.arange(np.ceil(steps[0] / stride), steps[-1] / stride)]


def draw_curve(across: np.ndarray, llc: np.ndarray, columns: int, height: int, glyphs: Glyphs) -> list[str]:
    """The curve's rows, top first; neighbours that are both numbers are joined."""
    wide, tall = glyphs.dots
    on = np.zeros((height * tall, columns * wide), dtype=bool)
    low, high = value_range(llc)
    share = (llc - low) / (high - low) if high > low else np.full_like(llc, 0.5)
    with np.errstate(invalid="ignore"):
        down = (height * tall - 1) * (1 - share)
    for i in np.flatnonzero(np.isfinite(llc)):
        j = i + 1 if i + 1 < len(llc) and np.isfinite(llc[i + 1]) else i
        count = int(max(abs(across[j] - across[i]), abs(down[j] - down[i]))) + 1
        rows = np.rint(np.linspace(down[i], down[j], count + 1)).astype(int)
        on[rows, np.rint(np.linspace(across[i], across[j], count + 1)).astype(int)] = True
    if wide == 1:
        return ["".join("*" if dot else " " for dot in row) for row in on]
    cells = on.reshape(height, tall, columns, wide)
    codes = np.einsum("rtcw,wt->rc", cells.astype(int), np.array(DOTS))
    return ["".join(chr(0x2800 + code) if code else " " for code in row) for row in codes]


def value_range(llc: np.ndarray) -> tuple[float, float]:
    """Smallest and largest finite llc; (0, 0) where there is none."""
    finite = llc[np.isfinite(llc)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)


def frame(rows: list[str], llc: np.ndarray, glyphs: Glyphs) -> list[str]:
    """The rows with the llc axis at their left, labelled at the top, middle and bottom."""
    low, high = value_range(llc)
    if high > low:
        marks = {0: high, len(rows) - 1: low}
        if len(rows) % 2 and len(rows) > 4:
            marks[len(rows) // 2] = (low + high) / 2
    else:
        marks = {len(rows) // 2: low} if np.isfinite(llc).any() else {}
    framed = []
    for i, row in enumerate(rows):
        label = shorten(marks[i]) if i in marks else ""
        framed.append(f"{label:>{MARGIN - 1}} {glyphs.tick if i in marks else glyphs.axis}{row}")
    return framed


def shorten(value: float) -> str:
    """A number in at most seven characters."""
    text = f"{value:.0f}" if 1000 <= abs(value) < 999_999 else number(value, 3)
    return text if len(text) < MARGIN else f"{value:.0e}"


def write_row(entries: list[tuple[int, str]], columns: int, *, gap: int = 1) -> str:
    """Texts centred on their columns; one too close to an earlier one is left out (`gap` 0 overwrites)."""
    row = [" "] * columns
    for at, text in entries:
        start = min(max(at - len(text) // 2, 0), columns - len(text))
        free = row[max(start - gap, 0) : start + len(text) + gap]
        if start >= 0 and (gap == 0 or not "".join(free).strip()):
            row[start : start + len(text)] = text
    return "".join(row).rstrip()


def table(curve: Any, transitions: Sequence[Any] = ()) -> str:
    """The curve as aligned text (step, llc ± se, loss, status), then a sentence for every transition.

    Args:
        curve: an `xarray.Dataset` over `step` with llc, llc_se, loss and status.
        transitions: objects with step_low, step_high, delta_llc, delta_llc_se, kind and probability.

    Raises:
        InputError: the curve lacks one of these variables.

    Example:
        >>> import xarray as xr
        >>> data = {"llc": [1.0], "llc_se": [0.1], "loss": [0.5], "status": ["ok"]}
        >>> print(table(xr.Dataset({k: ("step", v) for k, v in data.items()}, coords={"step": [10]})))
        step  llc          loss  status
          10  1.00 ± 0.10   0.5  ok
    """
    columns = read_columns(curve)
    rows = [("step", "llc", "loss", "status")]
    for i, step in enumerate(columns.steps):
        llc = measured(columns.llc[i], columns.llc_se[i])
        rows.append((number(step, 7), llc, number(columns.loss[i]), columns.status[i]))
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = [f"{a:>{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]
    if transitions:
        lines += ["", *(sentence(t) for t in transitions)]
    return "\n".join(lines)
