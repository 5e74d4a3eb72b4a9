"""One export of a module's undecomposed ATen graph, with its batch axis free."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lltc.errors import InputError
from lltc.export.lines import line_of, line_of_error
from lltc.export.modules import evaluation
from lltc.export.operators import NAMES
from lltc.export.refusals import check_operator, explain

_TRANSPARENT = ("torch.utils.checkpoint",)


def export_program(module: Any, args: tuple, kwargs: dict[str, Any], *, free_rows: bool) -> Any:
    """Return the `torch.export.ExportedProgram` of a module for one example call.

    Args:
        module: a `torch.nn.Module`, unwrapped; it is exported in evaluation mode and left as it was.
        args: tensors, or tuples and dicts of them, with the batch in front.
        kwargs: the same by name.
        free_rows: leave the size of the batch open; the example then has at least two rows.

    Raises:
        InputError: the module draws at random, branches on data, defines its own derivatives, uses an
            operator that lltc does not evaluate, or cannot be exported at all.
    """
    import torch

    shapes = torch.export.ShapesCollection()
    for tensor in torch.utils._pytree.tree_leaves((args, kwargs)) if free_rows else []:
        shapes[tensor] = {0: torch.export.Dim.DYNAMIC}
    try:
        with evaluation(module), quiet(), torch.enable_grad(), _no_custom_derivatives():
            program = torch.export.export(
                module, args, kwargs, dynamic_shapes=shapes if free_rows else None, strict=False
            )
            program = _functional(program)
    except InputError:
        raise
    # The module is the user's code, and may fail in any way.
    except Exception as error:
        raise explain(error, line_of_error(error)) from error
    for node in _operators(program):
        check_operator(str(node.target), line_of(node.meta.get("stack_trace")))
    return program


def _operators(program: Any) -> Iterator[Any]:
    """Yield the calls of ATen operators, those within regions too."""
    import torch

    for graph in [part.graph for part in program.graph_module.modules() if hasattr(part, "graph")]:
        for node in graph.nodes:
            if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
                yield node


def _functional(program: Any) -> Any:
    """Return a program without writes in place, and with what is not in the table taken apart."""
    import torch

    operators = [node.target for node in _operators(program)]
    unknown = {target for target in operators if not _is_known(str(target))}
    if not unknown and not any(target._schema.is_mutable for target in operators):
        return program
    _mark_held(program)
    table = torch.export.default_decompositions()
    return program.run_decompositions({target: table[target] for target in unknown if target in table})


def _is_known(target: str) -> bool:
    name = target.removeprefix("aten.")
    return name in NAMES or name.partition(".")[0] in NAMES


def _mark_held(program: Any) -> None:
    """Detach what leaves a region without gradients: decomposing a program forgets such regions."""
    import torch

    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target is not torch.ops.higher_order.wrap_with_set_grad_enabled or node.args[0]:
            continue
        for result in [user for user in node.users if user.op == "call_function"]:
            with graph.inserting_after(result):
                held = graph.call_function(torch.ops.aten.detach.default, (result,))
            held.meta = copy.copy(result.meta)
            result.replace_all_uses_with(held, delete_user_cb=lambda user, held=held: user is not held)
    graph.lint()
    program.graph_module.recompile()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep PyTorch's own warnings and logs away from who asks for an estimate."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextmanager
def _no_custom_derivatives() -> Iterator[None]:
    """Refuse `torch.autograd.Function`s: an export follows their forward and forgets their backward."""
    import torch

    original = torch.autograd.Function.__dict__["apply"]

    def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
        if cls.__module__ in _TRANSPARENT:
            return original.__get__(None, cls)(*args, **kwargs)
        raise _OwnDerivativeError(cls.__name__)

    torch.autograd.Function.apply = classmethod(apply)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    except _OwnDerivativeError as error:
        raise InputError(
            f"the module defines its own derivative, {error}, at {line_of_error(error)}: an export would "
            "lose it, so write that function with PyTorch's own, or with detach."
        ) from error
    finally:
        torch.autograd.Function.apply = original  # pyright: ignore[reportAttributeAccessIssue]


class _OwnDerivativeError(Exception):
    """Raised inside a module, where an autograd function is applied."""
