"""Patterns over the paths of params: globs, which may end in NumPy's brackets of integers and slices."""

import difflib
import fnmatch
import re
from typing import Any

import numpy as np

from lltc.errors import InputError
from lltc.posterior.masks import any_mask
from lltc.posterior.ready import READY, ready_patterns

CLOSEST = 3
SLICED = re.compile(r"(?P<glob>.*)\[(?P<index>[-\d:., ]+)\]", re.DOTALL)


def pattern_masks(named: list, pattern: str, argument: str) -> list:
    """Return what one pattern selects of each leaf."""
    sliced = SLICED.fullmatch(pattern)
    glob = sliced["glob"] if sliced else pattern
    matched = [fnmatch.fnmatchcase(name, glob) for name, _ in named]
    if pattern in READY and not any(matched):
        each = ready_patterns(pattern, {name: np.shape(leaf) for name, leaf in named}).values()
        masks = [pattern_masks(named, part, argument) for patterns in each for part in patterns]
        return [any_mask(mask) for mask in zip(*masks, strict=True)]
    if not any(matched):
        raise InputError(
            f"{argument}={pattern!r} selects no floating-point parameter of params because no path of theirs "
            f"matches {glob!r}; {_closest(glob, [name for name, _ in named])}."
        )
    if not sliced:
        return matched
    return [
        _sliced(f"{argument}={pattern!r}", sliced["index"], name, np.shape(leaf)) if matches else False
        for (name, leaf), matches in zip(named, matched, strict=True)
    ]


def _sliced(received: str, index: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    try:
        mask[tuple(_axis(part.strip()) for part in index.split(",") if part.strip())] = True
    except (IndexError, ValueError):
        raise InputError(
            f"{received} cannot take [{index}] of {name or 'params'}, which has the shape {shape}; "
            "use one integer or slice an axis, within its length."
        ) from None
    return mask


def _axis(text: str) -> Any:
    """Return one entry of an index: an integer, a slice or an ellipsis."""
    if text == "...":
        return ...
    bounds = [int(bound) if bound.strip() else None for bound in text.split(":")]
    return bounds[0] if len(bounds) == 1 else slice(*bounds)


def _closest(glob: str, names: list[str]) -> str:
    """Return the paths most like `glob`: those it begins or names a part of, else those spelled alike."""
    within = [name for name in names if fnmatch.fnmatchcase(name, f"{glob}*")]
    within = within or [name for name in names if fnmatch.fnmatchcase(name, f"*{glob}*")]
    near = within or difflib.get_close_matches(glob.replace("*", ""), names, CLOSEST, cutoff=0.3) or names
    shown = ", ".join(repr(name) if name else "(root)" for name in near[:CLOSEST])
    more = f" and {len(near) - CLOSEST} more" if len(near) > CLOSEST else ""
    return f"the closest are {shown}{more}, and a * stands for anything"
