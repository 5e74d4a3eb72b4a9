"""Tokenized data sets of Hugging Face's `datasets`: Arrow tables, read by rows where they lie on disk."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lltc.errors import InputError

NUMBERS = ("int", "uint", "float", "double", "halffloat", "bool")


@dataclass(frozen=True)
class ArrowRows:
    """The numeric columns of a `datasets.Dataset`, as arrays in the types of the table, by rows."""

    dataset: Any

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, indices: Any) -> dict[str, np.ndarray]:
        """Return the rows at `indices` `(n,)` as an array `(n, …)` a column."""
        table = self.dataset[np.asarray(indices)]
        return {name: _as_array(name, table.column(name).combine_chunks()) for name in table.column_names}


def is_table(data: Any) -> bool:
    """True for a `datasets.Dataset` whose rows no function of its own makes."""
    return _kind(data) == "Dataset" and data.format["type"] != "custom"


def as_rows(dataset: Any) -> ArrowRows:
    """Return the rows of a `datasets.Dataset`; those that its format leaves out stay out.

    Raises:
        InputError: a column holds other than numbers or lists of one length, or lacks values.

    Example:
        >>> from datasets import Dataset
        >>> rows = as_rows(Dataset.from_dict({"input_ids": [[5, 6], [7, 8]], "label": [0, 1]}))
        >>> {name: array.tolist() for name, array in rows[[1, 0]].items()}
        {'input_ids': [[7, 8], [5, 6]], 'label': [1, 0]}
    """
    rows = ArrowRows(dataset.with_format("arrow", columns=dataset.format["columns"]))
    for name in rows.dataset.format["columns"]:
        _check_column(name, dataset)
    return rows


def refuse_splits(data: Any) -> None:
    """Refuse a `datasets.DatasetDict`, which holds several data sets."""
    if _kind(data) == "DatasetDict":
        names = list(map(repr, data))
        raise InputError(
            f"data is a DatasetDict of the splits {', '.join(names)}; pass one, such as data[{names[0]}]."
        )


def _kind(data: Any) -> str:
    home = type(data).__module__.partition(".")[0]
    return type(data).__name__ if home == "datasets" else ""


def _check_column(name: str, dataset: Any) -> None:
    """Look at the lengths of all rows, which lie beside the values, before any is read."""
    import pyarrow.compute as pc

    column, chosen = dataset.data.column(name), getattr(dataset, "_indices", None)
    if _lists(column.type):
        lengths = pc.list_value_length(column)  # pyright: ignore[reportAttributeAccessIssue]
        _check_lengths(name, lengths if chosen is None else lengths.take(chosen.column(0)))
    elif (column if chosen is None else column.take(chosen.column(0))).null_count:
        raise _missing(name)
    _as_array(name, dataset.with_format("arrow")[:1].column(name).combine_chunks())


def _check_lengths(name: str, lengths: Any) -> int:
    import pyarrow.compute as pc

    if lengths.null_count:
        raise _missing(name)
    ends = pc.min_max(lengths).as_py()  # pyright: ignore[reportAttributeAccessIssue]
    if ends["min"] != ends["max"]:
        raise InputError(
            f"data has rows of {ends['min']} to {ends['max']} values in the column {name!r}, but all must be "
            "of one length; pad them, as a tokenizer's padding='max_length' does, with the padding masked "
            "(labels of -100), or pack the texts into blocks of one length."
        )
    return ends["min"]


def _as_array(name: str, column: Any) -> np.ndarray:
    import pyarrow.compute as pc

    shape = [len(column)]
    column = getattr(column, "storage", column)
    while _lists(column.type):
        lengths = pc.list_value_length(column)  # pyright: ignore[reportAttributeAccessIssue]
        shape.append(_check_lengths(name, lengths))
        column = column.flatten()
    if not str(column.type).startswith(NUMBERS):
        raise InputError(
            f"data has the column {name!r} of type {column.type}, but numbers are needed; turn it into "
            f"numbers (tokenize texts), or leave it out with data.remove_columns({name!r})."
        )
    if column.null_count:
        raise _missing(name)
    return column.to_numpy(zero_copy_only=False).reshape(shape)


def _lists(kind: Any) -> bool:
    import pyarrow.types as types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _missing(name: str) -> InputError:
    return InputError(
        f"data lacks values in the column {name!r}; fill them, or leave those rows out with data.filter."
    )
