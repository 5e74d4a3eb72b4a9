"""A graph as JSON and back: its arrays in base64, and everything checked on the way back."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from lltc.checkpoints.intake.arrays import as_array, checked_length, number_type
from lltc.errors import InputError, printable
from lltc.export.refusals import check_operator
from lltc.models.torch_graph.archive import DTYPES
from lltc.models.torch_graph.checks import check_graph
from lltc.models.torch_graph.evaluate import is_known
from lltc.models.torch_graph.record import Graph, Input, Node, Ref, Region


def graph_to_json(graph: Graph) -> dict[str, Any]:
    """Return a graph as what JSON can hold."""
    return {
        "nodes": [_plain_node(node) for node in graph.nodes],
        "weights": graph.weights,
        "constants": {name: _plain_array(array) for name, array in graph.constants.items()},
        "call": _plain(graph.call),
        "names": list(graph.names),
        "outputs": _plain(graph.outputs),
        "rows": list(graph.rows),
    }


def graph_from_json(document: Mapping[str, Any]) -> Graph:
    """Return the graph that `graph_to_json` wrote.

    Raises:
        InputError: it uses an operator that lltc does not evaluate, or a value before it is made.
        ValueError: it is no such graph; what is of another kind may raise a KeyError or a TypeError.
    """
    low, high = document["rows"]
    graph = Graph(
        nodes=tuple(map(_node, document["nodes"])),
        weights={as_text(name): as_text(target) for name, target in document["weights"].items()},
        constants={name: _array(entry) for name, entry in document["constants"].items()},
        call=_value(document["call"]),
        names=tuple(map(as_text, document["names"])),
        outputs=_value(document["outputs"]),
        rows=(checked_length(low), None if high is None else checked_length(high)),
    )
    if not isinstance(graph.call, dict):
        raise ValueError("its call has no names")
    check_graph(graph)
    return graph


def as_text(item: Any) -> str:
    """Return a string; a `ValueError` where it is none."""
    if not isinstance(item, str):
        raise ValueError(f"it has {printable(repr(item), 40)} where a name stands")
    return item


def as_dtype_name(name: Any) -> str:
    """Return the name of a type of numbers; a `ValueError` where it is none that is read."""
    if name not in DTYPES.values():
        raise ValueError(f"it holds values of the type {printable(str(name), 40)}, which are not read")
    return name


def _plain_node(node: Node) -> dict[str, Any]:
    return {name: _plain(value) for name, value in node._asdict().items()} | {"args": _plain([*node.args])}


def _node(entry: Mapping[str, Any]) -> Node:
    op, line = as_text(entry["op"]), as_text(entry["line"])
    check_operator(op, line)
    if not is_known(op):
        raise InputError(
            f"the module uses {printable(op, 80)} at {line}, which lltc does not evaluate: see docs/torch.md."
        )
    args, kwargs, many = _value(entry["args"]), _value(entry["kwargs"]), entry["many"]
    outputs, dtypes = _value(entry["outputs"]), _value(entry["dtypes"])
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(many, bool):
        raise ValueError(f"{printable(op, 80)} is not called as an operator is")
    # What only asserts returns nothing.
    if len(outputs) != len(dtypes) or (len(outputs) > 1 and not many):
        raise ValueError(f"{printable(op, 80)} has more or fewer results than an operator has")
    return Node(
        op=op,
        args=tuple(args),
        kwargs=kwargs,
        outputs=tuple(None if name is None else as_text(name) for name in outputs),
        dtypes=tuple(None if name is None else as_dtype_name(name) for name in dtypes),
        many=many,
        line=line,
    )


def _plain(item: Any) -> Any:
    if isinstance(item, Ref):
        return {"ref": item.name}
    if isinstance(item, Input):
        return {"input": [item.name, list(item.shape), item.dtype]}
    if isinstance(item, Region):
        nodes = [_plain_node(node) for node in item.nodes]
        return {"region": [list(item.inputs), nodes, _plain(item.outputs)]}
    if isinstance(item, Mapping):
        return {"dict": {name: _plain(part) for name, part in item.items()}}
    if isinstance(item, list):
        return [_plain(part) for part in item]
    if isinstance(item, tuple):
        return {"tuple": [_plain(part) for part in item]}
    if isinstance(item, complex):
        return {"complex": [item.real.hex(), item.imag.hex()]}
    # JSON has no infinities.
    return {"float": item.hex()} if isinstance(item, float) else item


def _value(item: Any) -> Any:
    if isinstance(item, list):
        return [_value(part) for part in item]
    if not isinstance(item, dict):
        if isinstance(item, float):
            raise ValueError("it holds a number that is not written as its bits")
        return item
    ((kind, content),) = item.items()
    if kind == "ref":
        return Ref(as_text(content))
    if kind == "input":
        name, shape, dtype = content
        lengths = tuple(None if length is None else checked_length(length) for length in shape)
        return Input(as_text(name), lengths, as_dtype_name(dtype))
    if kind == "region":
        inputs, nodes, outputs = content
        return Region(tuple(map(as_text, inputs)), tuple(map(_node, nodes)), _value(outputs))
    if kind == "dict":
        return {name: _value(part) for name, part in content.items()}
    if kind == "tuple":
        return tuple(map(_value, content))
    if kind == "complex":
        real, imag = map(float.fromhex, content)
        return complex(real, imag)
    if kind == "float":
        return float.fromhex(content)
    raise ValueError(f"it holds a {printable(kind, 40)}, which is not read")


def _plain_array(array: np.ndarray) -> dict[str, Any]:
    numbers = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "numbers": numbers}


def _array(entry: Mapping[str, Any]) -> np.ndarray:
    content = base64.b64decode(entry["numbers"], validate=True)
    return as_array(content, number_type(as_dtype_name(entry["dtype"])), entry["shape"])
