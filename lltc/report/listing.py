"""Aligned text: columns of a curve, and sentences about what changes where."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lltc.errors import printable
from lltc.report.wording import number, sentence


def align(rows: Sequence[Sequence[str]], *, left: Sequence[int] = ()) -> str:
    """Rows of texts as aligned columns, to the right but for those named in `left`.

    Example:
        >>> print(align([("step", "loss"), ("10", "0.5")]))
        step  loss
          10   0.5
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            text.ljust(width) if place in left else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def list_columns(curve: Any, names: Sequence[str]) -> str:
    """Variables of a curve as aligned text, a row a checkpoint.

    Example:
        >>> import xarray as xr
        >>> print(list_columns(xr.Dataset({"loss": ("step", [2.0, 0.25])}, {"step": [0, 10]}), ["loss"]))
        step  loss
           0     2
          10  0.25
    """
    columns = [np.asarray(curve[name].values, dtype=float) for name in ("step", *names)]
    rows = [
        [number(value, 7 if k == 0 else 4) for k, value in enumerate(row)]
        for row in zip(*columns, strict=True)
    ]
    return align([("step", *names), *rows])


def list_reasons(curve: Any, most: int = 8) -> list[str]:
    """A line for each of the first `most` checkpoints of which there is something to say, then a count.

    Example:
        >>> import xarray as xr
        >>> list_reasons(xr.Dataset({"reason": ("step", ["", "It is gone."])}, {"step": [0, 10]}))
        ['step 10: It is gone.']
    """
    told = zip(curve["step"].values, curve["reason"].values, strict=True)
    lines = [f"step {number(step, 7)}: {printable(str(reason))}" for step, reason in told if reason]
    return lines[:most] + ([f"and {len(lines) - most} more"] if len(lines) > most else [])


def list_changes(markers: Mapping[str, Sequence[Any]]) -> list[str]:
    """A sentence for every marker of every curve, by name.

    Example:
        >>> from types import SimpleNamespace
        >>> change = SimpleNamespace(
        ...     step_low=10, step_high=20, delta_llc=-2.0, delta_llc_se=0.1, kind="fall", probability=1)
        >>> list_changes({"loss": [change], "norm": []})
        ['loss: fall of 2.00 ± 0.10 between steps 10 and 20 (probability 1.00)']
    """
    return [f"{name}: {sentence(marker)}" for name, each in markers.items() for marker in each]
