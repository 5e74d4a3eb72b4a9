"""Weights in the layout and by the names of PyTorch, as other libraries hold and call them."""

from typing import Any

import numpy as np

from lltc.checkpoints.misfit import Leaves
from lltc.errors import CheckpointError

# What other libraries call PyTorch's names.
_TORCH_NAMES = {
    **dict.fromkeys(("kernel", "w", "scale", "embedding", "embeddings"), "weight"),
    **dict.fromkeys(("b", "offset"), "bias"),
}
_NEVER_TURNED = ("scale", "embedding", "embeddings")


def as_torch(name: tuple[str, ...]) -> tuple[str, ...]:
    """Return a name as PyTorch spells it."""
    return (*name[:-1], *(_TORCH_NAMES.get(level, level) for level in name[-1:]))


def turn_weights(leaves: Leaves, wanted: Leaves) -> Leaves:
    """Return `leaves` under the names of `wanted`, with the weights that PyTorch holds transposed turned."""
    turned = dict(leaves)
    for name, slot in wanted.items():
        torch_name = as_torch(name)
        if torch_name not in turned:
            continue
        array = turned.pop(torch_name)
        if _may_turn(name, array):
            moved = np.moveaxis(array, (0, 1), (-1, -2))
            array = moved if moved.shape == np.shape(slot) else array
        turned[name] = array
    return turned


def refuse_either_way(leaves: Leaves, wanted: Leaves) -> None:
    """Refuse square weights beside one that fits only as it is: they may lie either way."""
    kept, square = [], []
    for name, slot in wanted.items():
        array = leaves.get(as_torch(name))
        if array is None or not _may_turn(name, array):
            continue
        shape, turned = np.shape(array), np.moveaxis(array, (0, 1), (-1, -2)).shape
        if shape == turned == np.shape(slot):
            square.append(name)
        elif shape == np.shape(slot):
            kept.append(name)
    if kept and square:
        raise CheckpointError(
            f"'{'/'.join(kept[0])}' fits the template only as it is, not turned from PyTorch's layout, so "
            f"that '{'/'.join(square[0])}', which fits either way, may be one or the other; leave transpose "
            "out, or turn the weights with a loader."
        )


def _may_turn(name: tuple[str, ...], array: Any) -> bool:
    return as_torch(name)[-1:] == ("weight",) and name[-1] not in _NEVER_TURNED and np.ndim(array) > 1
