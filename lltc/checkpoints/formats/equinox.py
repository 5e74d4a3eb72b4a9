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


def read_equinox(path: Path, template: Any, budget: Budget) -> Any:
    """Return the arrays of one `eqx.tree_serialise_leaves` file under the names `template` gives them.

    A first line ahead of the arrays, where hyperparameters are usually kept, is passed over.
    """
    import jax

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
    paths = jax.tree_util.tree_flatten_with_path(template)[0]
    names = [key_names(keys) for keys, slot in paths if _is_stored(slot)]
    if len(names) != len(arrays):
        raise CheckpointError(
            f"Checkpoint '{path}' stores {len(arrays)} arrays but the template has {len(names)}; pass the "
            "model the file was saved from."
        )
    return {"/".join(name): array for name, array in zip(names, arrays, strict=True)}


def _is_stored(slot: Any) -> bool:
    return hasattr(slot, "dtype") or isinstance(slot, (bool, int, float, complex))


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
