"""Fitting loaded parameters to a template: one tree's arrays in another tree's structure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from lltc.checkpoints.intake.tree import WRAPPERS, as_globs, is_ignored, key_names, split_levels
from lltc.checkpoints.misfit import Leaves, check_fit, refuse_quantized
from lltc.checkpoints.torch_layout import as_torch, refuse_either_way, turn_weights
from lltc.errors import CheckpointError, InputError

# The kinds of arrays that a Python number of each type takes the value of.
_BEFORE: dict[type, str] = {bool: "b", int: "biu", float: "biuf", complex: "biufc"}


def fit_params(
    params: Any,
    template: Any,
    *,
    transpose: Literal["torch"] | None = None,
    ignore: str | Sequence[str] = (),
) -> Any:
    """Return the arrays of `params` in the structure of the pytree `template`.

    Names are compared after normalising: indices and attributes count as dict keys ("0", "kernel"),
    "a/b" and "a.b" as levels, and Flax nnx's `value` level and outer levels that only one of the two
    trees has (such as "params") are dropped, and so are, at any level, those that PyTorch's wrappers add:
    "module", "_orig_mod", "_fsdp_wrapped_module". Shapes must be equal. Values stay the
    checkpoint's; the type becomes the template's where both are floating, or where integers become those
    floats exactly. The template keeps its functions, its random keys and streams (nnx's `rngs`), and those of
    its Python numbers that the checkpoint lacks.

    What `ignore` names is left out: globs over the checkpoint's names, as "*/num_batches_tracked", in which
    `*` also crosses slashes.

    With `transpose="torch"` PyTorch's `weight` also fits a `kernel`, `w`, `scale` or `embedding`, its `bias`
    a `b` or `offset`, and weights of linear and convolutional layers are turned from (out, in, …) to
    (…, in, out), except an array that fits only as it is. The order in which a network flattens an image is
    not changed.

    The weights of a PyTorch module say which names are tied and which are buffers: a tied array is taken
    under any of its names, and a buffer that the checkpoint lacks stays the template's. Those of a network by
    its name also say how its files spell the names, and which of their arrays it does not use.

    Raises:
        InputError: `transpose` is neither None nor "torch", or `ignore` is no glob.
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
    named = _by_levels([(path, leaf) for path, leaf in saved if not _is_random_stream(path, leaf)])
    slots, treedef = jax.tree_util.tree_flatten_with_path(template)
    wanted = _by_levels([(path, slot) for path, slot in slots if _is_filled(path, slot)])
    spelled = {as_torch(name): slot for name, slot in wanted.items()} if transpose else wanted
    globs = as_globs(ignore)
    refuse_quantized(named)
    named = {name: leaf for name, leaf in _unwrap(named, wanted).items() if not is_ignored(name, globs)}
    named = _respell(named, getattr(template, "spelled", {}))
    tied, held = getattr(template, "tied", {}), getattr(template, "held", frozenset())
    stripped, depth = _align(named, {**dict.fromkeys(_split_names(tied, 0)), **spelled})
    inner = {name[depth:]: slot for name, slot in wanted.items()}
    if transpose:
        refuse_either_way(stripped, inner)
        stripped = turn_weights(stripped, inner)
    stripped = _untie(stripped, _split_names(tied, depth))
    optional = set(_split_names(dict.fromkeys(held, ""), depth)) - set(stripped)
    needed = {name: slot for name, slot in inner.items() if name not in optional}
    check_fit(stripped, needed, turn_weights(stripped, needed))
    arrays = iter([_cast(stripped.get(name[depth:]), slot, name) for name, slot in wanted.items()])
    leaves = [next(arrays) if _is_filled(path, slot) else slot for path, slot in slots]
    return jax.tree_util.tree_unflatten(treedef, leaves)


def _respell(leaves: Leaves, spelled: Mapping[str, str | None]) -> Leaves:
    """Return leaves by the network's own names, without those that it has no use for."""
    own = {split_levels((name,)): split_levels((ours,)) for name, ours in spelled.items() if ours is not None}
    unused = {split_levels((name,)) for name, ours in spelled.items() if ours is None}
    named: Leaves = {}
    for name, leaf in leaves.items():
        if name in unused:
            continue
        if (ours := own.get(name, name)) in named:
            raise CheckpointError(
                f"it holds '{'/'.join(ours)}' twice, as '{'/'.join(name)}' too, but one of them is wanted; "
                "leave one out with ignore."
            )
        named[ours] = leaf
    return named


def _split_names(names: Mapping[str, str], depth: int) -> dict[tuple[str, ...], tuple[str, ...]]:
    return {split_levels((key,))[depth:]: split_levels((name,))[depth:] for key, name in names.items()}


def _untie(leaves: Leaves, tied: Mapping[tuple[str, ...], tuple[str, ...]]) -> Leaves:
    """Return leaves with tied arrays under one name; refuse names of one array that hold two."""
    untied = {name: leaf for name, leaf in leaves.items() if name not in tied}
    for other, name in tied.items():
        if other not in leaves:
            continue
        if not np.array_equal(untied.setdefault(name, leaves[other]), leaves[other], equal_nan=True):
            raise CheckpointError(
                f"params hold different arrays at '{'.'.join(other)}' and '{'.'.join(name)}', which the "
                "template ties to one; load a checkpoint of this network."
            )
    return untied


def _is_random_stream(path: tuple, leaf: Any) -> bool:
    """True for the keys and counts of Flax's nnx, which no parameter is; a float of that name is one."""
    import jax

    kind = getattr(leaf, "dtype", type(leaf))
    return "rngs" in split_levels(key_names(path)) and not jax.numpy.issubdtype(kind, jax.numpy.floating)


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
    split = {split_levels(name): leaf for name, leaf in named.items()}
    # Two names that splitting makes one are told apart only by staying whole.
    levels = split if len(split) == len(named) else named
    if levels and all(name[-1:] == ("value",) for name in levels):
        return {name[:-1]: leaf for name, leaf in levels.items()}
    return levels


def _unwrap(leaves: Leaves, wanted: Leaves) -> Leaves:
    """Drop the levels that wrappers of PyTorch put anywhere in a name, unless the template has them, too."""
    for wrapper in (*WRAPPERS, "module"):
        shorter = {tuple(level for level in name if level != wrapper): leaf for name, leaf in leaves.items()}
        if len(shorter) == len(leaves) and not any(wrapper in name for name in wanted):
            leaves = shorter
    return leaves


def _align(leaves: Leaves, wanted: Leaves) -> tuple[Leaves, int]:
    """Drop outer levels of one of the trees so that most names agree; return `leaves` and wanted's depth."""
    depths = [(depth, 0) for depth in range(_num_outer(leaves) + 1)]
    depths += [(0, depth) for depth in range(1, _num_outer(wanted) + 1)]
    if all(name[0] == "params" for name in wanted if name):
        # Flax's outermost level says nothing about the layers, so the checkpoint may wrap them otherwise.
        depths += [(depth, 1) for depth in range(1, _num_outer(leaves) + 1)]

    def count_shared(pair: tuple[int, int]) -> int:
        return len({name[pair[0] :] for name in leaves} & {name[pair[1] :] for name in wanted})

    ours, theirs = max(depths, key=count_shared)
    return {name[ours:]: leaf for name, leaf in leaves.items()}, theirs


def _num_outer(leaves: Leaves) -> int:
    depth = 0
    for level in zip(*leaves, strict=False):
        if len(set(level)) > 1:
            break
        depth += 1
    return depth


def _cast(leaf: Any, slot: Any, name: tuple[str, ...]) -> Any:
    if leaf is None:
        return slot
    array = np.asarray(leaf)
    before = _BEFORE.get(type(slot), "")
    if before and array.ndim == 0:
        return type(slot)(array.item()) if array.dtype.kind in before else array
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
