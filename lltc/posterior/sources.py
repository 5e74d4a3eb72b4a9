"""What people hand over as data: lists, rows, torch datasets and loaders, as arrays or a source of rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lltc.errors import InputError, first_line
from lltc.types import PyTree

PLAIN = (bool, int, float, complex, str, bytes, type(None))
MANY = 3
IN_ORDER = ("SequentialSampler", "RandomSampler", "DistributedSampler")


@dataclass(frozen=True)
class Items:
    """The items of a `dataset`, read one by one and made a batch by `collate`, or stacked without one."""

    dataset: Any
    collate: Callable[[list], Any] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: Sequence[int]) -> PyTree:
        """Return the items at `indices` as one batch."""
        items = [self.dataset[int(index)] for index in indices]
        if self.collate is None:
            return items
        batch = self.collate(items)
        return tuple(batch) if isinstance(batch, list) else batch


def is_source(data: Any) -> bool:
    """True for what has a length and gives examples by index, and is no tree of arrays."""
    read = hasattr(data, "__getitem__") or hasattr(data, "__getitems__")
    sized = read and hasattr(data, "__len__")
    return sized and not isinstance(data, dict | list | tuple | str | bytes)


def without_loader(data: Any) -> Any:
    """Return the examples behind a loader such as torch's, each once and in order; other data as they are."""
    dataset = getattr(data, "dataset", None)
    # What gives examples by their index is read as it is, whatever data set it is a part of.
    by_index = isinstance(data, dict | list | tuple) or is_source(data)
    if dataset is None or not hasattr(data, "__iter__") or by_index:
        return data
    if not is_source(dataset) and not isinstance(dataset, list | tuple):
        raise _no_stream(f"{type(data).__name__} of a {type(dataset).__name__}")
    batches = getattr(data, "batch_sampler", None)
    samplers = [data] if batches is None else [data, batches]
    kinds = [type(getattr(each, "sampler", None)).__name__ for each in samplers]
    kinds += [type(batches).__name__] if batches is not None else []
    sampler = next((kind for kind in kinds if kind not in (*IN_ORDER, "BatchSampler", "NoneType")), None)
    if sampler is not None:
        raise InputError(
            f"data is a {type(data).__name__} that chooses its rows by a {sampler}, but every example counts "
            "once; pass the dataset, or a Subset of it, and what an example weighs with weights."
        )
    batched = batches is not None or getattr(data, "batch_size", None) is not None
    return Items(dataset, getattr(data, "collate_fn", None) if batched else None)


def refuse_stream(data: Any) -> None:
    """Refuse what can only be gone through, with what to do instead."""
    if hasattr(data, "__iter__") and not hasattr(data, "__len__"):
        raise _no_stream(type(data).__name__)


def _no_stream(kind: str) -> InputError:
    return InputError(
        f"data is a {kind}, which can only be gone through, but λ̂ needs the number n of examples and each "
        "of them by its index; pass loader.dataset where that has both, or a list of the first n, such as "
        "list(itertools.islice(data, n)) or list(data.take(n))."
    )


def refuse_sparse(data: Any) -> None:
    """Refuse sparse arrays, whose stored numbers JAX would take for the examples."""
    for leaf in jax.tree.leaves(data, is_leaf=_is_sparse):
        if _is_sparse(leaf):
            raise InputError(
                f"data holds a sparse array ({type(leaf).__name__}), but chains take rows out of dense ones; "
                "pass its todense(), or a source whose __getitem__ makes rows dense."
            )


def _is_sparse(leaf: Any) -> bool:
    return hasattr(leaf, "todense")


def readable(rows: Any) -> Any:
    """Return a source that gives several rows at once, reading one by one what cannot.

    Raises `InputError` for one whose examples are other ones at each call.
    """
    size = len(rows)
    if isinstance(rows, Items) or hasattr(rows, "__getitems__"):
        _refuse_unsteady(rows, lambda: stacked(rows.__getitems__([0, size - 1])))
        return rows
    ends = np.array([0, size - 1])
    try:
        together = jax.tree.map(np.asarray, stacked(rows[ends]))
    except Exception:  # The source is the user's: it may refuse several rows in any way.
        together = None
    try:
        apart = stacked([rows[int(row)] for row in ends])
    except Exception:  # It may also take nothing but several rows.
        return rows
    _refuse_unsteady(rows, lambda: stacked([rows[int(row)] for row in ends]))
    same = jax.tree.structure(together) == jax.tree.structure(apart)
    if same and all(map(_same, jax.tree.leaves(together), jax.tree.leaves(apart))):
        return rows
    return Items(rows)


def _refuse_unsteady(rows: Any, read: Callable[[], PyTree]) -> None:
    first, again = (jax.tree.leaves(read()) for _ in range(2))
    if not all(map(_same, first, again)):
        raise InputError(
            f"data is a {type(rows).__name__} whose example 0 is another one at each call, as by random "
            "augmentation, but the n examples must stay the same; switch that off."
        )


def _same(one: Any, other: Any) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    numbers = one.dtype.kind in "fc" and other.dtype.kind in "fc"
    return one.shape == other.shape and np.array_equal(one, other, equal_nan=numbers)


def stacked(batch: PyTree) -> PyTree:
    """Return one tree of arrays from a batch, or from a list of single examples.

    Example:
        >>> stacked([{"x": [1, 2]}, {"x": [3, 4]}])["x"].tolist()
        [[1, 2], [3, 4]]
    """
    if not isinstance(batch, list):
        return as_columns(batch)
    rows = [as_columns(row) for row in batch]
    try:
        return jax.tree.map(_together, *rows)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"data has examples of different shapes or contents ({first_line(error)}), but they are stacked; "
            "give all the same keys, pad them to one length and mask the padding."
        ) from error


def _together(*leaves: Any) -> np.ndarray:
    if any(isinstance(leaf, np.ma.MaskedArray) for leaf in leaves):
        raise InputError(
            "data has rows that are masked arrays, whose mask stacking would drop; fill them, or leave the "
            "masked rows out."
        )
    return np.stack([np.asarray(leaf) for leaf in leaves])


def as_columns(data: PyTree, name: str = "data") -> PyTree:
    """Return `data` with its lists of numbers, and of rows, as arrays; trees of arrays stay as they are.

    Raises `InputError` for rows of different lengths, texts and missing values.

    Example:
        >>> as_columns({"ids": [[1, 2], [3, 4]], "label": [0, 1]})["ids"].shape
        (2, 2)
        >>> as_columns([{"ids": [1, 2, 3], "label": 0}, {"ids": [4, 5, 6], "label": 1}])["ids"].shape
        (2, 3)
    """
    if isinstance(data, dict):
        _check_keys(data, name)
        return {key: as_columns(value, f"{name}[{key!r}]") for key, value in data.items()}
    if isinstance(data, tuple):
        columns = (as_columns(value, f"{name}[{at}]") for at, value in enumerate(data))
        return type(data)(*columns) if hasattr(data, "_fields") else tuple(columns)
    if not isinstance(data, list):
        return np.asarray(data) if _is_tensor(data) else data
    if data and _is_number(_innermost(data)):
        return _array(data, name)
    if (data and isinstance(data[0], dict)) or _is_list_of_pairs(data):
        return stacked([as_columns(row, f"{name}[{at}]") for at, row in enumerate(data)])
    _refuse_alike(data, name)
    return [as_columns(value, f"{name}[{at}]") for at, value in enumerate(data)]


def _check_keys(data: dict, name: str) -> None:
    kinds = sorted({type(key).__name__ for key in data})
    try:
        sorted(data)
    except TypeError:
        raise InputError(
            f"{name} is a dict with keys of the types {', '.join(kinds)}, which JAX cannot put in order; "
            "make them of one kind, such as texts."
        ) from None


def _refuse_alike(data: list, name: str) -> None:
    """Refuse what may as well be rows as columns: three or more arrays of one shape and type."""
    kinds = {(leaf.shape, str(leaf.dtype)) if hasattr(leaf, "dtype") else None for leaf in data}
    if len(data) < MANY or len(kinds) > 1 or None in kinds:
        return
    shape = data[0].shape
    raise InputError(
        f"{name} is a list of {len(data)} arrays of shape {shape}, which may be {len(data)} examples or "
        f"{len(data)} columns; pass np.stack({name}) for examples, tuple({name}) for columns."
    )


def _array(values: list, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:
        lengths = sorted({len(row) for row in values if isinstance(row, list)})
        told = f" ({lengths[0]} to {lengths[-1]})" if len(lengths) > 1 else ""
        raise InputError(
            f"{name} has rows of different lengths{told}, but an array has one; pad them to one length and "
            "mask the padding in the loss."
        ) from None
    if array.dtype.kind == "O" and all(isinstance(value, int) for value in _numbers(values)):
        raise InputError(
            f"{name} holds integers beyond 64 bits, which no array has; number them anew from 0."
        )
    if array.dtype.kind in "USO":
        kinds = ", ".join(sorted({type(value).__name__ for value in _numbers(values)} - {"list"}))
        raise InputError(
            f"{name} holds values of type {kinds}, but arrays of numbers are needed; turn texts into numbers "
            "(tokenize them), fill what is missing, or leave the column out."
        )
    return array


def _numbers(values: list) -> Iterator[Any]:
    for value in values:
        yield from _numbers(value) if isinstance(value, list) else (value,)


def _innermost(values: Any) -> Any:
    """Return the first value inside nested lists."""
    while isinstance(values, list) and values:
        values = values[0]
    return values


def _is_list_of_pairs(data: list) -> bool:
    """True for rows such as `(features, label)` with a single number in them, which no column is."""
    return bool(data) and isinstance(data[0], tuple) and any(map(_is_number, data[0]))


def _is_number(value: Any) -> bool:
    """True for a plain number or text, and for an array without axes."""
    return isinstance(value, PLAIN) or getattr(value, "shape", None) == ()


def _is_tensor(leaf: Any) -> bool:
    """True for arrays of another library, such as torch's."""
    foreign = hasattr(leaf, "__array__") and hasattr(leaf, "shape") and hasattr(leaf, "dtype")
    return foreign and not isinstance(leaf, np.ndarray | np.generic | jax.Array)
