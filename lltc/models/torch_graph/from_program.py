"""From a live `torch.export.ExportedProgram` to a graph in plain data."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lltc.checkpoints.torch_saver import tensor_to_numpy
from lltc.export.lines import line_of
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


def read_program(program: Any) -> Graph:
    """Return the graph of an exported program; all arrays in it are copies."""
    from torch.utils._pytree import tree_unflatten

    weights, constants, entering = {}, {}, []
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    stored = {**program.state_dict, **program.constants}
    for spec in program.graph_signature.input_specs:
        kind = spec.kind.name
        if kind == "USER_INPUT":
            entering.append(_input(spec.arg, values))
        elif kind == "PARAMETER" or (kind == "BUFFER" and spec.persistent):
            weights[spec.arg.name] = spec.target
        elif spec.target in stored:
            constants[spec.arg.name] = as_numpy(stored[spec.target])
    specs = program.graph_signature.output_specs
    leaving = [_argument(spec.arg) for spec in specs if spec.kind.name == "USER_OUTPUT"]
    args, kwargs = plain(tree_unflatten(entering, program.call_spec.in_spec))
    call, names = by_argument(args, kwargs, program.module_call_graph[0].signature.forward_arg_names or ())
    return Graph(
        nodes=_nodes(program.graph_module),
        weights=weights,
        constants=constants,
        call=call,
        names=names,
        outputs=plain(tree_unflatten(leaving, program.call_spec.out_spec)),
        rows=_rows(program),
    )


def as_numpy(tensor: Any) -> np.ndarray:
    """Return a copy of a tensor: JAX may keep the memory it is given, and training goes on in it."""
    return tensor_to_numpy(tensor).copy()


def plain(tree: Any) -> Any:
    """Return a tree of tuples and dicts; fields of dataclasses and of model outputs go by their names."""
    if isinstance(tree, Ref | Input):
        return tree
    if isinstance(tree, Mapping):
        return {str(name): plain(item) for name, item in tree.items()}
    if dataclasses.is_dataclass(tree):
        return plain({field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)})
    return tuple(plain(item) for item in tree) if isinstance(tree, list | tuple) else tree


def _input(spec: Any, values: Mapping[str, Any]) -> Any:
    if hasattr(spec, "value"):
        return spec.value
    value = values[spec.name]
    shape = tuple(length if isinstance(length, int) else None for length in value.shape)
    return Input(spec.name, shape, _dtype(value.dtype))


def _argument(spec: Any) -> Any:
    return spec.value if hasattr(spec, "value") else Ref(spec.name)


def _nodes(module: Any) -> tuple[Node, ...]:
    return tuple(_node(module, node) for node in module.graph.nodes if node.op == "call_function")


def _node(module: Any, node: Any) -> Node:
    value = node.meta.get("val")
    return Node(
        op=_target(node.target),
        args=tuple(_value(module, item) for item in node.args),
        kwargs={name: _value(module, item) for name, item in node.kwargs.items() if name not in PLACEMENT},
        outputs=(node.name,),
        dtypes=(_dtype(value.dtype) if hasattr(value, "dtype") else None,),
        many=False,
        line=line_of(node.meta.get("stack_trace")),
    )


def _target(target: Any) -> str:
    """Return an operator's name: "aten.add.Tensor", "operator.mul", "higher_order.wrap_with_autocast"."""
    import torch

    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    if isinstance(target, torch._ops.HigherOrderOperator):
        return f"higher_order.{target.__name__}"
    return f"{target.__module__.lstrip('_')}.{target.__name__.lstrip('_')}"


def _dtype(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _value(module: Any, item: Any) -> Any:
    import torch

    if isinstance(item, torch.fx.Node):
        return _region(getattr(module, item.target)) if item.op == "get_attr" else Ref(item.name)
    if isinstance(item, list | tuple):
        return [_value(module, part) for part in item]
    if isinstance(item, torch.dtype):
        return _dtype(item)
    return item if isinstance(item, bool | int | float | complex | str) else None


def _region(module: Any) -> Region:
    nodes = list(module.graph.nodes)
    inputs = tuple(node.name for node in nodes if node.op == "placeholder")
    outputs = _value(module, nodes[-1].args[0])
    return Region(inputs, _nodes(module), tuple(outputs) if isinstance(outputs, list) else outputs)


def _rows(program: Any) -> tuple[int, int | None]:
    """Return the batches a program holds for: that of its example, or the range of its free axes."""
    users = set(program.graph_signature.user_inputs)
    lows, highs = [1], [math.inf]
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op != "placeholder" or node.name not in users or not getattr(value, "shape", ()):
            continue
        rows = value.shape[0]
        bounds = None if isinstance(rows, int) else program.range_constraints.get(rows.node.expr)
        lows.append(rows if isinstance(rows, int) else int(bounds.lower) if bounds else 2)
        high = rows if isinstance(rows, int) else bounds.upper if bounds else math.inf
        # PyTorch's own infinity for integers is no number.
        highs.append(
            int(high) if getattr(high, "is_finite", None) in (True, None) and high < 1 << 62 else math.inf
        )
    return common_rows(lows, highs)
