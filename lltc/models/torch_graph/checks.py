"""What holds of every graph that comes from a file: values before their use, names that are one tree."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lltc.errors import InputError, printable
from lltc.models.torch_graph.record import Graph, Input, Node, Ref, Region

_MOST_LEVELS = 100


def check_graph(graph: Graph) -> None:
    """Refuse a graph that uses a value before it is made, or returns none.

    Raises:
        InputError: it does.
    """
    known = {*graph.weights, *graph.constants, *_names(graph.call, Input)}
    _check_order(graph.nodes, known)
    _check_known("what it returns", graph.outputs, known)
    if not any(_names(graph.outputs, Ref)):
        raise InputError("the module returns no tensor: return what the loss is computed of.")


def check_names(names: set[str], stored: Mapping[str, Any]) -> None:
    """Refuse names that are no paths in one tree of stored arrays.

    Raises:
        ValueError: there are such names.
    """
    for name in names:
        if name.count(".") >= _MOST_LEVELS:
            raise ValueError(f"the name '{printable(name, 80)}' nests {_MOST_LEVELS} deep or more")
        outer = (name[:at] for at, letter in enumerate(name) if letter == ".")
        if name not in stored or "/" in name or any(prefix in names for prefix in outer):
            raise ValueError(f"it has no array for the name '{printable(name, 80)}', or more than one")


def _check_order(nodes: Iterable[Node], known: set[str]) -> None:
    """Go through nodes in order, and add to `known` what they make."""
    for node in nodes:
        _check_known(node.op, (node.args, node.kwargs), known)
        known |= {name for name in node.outputs if name is not None}


def _check_known(user: str, item: Any, known: set[str]) -> None:
    if unknown := sorted(set(_names(item, Ref)) - known):
        raise InputError(f"{user} uses {unknown[:3]} before it is computed.")
    for region in _regions(item):
        inner = set(region.inputs)
        _check_order(region.nodes, inner)
        _check_known("a region", region.outputs, inner)


def _names(item: Any, kind: type[Ref] | type[Input]) -> Iterator[str]:
    if isinstance(item, kind):
        yield item.name
    for part in _parts(item):
        yield from _names(part, kind)


def _regions(item: Any) -> Iterator[Region]:
    if isinstance(item, Region):
        yield item
    for part in _parts(item):
        yield from _regions(part)


def _parts(item: Any) -> Iterable[Any]:
    if isinstance(item, Mapping):
        return item.values()
    return item if isinstance(item, list | tuple) and not isinstance(item, Ref | Input | Region) else ()
