"""Equinox files (.eqx): the leaves of a model one after another, without names."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lltc.checkpoints.formats.npy import MAGIC, read_header, read_numbers
from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.files import open_file, reading
from lltc.checkpoints.intake.tree import key_names
from lltc.errors import CheckpointError, InputError

_MAX_LINE = 1 << 26
_STATISTICS = "batch_stats"
Named = list[tuple[str, Any]]


def read_equinox(path: Path, template: Any, budget: Budget) -> Any:
    """Return the arrays of one `eqx.tree_serialise_leaves` file under the names `template` gives them.

    A first line ahead of the arrays, where hyperparameters are usually kept, is passed over, and so are
    Python's numbers and integers that a template of floating arrays lacks. A template `{"params": …,
    "batch_stats": …}` also fits a file of the pair (model, state).
    """
    if template is None:
        raise InputError(
            f"checkpoint '{path}' is an Equinox file, which records no names; pass template, the "
            "model or its params."
        )
    with reading(path), open_file(path) as handle:
        if handle.read(len(MAGIC)) == MAGIC:
            handle.seek(0)
        else:
            handle.readline(_MAX_LINE)
        arrays = list(_stored_arrays(path, handle, budget))
    return _named(path, arrays, *_slots(template))


def _slots(template: Any) -> tuple[Named, Named]:
    """Return the leaves of a template that a file may hold, those of its model and those of its state."""
    import jax

    paths = jax.tree_util.tree_flatten_with_path(template)[0]
    slots = [("/".join(key_names(keys)), slot) for keys, slot in paths if _is_stored(slot)]
    is_pair = isinstance(template, dict) and set(template) == {"params", _STATISTICS}
    state = {name for name, _ in slots if is_pair and name.partition("/")[0] == _STATISTICS}
    return [slot for slot in slots if slot[0] not in state], [slot for slot in slots if slot[0] in state]


def _is_stored(slot: Any) -> bool:
    return hasattr(slot, "dtype") or isinstance(slot, (bool, int, float, complex))


def _named(path: Path, arrays: list[np.ndarray], model: Named, state: Named) -> dict[str, np.ndarray]:
    cut = len(arrays) - len(state)
    parts = [(arrays[:cut], arrays[cut:])]
    if state:
        parts.append((arrays[len(state) :], arrays[: len(state)]))
    pairs = [_matched(ours, model, rest, state) for ours, rest in parts]
    whole = [named for named in pairs if named is not None]
    if len(whole) > 1:
        raise CheckpointError(
            f"Checkpoint '{path}' fits the template as (model, state) and as (state, model); pass loader, "
            "which gives its params."
        )
    # Without the state it is the fitting that says what is missing.
    named = whole[0] if whole else _matched(arrays, model, [], [])
    if named is not None:
        return named
    slots = [*model, *state]
    if len(slots) != len(arrays):
        raise CheckpointError(
            f"Checkpoint '{path}' stores {len(arrays)} arrays but the template has {len(slots)}; pass the "
            "model the file was saved from, and save it alone or as (model, state)."
        )
    for (name, slot), array in zip(slots, arrays, strict=True):
        if np.shape(slot) == array.shape and not _fits(array, slot):
            raise CheckpointError(
                f"Checkpoint '{path}' stores numbers of type {array.dtype} where the template has "
                f"'{name}' of type {slot.dtype}; pass the model the file was saved from."
            )
    return {name: array for (name, _), array in zip(slots, arrays, strict=True)}


def _matched(
    arrays: list[np.ndarray], model: Named, rest: list[np.ndarray], state: Named
) -> dict[str, np.ndarray] | None:
    """Return the arrays of a model and its state by name, None where they do not fit.

    What a file holds beside the template's leaves is left out of the model's only.
    """
    for passed_over in (lambda _: False, _is_number, _is_no_weight):
        chosen = [array for array in arrays if not passed_over(array)] + rest
        slots = [*model, *state]
        if len(chosen) == len(slots) and all(
            _fits(array, slot) for array, (_, slot) in zip(chosen, slots, strict=True)
        ):
            return {name: array for array, (name, _) in zip(chosen, slots, strict=True)}
    return None


def _is_number(array: np.ndarray) -> bool:
    """True for what Python's own numbers become in a file."""
    return array.ndim == 0 and array.dtype.name in ("bool", "int64", "float64", "complex128")


def _is_no_weight(array: np.ndarray) -> bool:
    return _is_number(array) or array.dtype.kind in "biu"


def _fits(array: np.ndarray, slot: Any) -> bool:
    """True where an array may have been stored in the place of a leaf; a Python number may be of any kind."""
    from jax.numpy import bool_, complexfloating, floating, integer, issubdtype

    if np.shape(slot) != array.shape or not hasattr(slot, "dtype"):
        return np.shape(slot) == array.shape
    kinds = (bool_, integer, floating, complexfloating)
    return any(issubdtype(array.dtype, kind) and issubdtype(slot.dtype, kind) for kind in kinds)


def _stored_arrays(path: Path, handle: BinaryIO, budget: Budget) -> Iterator[np.ndarray]:
    size = os.fstat(handle.fileno()).st_size
    for number in itertools.count(1):
        if handle.tell() >= size:
            return
        budget.count()
        array = read_numbers(handle, read_header(handle), budget, f"no. {number}")
        # JAX writes bfloat16 as two nameless bytes and reads it back on the same understanding.
        if array.dtype == np.dtype("V2"):
            import ml_dtypes

            array = array.view(ml_dtypes.bfloat16)
        elif array.dtype.kind == "V":
            raise CheckpointError(
                f"Cannot read checkpoint '{path}': it holds raw bytes whose type was not recorded, as "
                "happens to float8; save it as safetensors."
            )
        yield array
