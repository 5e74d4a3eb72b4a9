"""Fitting loaded parameters to a template: one tree's arrays in another tree's structure."""

import re
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from lltc.checkpoints.intake.tree import key_names
from lltc.errors import CheckpointError, InputError

Leaves = dict[tuple[str, ...], Any]
_MAX_ROWS = 10
# What other libraries call PyTorch's names.
_TORCH_NAMES = {
    **dict.fromkeys(("kernel", "w", "scale", "embedding", "embeddings"), "weight"),
    **dict.fromkeys(("b", "offset"), "bias"),
}
_NEVER_TURNED = ("scale", "embedding", "embeddings")


def fit_params(params: Any, template: Any, *, transpose: Literal["torch"] | None = None) -> Any:
    """Return the arrays of `params` in the structure of the pytree `template`.

    Names are compared after normalising: indices and attributes count as dict keys ("0", "kernel"),
    "a/b" and "a.b" as levels, and Flax nnx's `value` level and outer levels that only one of the two
    trees has (such as "params", or PyTorch's "module") are dropped. Shapes must be equal. Values stay the
    checkpoint's; the type becomes the template's where both are floating, or where integers become those
    floats exactly. The template keeps its functions, its random keys and streams (nnx's `rngs`), and those of
    its Python numbers that the checkpoint lacks.

    With `transpose="torch"` PyTorch's `weight` also fits a `kernel`, `w`, `scale` or `embedding`, its `bias`
    a `b` or `offset`, and weights of linear and convolutional layers are turned from (out, in, …) to
    (…, in, out), except an array that fits only as it is. The order in which a network flattens an image is
    not changed.

    Raises:
        InputError: `transpose` is neither None nor "torch".
        CheckpointError: names or shapes differ; below its first sentence the message shows the two trees
            side by side where they differ.

    Example:
        >>> import numpy as np
        >>> fit_params({"params": {"layers.0": np.array([1.0, 2.0])}}, {"layers": [np.zeros(2)]})
        {'layers': [array([1., 2.])]}
        >>> saved = {"fc.weight": np.array([[1.0, 2.0]]), "fc.bias": np.array([3.0])}
        >>> fit_params(saved, {"fc": {"kernel": np.zeros((2, 1)), "bias": np.zeros(1)}}, transpose="torch")
        {'fc': {'bias': array([3.]), 'kernel': array([[1.], [2.]])}}
    """
    import jax

    if transpose not in (None, "torch"):
        raise InputError(f"transpose is {transpose!r}, but must be 'torch' or None; pass one of these.")
    saved = jax.tree_util.tree_flatten_with_path(params)[0]
    leaves_by_path = _by_levels([(path, leaf) for path, leaf in saved if not _is_random_stream(path, leaf)])
    slots, treedef = jax.tree_util.tree_flatten_with_path(template)
    wanted = _by_levels([(path, slot) for path, slot in slots if _is_filled(path, slot)])
    spelled = {_as_torch(name): slot for name, slot in wanted.items()} if transpose else wanted
    stripped, depth = _align(leaves_by_path, spelled)
    inner = {name[depth:]: slot for name, slot in wanted.items()}
    if transpose:
        stripped = _turn_weights(stripped, inner)
    _check_fit(stripped, inner)
    arrays = iter([_cast(stripped.get(name[depth:]), slot, name) for name, slot in wanted.items()])
    leaves = [next(arrays) if _is_filled(path, slot) else slot for path, slot in slots]
    return jax.tree_util.tree_unflatten(treedef, leaves)


def _is_random_stream(path: tuple, leaf: Any) -> bool:
    """True for the keys and counts of Flax's nnx, which no parameter is; a float of that name is one."""
    import jax

    kind = getattr(leaf, "dtype", type(leaf))
    return "rngs" in _levels(key_names(path)) and not jax.numpy.issubdtype(kind, jax.numpy.floating)


def _is_filled(path: tuple, slot: Any) -> bool:
    import jax

    if _is_random_stream(path, slot):
        return False
    if hasattr(slot, "dtype"):
        return not jax.numpy.issubdtype(slot.dtype, jax.dtypes.prng_key)
    return isinstance(slot, (bool, int, float, complex))


def _by_levels(leaves: Iterable[tuple[tuple, Any]]) -> Leaves:
    """Return leaves by their names' levels, flat names split, a `value` level common to all dropped."""
    named = {key_names(path): leaf for path, leaf in leaves}
    split = {_levels(name): leaf for name, leaf in named.items()}
    # Two names that splitting makes one are told apart only by staying whole.
    levels = split if len(split) == len(named) else named
    if levels and all(name[-1:] == ("value",) for name in levels):
        return {name[:-1]: leaf for name, leaf in levels.items()}
    return levels


def _levels(name: tuple[str, ...]) -> tuple[str, ...]:
    """Return a name with its flat parts split, as at "layers/0" and "layers.0"."""
    return tuple(level for key in name for level in re.split(r"[/.]", key))


def _align(found: Leaves, wanted: Leaves) -> tuple[Leaves, int]:
    """Drop outer levels of one of the trees so that most names agree; return `found` and wanted's depth."""
    depths = [(depth, 0) for depth in range(_num_outer(found) + 1)]
    depths += [(0, depth) for depth in range(1, _num_outer(wanted) + 1)]
    if all(name[0] == "params" for name in wanted if name):
        # Flax's outermost level says nothing about the layers, so the checkpoint may wrap them otherwise.
        depths += [(depth, 1) for depth in range(1, _num_outer(found) + 1)]

    def count_shared(pair: tuple[int, int]) -> int:
        return len({name[pair[0] :] for name in found} & {name[pair[1] :] for name in wanted})

    ours, theirs = max(depths, key=count_shared)
    return {name[ours:]: leaf for name, leaf in found.items()}, theirs


def _num_outer(leaves: Leaves) -> int:
    depth = 0
    for level in zip(*leaves, strict=False):
        if len(set(level)) > 1:
            break
        depth += 1
    return depth


def _as_torch(name: tuple[str, ...]) -> tuple[str, ...]:
    return (*name[:-1], *(_TORCH_NAMES.get(level, level) for level in name[-1:]))


def _turn_weights(found: Leaves, wanted: Leaves) -> Leaves:
    """Return `found` under the names of `wanted`, with the weights that PyTorch holds transposed turned."""
    turned = dict(found)
    for name, slot in wanted.items():
        torch_name = _as_torch(name)
        if torch_name not in turned:
            continue
        array = turned.pop(torch_name)
        if torch_name[-1:] == ("weight",) and name[-1] not in _NEVER_TURNED and np.ndim(array) > 1:
            moved = np.moveaxis(array, (0, 1), (-1, -2))
            array = moved if moved.shape == np.shape(slot) else array
        turned[name] = array
    return turned


def _differences(found: Leaves, wanted: Leaves) -> tuple[list, list, list]:
    missing = [name for name, slot in wanted.items() if name not in found and hasattr(slot, "shape")]
    extra = [name for name in found if name not in wanted]
    reshaped = [name for name in wanted if name in found and np.shape(found[name]) != np.shape(wanted[name])]
    return missing, extra, reshaped


def _check_fit(found: Leaves, wanted: Leaves) -> None:
    missing, extra, reshaped = _differences(found, wanted)
    if not (missing or extra or reshaped):
        return
    turned = sum(map(len, _differences(_turn_weights(found, wanted), wanted)))
    hint = "; pass transpose='torch' if PyTorch saved it" if turned < len(missing + extra + reshaped) else ""
    counts = [
        f"{len(names)} of {len(whole)} {verdict}"
        for names, whole, verdict in (
            (missing, wanted, "arrays of the template are missing"),
            (extra, found, "arrays of the checkpoint have no place in the template"),
            (reshaped, wanted, "arrays of the template have another shape"),
        )
        if names
    ]
    table = _side_by_side(found, wanted, sorted({*missing, *extra, *reshaped}))
    raise CheckpointError(f"params do not fit the template: {', and '.join(counts)}{hint}.\n{table}")


def _side_by_side(found: Leaves, wanted: Leaves, names: list[tuple[str, ...]]) -> str:
    rows = [("checkpoint", "template")]
    rows += [(_describe(name, found), _describe(name, wanted)) for name in names[:_MAX_ROWS]]
    width = max(len(left) for left, _ in rows)
    lines = [f"  {left:<{width}}  {right}" for left, right in rows]
    if len(names) > _MAX_ROWS:
        lines.append(f"  … and {len(names) - _MAX_ROWS} more")
    return "\n".join(lines)


def _describe(name: tuple[str, ...], leaves: Leaves) -> str:
    return f"{'/'.join(name) or '(one array)'} {np.shape(leaves[name])}" if name in leaves else "-"


def _cast(leaf: Any, slot: Any, name: tuple[str, ...]) -> Any:
    if leaf is None:
        return slot
    array = np.asarray(leaf)
    if not hasattr(slot, "dtype") or array.dtype == slot.dtype:
        return array
    from jax.numpy import issubdtype

    def both(kind: Any, slot_kind: Any) -> bool:
        return issubdtype(array.dtype, kind) and issubdtype(slot.dtype, slot_kind)

    if both(np.floating, np.floating) or both(np.complexfloating, np.complexfloating):
        return _cast_float(array, slot.dtype, "/".join(name))
    if both(np.integer, np.floating):
        cast = array.astype(slot.dtype)
        # The largest integers round up to floats beyond their own range.
        with np.errstate(invalid="ignore"):
            return cast if (cast.astype(array.dtype) == array).all() else array
    return array


def _cast_float(array: np.ndarray, dtype: Any, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if (np.isfinite(array) & ~np.isfinite(cast)).any():
        raise CheckpointError(
            f"params hold values at '{name}' that overflow the template's {dtype}; give the template "
            f"the type {array.dtype}."
        )
    return cast
