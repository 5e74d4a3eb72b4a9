"""Data sets as lltc reads them: arrays on the device, or rows fetched from the host."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lltc.errors import InputError, first_line
from lltc.posterior.arrays import as_array
from lltc.posterior.sources import (
    as_columns,
    is_source,
    readable,
    refuse_sparse,
    refuse_stream,
    stacked,
    without_loader,
)
from lltc.posterior.tables import as_rows, is_table, refuse_splits
from lltc.types import PyTree

MOST_EXAMPLES = 2**31 - 1


@dataclass(frozen=True)
class Data:
    """A data set of `size` examples, held as device arrays (`arrays`) or fetched by rows (`rows`).

    `total` is the sum of the examples' weights, None where each counts once.
    """

    size: int
    arrays: PyTree | None = None
    rows: Any | None = None
    total: float | None = None

    @property
    def count(self) -> float:
        """The number n that nβ refers to: of examples, or the sum of their weights."""
        return self.size if self.total is None else self.total

    @property
    def in_memory(self) -> bool:
        """True when every example lies on the device and batches are gathered inside the compiled step."""
        return self.arrays is not None

    @property
    def example(self) -> str:
        """What one example is: the shape and type of each of its arrays.

        Example:
            >>> as_data({"x": np.zeros((6, 2)), "y": np.zeros(6, int)}).example
            "['x'] float32 (2,), ['y'] int32 ()"
        """
        one = self.arrays if self.arrays is not None else self.batch(np.arange(1))
        leaves = jax.tree_util.tree_leaves_with_path(one if self.total is None else one.examples)
        return ", ".join(
            f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape[1:]}".strip() for path, leaf in leaves
        )

    def batch(self, indices: np.ndarray) -> PyTree:
        """Return the examples at `indices` (any shape `s`) as a pytree of arrays `(*s, …)`."""
        if self.arrays is not None:
            return jax.tree.map(lambda a: a[indices], self.arrays)
        try:
            rows = fetch(self.rows, indices.reshape(-1))
        except InputError:
            raise
        except Exception as error:  # A source is the user's: it may fail in any way.
            raise InputError(
                f"data is a {type(self.rows).__name__} that failed to give examples ({type(error).__name__}: "
                f"{first_line(error)}); check that its __getitem__ takes one index, or a list of them."
            ) from error
        flat = _as_arrays(rows)
        return jax.tree.map(lambda a: a.reshape(*indices.shape, *a.shape[1:]), flat)

    def blocks(self, block: int) -> Iterator[PyTree]:
        """Yield all examples in order, `block` at a time; the last block may be shorter."""
        for low in range(0, self.size, block):
            yield self.batch(np.arange(low, min(low + block, self.size)))


def as_data(data: PyTree | Sequence | Data) -> Data:
    """Return `data`, a pytree of arrays or a source with `__len__` and `__getitem__`, as a `Data`.

    Lists of numbers and of rows become arrays. Memory maps, Arrow tables of `datasets` and sources stay on
    the host and are read row by row; of a loader such as torch's the dataset is read, by its `collate_fn`.
    Raises `InputError` when leading axes differ, there are no examples, or they are texts, of different
    lengths, a stream without a length, or others at each call.

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
    loaded: Any = without_loader(data)
    refuse_splits(loaded)
    if is_table(loaded):
        return Data(_positive(len(loaded)), rows=as_rows(loaded))
    refuse_stream(loaded)
    examples: Any = as_columns(loaded)
    refuse_sparse(examples)
    leaves = jax.tree.leaves(examples)
    if any(isinstance(leaf, np.memmap) for leaf in leaves):
        return Data(_common_length(examples, leaves), rows=examples)
    if leaves and all(isinstance(leaf, np.ndarray | np.generic | jax.Array) for leaf in leaves):
        size = _common_length(examples, leaves)
        return Data(size, arrays=jax.tree.map(jax.numpy.asarray, _as_arrays(examples)))
    if is_source(examples):
        return Data(_positive(_length(examples)), rows=readable(examples))
    received = ", ".join(sorted({type(leaf).__name__ for leaf in leaves})) or "nothing"
    raise InputError(
        "data must be a pytree of NumPy or JAX arrays with one common leading axis, or a source with "
        f"__len__ and __getitem__, but it holds {received}; convert its leaves with np.asarray."
    )


def _length(source: Any) -> int:
    try:
        return len(source)
    except Exception as error:  # A source is the user's: it may fail in any way.
        raise InputError(
            f"data is a {type(source).__name__} that cannot say how many examples it holds "
            f"({type(error).__name__}: {first_line(error)}); pass arrays, or a source whose __len__ is n."
        ) from error


def _as_arrays(data: PyTree) -> PyTree:
    """Return arrays as JAX takes them, named by their paths."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: as_array(f"data{jax.tree_util.keystr(path)}", leaf), data
    )


def _common_length(data: PyTree, leaves: list) -> int:
    keys = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(data)]
    shapes = [np.shape(leaf) for leaf in leaves]
    if any(len(shape) == 0 for shape in shapes):
        raise InputError(
            f"data{keys[[len(s) for s in shapes].index(0)]} is a scalar, but every array of data needs a "
            "leading axis of examples; give it the shape (n, …)."
        )
    lengths = [shape[0] for shape in shapes]
    if len(set(lengths)) > 1:
        received = ", ".join(f"{key or 'data'}: {length}" for key, length in zip(keys, lengths, strict=True))
        raise InputError(
            f"data has arrays whose leading axes differ ({received}), but each must hold the same examples; "
            "cut them to one length."
        )
    return _positive(lengths[0])


def _positive(size: int) -> int:
    if size < 1:
        raise InputError("data holds no examples, but at least one is needed; check how it was loaded.")
    if size > MOST_EXAMPLES:
        raise InputError(
            f"data holds {size:,} examples, but no more than {MOST_EXAMPLES:,} can be numbered; pass a part "
            "of them, such as every second one."
        )
    return size


def fetch(rows: Any, indices: np.ndarray) -> PyTree:
    """Return the examples of a source at `indices` `(batch,)`, one by one where it takes no more."""
    if isinstance(rows, dict | list | tuple):
        return jax.tree.map(lambda a: a[indices], rows)
    if hasattr(rows, "__getitems__"):
        return stacked(rows.__getitems__(indices.tolist()))
    try:
        return stacked(rows[indices])
    except (TypeError, IndexError, KeyError):
        return stacked([rows[int(i)] for i in indices])
