"""Data sets as lltc reads them: arrays on the device, or rows fetched from the host."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lltc.errors import InputError
from lltc.posterior.arrays import as_array
from lltc.types import PyTree


@dataclass(frozen=True)
class Data:
    """A data set of `size` examples, held as device arrays (`arrays`) or fetched by rows (`rows`)."""

    size: int
    arrays: PyTree | None = None
    rows: Any | None = None

    @property
    def in_memory(self) -> bool:
        """True when every example lies on the device and batches are gathered inside the compiled step."""
        return self.arrays is not None

    def batch(self, indices: np.ndarray) -> PyTree:
        """Return the examples at `indices` (any shape `s`) as a pytree of arrays `(*s, …)`."""
        if self.arrays is not None:
            return jax.tree.map(lambda a: a[indices], self.arrays)
        try:
            rows = _fetch(self.rows, indices.reshape(-1))
        except Exception as error:  # A source is the user's: it may fail in any way.
            raise InputError(
                f"data is a {type(self.rows).__name__} that failed to give examples ({type(error).__name__}: "
                f"{error}); check that its __getitem__ takes one index, or a list of them."
            ) from error
        flat = _as_arrays(rows)
        return jax.tree.map(lambda a: a.reshape(*indices.shape, *a.shape[1:]), flat)

    def blocks(self, block: int) -> Iterator[PyTree]:
        """Yield all examples in order, `block` at a time; the last block may be shorter."""
        for low in range(0, self.size, block):
            yield self.batch(np.arange(low, min(low + block, self.size)))


def as_data(data: PyTree | Sequence | Data) -> Data:
    """Return `data`, a pytree of arrays or a source with `__len__` and batched `__getitem__`, as a `Data`.

    Memory maps stay on the host and are read row by row. Raises `InputError` when leading axes differ or
    there are no examples.

    Example:
        >>> as_data({"x": np.zeros((6, 2)), "y": np.zeros(6)}).size
        6
    """
    if isinstance(data, Data):
        return data
    if hasattr(data, "iloc"):
        raise InputError(
            f"data is a {type(data).__name__}, whose columns are not yet arrays; pass its to_numpy(), or a "
            "dict of arrays by column."
        )
    leaves = jax.tree.leaves(data)
    if any(isinstance(leaf, np.memmap) for leaf in leaves):
        return Data(_common_length(data, leaves), rows=data)
    if leaves and all(isinstance(leaf, np.ndarray | np.generic | jax.Array) for leaf in leaves):
        size = _common_length(data, leaves)
        return Data(size, arrays=jax.tree.map(jax.numpy.asarray, _as_arrays(data)))
    if (
        hasattr(data, "__len__")
        and hasattr(data, "__getitem__")
        and not isinstance(data, dict | list | tuple)
    ):
        return Data(_positive(len(data)), rows=data)
    received = ", ".join(sorted({type(leaf).__name__ for leaf in leaves})) or "nothing"
    raise InputError(
        "data must be a pytree of NumPy or JAX arrays with one common leading axis, or a source with "
        "__len__ and "
        f"batched __getitem__, but it holds {received}; convert its leaves with np.asarray."
    )


def _as_arrays(data: PyTree) -> PyTree:
    """Return arrays as JAX takes them, named by their paths."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: as_array(f"data{jax.tree_util.keystr(path)}", leaf), data
    )


def _common_length(data: PyTree, leaves: list) -> int:
    paths = [jax.tree_util.keystr(path) or "data" for path, _ in jax.tree_util.tree_leaves_with_path(data)]
    shapes = [np.shape(leaf) for leaf in leaves]
    if any(len(shape) == 0 for shape in shapes):
        raise InputError(
            f"data{paths[[len(s) for s in shapes].index(0)]} is a scalar, but every array of data needs a "
            "leading axis "
            "of examples; give it the shape (n, …)."
        )
    lengths = [shape[0] for shape in shapes]
    if len(set(lengths)) > 1:
        received = ", ".join(f"{path}: {length}" for path, length in zip(paths, lengths, strict=True))
        raise InputError(
            f"data has arrays whose leading axes differ ({received}), but each must hold the same examples; "
            "cut them to one length."
        )
    return _positive(lengths[0])


def _positive(size: int) -> int:
    if size < 1:
        raise InputError("data holds no examples, but at least one is needed; check how it was loaded.")
    return size


def _fetch(rows: Any, indices: np.ndarray) -> PyTree:
    if isinstance(rows, dict | list | tuple):
        return jax.tree.map(lambda a: a[indices], rows)
    if hasattr(rows, "__getitems__"):
        return _stack(rows.__getitems__(indices.tolist()))
    try:
        return _stack(rows[indices])
    except (TypeError, IndexError, KeyError):
        return _stack([rows[int(i)] for i in indices])


def _stack(batch: PyTree) -> PyTree:
    """Return one pytree of arrays from either such a pytree or a list of single examples."""
    if not isinstance(batch, list):
        return batch
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *batch)
