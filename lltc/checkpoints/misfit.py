"""Params that do not fit their template: what differs, side by side, and what may be done about it."""

import re
from typing import Any

import numpy as np

from lltc.checkpoints.intake.arrays import is_quantized
from lltc.checkpoints.intake.tree import is_ignored
from lltc.errors import CheckpointError

Leaves = dict[tuple[str, ...], Any]
_MAX_ROWS, _MAX_GLOBS = 10, 3
_HEAD = re.compile(r"head|unembed|output|logits|decoder", re.IGNORECASE)
_SCALE = re.compile(r"scale|^SCB$|absmax|quant|zeros", re.IGNORECASE)
_EMBEDDING = re.compile(r"emb|wte|tok", re.IGNORECASE)


def check_fit(leaves: Leaves, wanted: Leaves, turned: Leaves) -> None:
    """Raise a `CheckpointError` where names or shapes differ; `turned` are `leaves` in PyTorch's reading."""
    missing, extra, reshaped = _differences(leaves, wanted)
    if not (missing or extra or reshaped):
        return
    fewer = sum(map(len, _differences(turned, wanted))) < len(missing + extra + reshaped)
    hint = "; pass transpose='torch' if PyTorch saved it" if fewer else ""
    if not (hint or missing or reshaped):
        hint = _ignore_hint(extra, wanted)
    elif not hint:
        hint = _statistics_hint(missing) or _tie_hint(missing, leaves, wanted)
    counts = [
        f"{len(names)} of {len(whole)} {verdict}"
        for names, whole, verdict in (
            (missing, wanted, "arrays of the template are missing"),
            (extra, leaves, "arrays of the checkpoint have no place in the template"),
            (reshaped, wanted, "arrays of the template have another shape"),
        )
        if names
    ]
    table = _side_by_side(leaves, wanted, sorted({*missing, *extra, *reshaped}))
    raise CheckpointError(f"params do not fit the template: {', and '.join(counts)}{hint}.\n{table}")


def refuse_quantized(leaves: Leaves) -> None:
    """Refuse weights that are codes, which only mean something with the scales beside them."""
    scaled = {name[:-1]: name for name in leaves if _SCALE.search(name[-1] if name else "")}
    for name, leaf in leaves.items():
        scale = scaled.get(name[:-1])
        codes = name[-1:] in (("weight",), ("qweight",), ("kernel",)) and hasattr(leaf, "dtype")
        if scale and codes and np.ndim(leaf) > 1 and is_quantized(np.dtype(leaf.dtype)):
            raise CheckpointError(
                f"'{'/'.join(name)}' is quantized: its {leaf.dtype} numbers are weights only with "
                f"'{'/'.join(scale)}'; dequantize the model, save that and load it."
            )


def _differences(leaves: Leaves, wanted: Leaves) -> tuple[list, list, list]:
    missing = [name for name, slot in wanted.items() if name not in leaves and hasattr(slot, "shape")]
    extra = [name for name in leaves if name not in wanted]
    reshaped = [
        name for name in wanted if name in leaves and np.shape(leaves[name]) != np.shape(wanted[name])
    ]
    return missing, extra, reshaped


def _ignore_hint(extra: list[tuple[str, ...]], wanted: Leaves) -> str:
    """Name the shortest globs for what is left over that let every array of the template be."""
    globs: list[str] = []
    for name in extra:
        endings = ("*/" + "/".join(name[-length:]) for length in range(1, len(name) + 1))
        glob = next((g for g in endings if not any(is_ignored(other, (g,)) for other in wanted)), None)
        if glob is not None and glob not in globs:
            globs.append(glob)
    return f"; pass ignore={globs} if they are no parameters" if 0 < len(globs) <= _MAX_GLOBS else ""


def _statistics_hint(missing: list[tuple[str, ...]]) -> str:
    """Say what may be done where nothing but running statistics is missing."""
    if not missing or any(name[0] != "batch_stats" for name in missing):
        return ""
    return (
        "; it holds no running statistics: save them with the weights, or pass the template's part 'params' "
        "alone, for a model that has its own for all checkpoints"
    )


def _tie_hint(missing: list[tuple[str, ...]], leaves: Leaves, wanted: Leaves) -> str:
    """Name the embedding that a missing head may be tied to."""
    for head in missing:
        shape = np.shape(wanted[head])
        for name, leaf in leaves.items():
            like = np.shape(leaf) in (shape, shape[::-1]) and len(shape) > 1
            if like and _HEAD.search("/".join(head)) and _EMBEDDING.search("/".join(name)):
                return (
                    f"; '{'/'.join(head)}' may be tied to '{'/'.join(name)}': leave it out of the template, "
                    "and let the model use the other in its place"
                )
    return ""


def _side_by_side(leaves: Leaves, wanted: Leaves, names: list[tuple[str, ...]]) -> str:
    rows = [("checkpoint", "template")]
    rows += [(_describe(name, leaves), _describe(name, wanted)) for name in names[:_MAX_ROWS]]
    width = max(len(left) for left, _ in rows)
    lines = [f"  {left:<{width}}  {right}" for left, right in rows]
    if len(names) > _MAX_ROWS:
        lines.append(f"  … and {len(names) - _MAX_ROWS} more")
    return "\n".join(lines)


def _describe(name: tuple[str, ...], leaves: Leaves) -> str:
    return f"{'/'.join(name) or '(one array)'} {np.shape(leaves[name])}" if name in leaves else "-"
