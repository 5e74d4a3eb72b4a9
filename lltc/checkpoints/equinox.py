"""Equinox files (.eqx): the leaves of a model one after another, without names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lltc.checkpoints.files import reading
from lltc.checkpoints.tree import key_names
from lltc.errors import CheckpointError, InputError

_MAGIC = b"\x93NUMPY"


def read_equinox(path: Path, template: Any) -> Any:
    """Return the arrays of one `eqx.tree_serialise_leaves` file under the names `template` gives them.

    A first line ahead of the arrays, where hyperparameters are usually kept, is passed over.
    """
    import jax

    if template is None:
        raise InputError(
            f"checkpoint '{path}' is an Equinox file, which records no names; pass template, the "
            "model or its params."
        )
    with reading(path), path.open("rb") as handle:
        if handle.read(len(_MAGIC)) == _MAGIC:
            handle.seek(0)
        else:
            handle.readline()
        arrays = list(_stored_arrays(path, handle))
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


def _stored_arrays(path: Path, handle: BinaryIO) -> Iterator[np.ndarray]:
    size = path.stat().st_size
    while handle.tell() < size:
        array = np.lib.format.read_array(handle, allow_pickle=False)
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
