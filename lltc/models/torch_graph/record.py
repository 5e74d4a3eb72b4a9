"""A graph as PyTorch exports it, in plain data: the same from a live module and from a `.pt2` file."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# These arguments say where and how numbers lie, not what they are.
PLACEMENT = frozenset(["layout", "device", "pin_memory", "memory_format", "generator", "non_blocking"])


class Ref(NamedTuple):
    """A value computed earlier, by its name in the graph."""

    name: str


class Input(NamedTuple):
    """A tensor that enters a call: its name in the graph, its lengths (None for a free one) and its type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Region(NamedTuple):
    """A part of a graph with a scope of its own, such as the body of `torch.no_grad()`.

    `outputs` is a tuple of `Ref`s and numbers, or one where it returns one alone.
    """

    inputs: tuple[str, ...]
    nodes: tuple["Node", ...]
    outputs: Any


class Node(NamedTuple):
    """One call of an operator.

    Attributes:
        op: its name, such as "aten.add.Tensor" or "operator.mul".
        args: numbers, strings, `Ref`s, `Region`s, and lists of them.
        kwargs: the same by name.
        outputs: the names of its results; None for one that is not used.
        dtypes: the type that each result is recorded with; None for what is no tensor.
        many: it returns a sequence, even of one.
        line: where in the module it stands.
    """

    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[str | None, ...]
    dtypes: tuple[str | None, ...]
    many: bool
    line: str


class Graph(NamedTuple):
    """A module's forward for one kind of call.

    Attributes:
        nodes: in the order they are run.
        weights: for each weight that enters, its name in the graph and in the state_dict.
        constants: the arrays that enter under a name in the graph and never change.
        call: the arguments by name, with an `Input` where a tensor enters.
        names: the names of arguments by position.
        outputs: tuples and dicts as the module returns them, with a `Ref` for each tensor.
        rows: the smallest and the largest batch it holds for; None for no bound.
    """

    nodes: tuple[Node, ...]
    weights: dict[str, str]
    constants: dict[str, np.ndarray]
    call: dict[str, Any]
    names: tuple[str, ...]
    outputs: Any
    rows: tuple[int, int | None]


def by_argument(args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str]) -> tuple[dict, tuple]:
    """Return a call's arguments by name, and the names of those by position; unnamed ones are numbered."""
    known = names if len(names) >= len(args) else [str(place) for place in range(len(args))]
    return dict(zip(known, args, strict=False)) | dict(kwargs), tuple(known)


def common_rows(lows: Sequence[float], highs: Sequence[float]) -> tuple[int, int | None]:
    """Return the fewest and the most rows that all inputs of a graph allow, None for any number.

    Example:
        >>> common_rows([2, 1], [math.inf, math.inf]), common_rows([3], [8])
        ((1, None), (3, 8))
    """
    low, high = max(lows), min(highs)
    # An export takes two or more rows for granted, whatever the module does.
    return 1 if low == 2 and high == math.inf else int(low), None if high == math.inf else int(high)
