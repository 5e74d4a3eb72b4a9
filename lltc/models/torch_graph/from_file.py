"""From the file that `torch.export.save` wrote to a graph in plain data and its weights, without PyTorch."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lltc.errors import printable
from lltc.export.lines import line_of
from lltc.export.refusals import check_operator
from lltc.models.torch_graph.archive import Archive, as_dtype, open_archive, read_arrays
from lltc.models.torch_graph.checks import check_graph, check_names
from lltc.models.torch_graph.record import (
    PLACEMENT,
    Graph,
    Input,
    Node,
    Ref,
    Region,
    by_argument,
    common_rows,
)

MAJOR = 8
_POSITIONAL, _KEYWORD = 1, 2
_NUMBERS = ("as_int", "as_ints", "as_bool", "as_bools", "as_string", "as_strings", "as_int_lists")
_SYMBOLS = ("as_sym_int", "as_sym_float", "as_sym_bool")
_NAMED = ("as_tensor", "as_optional_tensor", *_SYMBOLS)
_LISTS = ("as_tensors", "as_optional_tensors", *(f"{kind}s" for kind in _SYMBOLS))


class Exported(NamedTuple):
    """What a file holds: the graph, each array by its first name, the other names, and what is held."""

    graph: Graph
    arrays: dict[str, np.ndarray]
    tied: dict[str, str]
    held: frozenset[str]


def read_exported(path: str | Path) -> Exported:
    """Return the graph and the weights of a `.pt2` file; pickled parts are never opened.

    Raises:
        CheckpointError: the file is missing or damaged, or not laid out as PyTorch 2.9 and later do.
        InputError: the module in it uses an operator that lltc does not evaluate.
    """
    with open_archive(Path(path)) as archive:
        document = archive.read_json("models/model.json")
        version = document["schema_version"]["major"]
        if version != MAJOR:
            raise ValueError(f"its schema has the version {printable(str(version), 40)}, and {MAJOR} is read")
        return _exported(archive, document)


def _exported(archive: Archive, document: Mapping[str, Any]) -> Exported:
    module = document["graph_module"]
    signature, shapes = module["signature"], module["graph"]["tensor_values"]
    stored = read_arrays(archive, "weights", "weights")
    fixed = {**stored, **read_arrays(archive, "constants", "constants")}
    weights, constants, entering = {}, {}, []
    for kind, spec in map(_only, signature["input_specs"]):
        if kind == "user_input":
            entering.append(_input(spec["arg"], shapes))
        elif kind == "constant_input":
            entering.append(_value(spec["value"]))
        elif kind == "parameter" or (kind == "buffer" and spec["persistent"]):
            weights[spec["arg"]["name"]] = spec[f"{kind}_name"]
        elif kind in ("buffer", "tensor_constant"):
            constant = fixed[spec[f"{kind}_name"]].array
            # Each name of it becomes an array of its own.
            archive.budget.take(constant.nbytes, "a constant")
            constants[spec["arg"]["name"]] = constant
        else:
            raise ValueError(f"its module takes a {printable(kind, 40)}, which is not read")
    leaving = [
        _value(spec["arg"]) for kind, spec in map(_only, signature["output_specs"]) if kind == "user_output"
    ]
    spec = next(call["signature"] for call in module["module_call_graph"] if not call["fqn"])
    args, kwargs = _unflatten(spec["in_spec"], entering)
    call, arguments = by_argument(args, kwargs, spec.get("forward_arg_names") or ())
    graph = Graph(
        nodes=_nodes(module["graph"]),
        weights=weights,
        constants=constants,
        call=call,
        names=arguments,
        outputs=_unflatten(spec["out_spec"], leaving),
        rows=_rows(entering, module["graph"], document["range_constraints"]),
    )
    check_graph(graph)
    names = dict.fromkeys(weights.values())
    check_names({*names, *stored}, stored)
    first: dict[tuple, str] = {}
    owners = {name: first.setdefault(stored[name].place, name) for name in [*names, *stored]}
    return Exported(
        graph,
        {name: stored[name].array for name, owner in owners.items() if name == owner},
        {name: owner for name, owner in owners.items() if name != owner},
        frozenset(name for name, owner in owners.items() if name == owner and not stored[name].trained),
    )


def _only(table: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the kind and the content of a table with one entry."""
    ((kind, content),) = table.items()
    return kind, content


def _input(arg: Mapping[str, Any], shapes: Mapping[str, Any]) -> Any:
    kind, content = _only(arg)
    if kind != "as_tensor":
        return _value(arg)
    meta = shapes[content["name"]]
    return Input(
        content["name"], tuple(size.get("as_int") for size in meta["sizes"]), as_dtype(meta["dtype"])
    )


def _value(arg: Mapping[str, Any]) -> Any:
    """Return an argument: a number, a string, a reference, a region, or a list of them."""
    kind, content = _only(arg)
    if kind in ("as_none", "as_device", "as_layout", "as_memory_format"):
        return None
    if kind in _NUMBERS:
        return content
    if kind in _NAMED:
        return _reference(content)
    if kind in _LISTS:
        return [_reference(item) for item in content]
    if kind == "as_nested_tensors":
        return [[_reference(item) for item in items] for items in content]
    if kind == "as_float":
        return float(content)
    if kind in ("as_floats", "as_float_lists"):
        return [float(item) if not isinstance(item, list) else list(map(float, item)) for item in content]
    if kind == "as_complex":
        return complex(float(content["real"]), float(content["imag"]))
    if kind == "as_scalar_type":
        return as_dtype(content)
    if kind == "as_graph":
        return _region(content["graph"])
    raise ValueError(f"an operator in it takes a {printable(kind, 40)}, which is not read")


def _reference(item: Mapping[str, Any]) -> Any:
    if "name" in item or "as_name" in item:
        return Ref(str(item.get("name", item.get("as_name"))))
    kind, content = _only(item)
    return _reference(content) if kind == "as_tensor" else None if kind == "as_none" else content


def _region(graph: Mapping[str, Any]) -> Region:
    inputs = tuple(_value(item).name for item in graph["inputs"])
    outputs = [_value(item) for item in graph["outputs"]]
    return Region(inputs, _nodes(graph), outputs[0] if graph["is_single_tensor_return"] else tuple(outputs))


def _nodes(graph: Mapping[str, Any]) -> tuple[Node, ...]:
    return tuple(_node(node, graph["tensor_values"]) for node in graph["nodes"])


def _node(node: Mapping[str, Any], shapes: Mapping[str, Any]) -> Node:
    target = node["target"].removeprefix("torch.ops.").lstrip("_")
    line = line_of(node["metadata"].get("stack_trace"))
    if target.startswith("aten."):
        check_operator(target, line)
    results = [_value(output) for output in node["outputs"]]
    many = len(results) > 1 or target.startswith("higher_order.") or any(isinstance(r, list) for r in results)
    if node.get("is_hop_single_tensor_return"):
        many = False
    names = [ref.name if isinstance(ref, Ref) else None for result in results for ref in _as_list(result)]
    return Node(
        op=target,
        args=tuple(_value(item["arg"]) for item in node["inputs"] if item["kind"] == _POSITIONAL),
        kwargs={
            item["name"]: _value(item["arg"])
            for item in node["inputs"]
            if item["kind"] == _KEYWORD and item["name"] not in PLACEMENT
        },
        outputs=tuple(names),
        dtypes=tuple(as_dtype(shapes[name]["dtype"]) if name and name in shapes else None for name in names),
        many=many,
        line=line,
    )


def _as_list(result: Any) -> list[Any]:
    return result if isinstance(result, list) else [result]


def _unflatten(text: str, leaves: Iterable[Any]) -> Any:
    """Return leaves in the structure that PyTorch states as a text."""
    version, spec = json.loads(text)
    if version != 1:
        raise ValueError(f"it describes trees in the version {printable(str(version), 40)}, and 1 is read")
    return _tree(spec, iter(leaves))


def _tree(spec: Mapping[str, Any], leaves: Iterator[Any]) -> Any:
    if spec["type"] is None:
        return next(leaves)
    items = tuple(_tree(child, leaves) for child in spec["children_spec"])
    context = json.loads(spec["context"]) if isinstance(spec["context"], str) else spec["context"]
    # Dicts and model outputs state their names, dataclasses a list of them and another, tuples nothing.
    names = context[0] if isinstance(context, list) and context and isinstance(context[0], list) else context
    return dict(zip(map(str, names), items, strict=True)) if isinstance(names, list) else items


def _rows(
    entering: Iterable[Any], graph: Mapping[str, Any], ranges: Mapping[str, Any]
) -> tuple[int, int | None]:
    lows, highs = [1], [math.inf]
    for item in entering:
        if not isinstance(item, Input) or not item.shape:
            continue
        size = graph["tensor_values"][item.name]["sizes"][0]
        symbol = re.search(r"\bs\d+\b", size["as_expr"]["expr_str"]) if "as_expr" in size else None
        bounds = ranges.get(symbol[0], {}) if symbol else {}
        low = item.shape[0] if item.shape[0] is not None else bounds.get("min_val")
        high = item.shape[0] if item.shape[0] is not None else bounds.get("max_val")
        lows.append(1 if low is None else low)
        highs.append(math.inf if high is None else high)
    return common_rows(lows, highs)
