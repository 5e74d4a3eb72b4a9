"""What a module's graphs and weights make together: a model, and one graph for each kind of call."""

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.export.program import export_program
from lltc.export.refusals import ExportError
from lltc.models.adapter import Model
from lltc.models.batches import Selector
from lltc.models.libraries import require
from lltc.models.losses import Loss, resolve_loss
from lltc.models.torch_calls import as_call, one_by_one, pick_loss, pick_output
from lltc.models.torch_graph.evaluate import evaluate
from lltc.models.torch_graph.from_program import read_program
from lltc.models.torch_graph.record import Graph
from lltc.models.torch_graph.weights import Weights, by_name

GraphOf = Callable[[tuple, dict[str, Any]], Graph]
# What a call's arguments are made of: each array's lengths behind its batch, and "bool", "int" or "float".
Kinds = tuple[tuple[tuple[int, ...], str], ...]


def as_model(
    graph_of: GraphOf,
    weights: Weights,
    names: Sequence[str] | None,
    loss: str | Loss,
    inputs: Selector,
    outputs: Selector,
    targets: Selector,
) -> Model:
    """Return the model of what gives a graph for each call, its weights, and its arguments' names.

    Raises:
        InputError: the loss is none, or targets come beside the module's own.
    """
    own = loss == "own"
    if own and targets is not None:
        raise InputError('targets is not used with the loss "own", which the module computes: leave it out.')

    def run(params: Any, batch: Any) -> Any:
        args, kwargs = as_call(batch, inputs, names, whole=own)
        return evaluate(graph_of(args, kwargs), by_name(params, weights), args, kwargs)

    if own:
        losses = one_by_one(lambda params, batch: pick_loss(run(params, batch), outputs))
        return Model(losses, lambda losses, _: losses, weights, has_outputs=False)
    apply = lambda params, batch: pick_output(run(params, batch), outputs)
    return Model(apply, resolve_loss(loss, targets), weights)


def argument_names(module: Any) -> list[str] | None:
    """Return the names that a module's forward writes out; None where it takes whatever comes."""
    parameters = inspect.signature(module.forward).parameters.values()
    starred = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [parameter.name for parameter in parameters if parameter.kind not in starred] or None


def graphs_by_kind(export: Callable[[Any, Kinds, int | None], Graph]) -> GraphOf:
    """Return what gives the graph of each call: for any batch where it can be, else for as many rows.

    A call whose arrays have not the same rows is an `InputError`.

    Args:
        export: gives the graph of a kind of call: the tree of its arguments, their kinds, and how many rows
            it has (None for any number of them); an `ExportError` where there is none.
    """
    remembered = cache(export)

    def graph_of(args: tuple, kwargs: dict[str, Any]) -> Graph:
        leaves, structure = jax.tree.flatten((args, kwargs))
        kinds = tuple((np.shape(leaf)[1:], _sort(jnp.result_type(leaf))) for leaf in leaves)
        rows = num_rows(leaves)
        # What a module does with one row may be another branch of it.
        if rows == 1:
            return remembered(structure, kinds, 1)
        try:
            graph = remembered(structure, kinds, None)
        except ExportError:
            return remembered(structure, kinds, rows)
        low, high = graph.rows
        return graph if low <= rows <= (high or rows) else remembered(structure, kinds, rows)

    return graph_of


def num_rows(leaves: Sequence[Any]) -> int:
    """Return the rows of a call's arrays, their first length; 1 where there are no arrays.

    Raises:
        InputError: an array has none, or not as many as the others.
    """
    first = {np.shape(leaf)[:1] for leaf in leaves}
    if len(first) > 1 or () in first:
        shapes = ", ".join(str(np.shape(leaf)) for leaf in leaves[:8])
        raise InputError(
            f"the module's inputs have the shapes {shapes}, and the first axis of each must be the batch: "
            "see inputs=."
        )
    return first.pop()[0] if first else 1


def export_live(module: Any, structure: Any, kinds: Kinds, rows: int | None) -> Graph:
    """Return the graph of a module for one kind of call.

    Raises:
        InputError: it cannot be exported.
    """
    leaves = [_example(module, (rows or 2, *shape), sort) for shape, sort in kinds]
    args, kwargs = jax.tree.unflatten(structure, leaves)
    return read_program(export_program(module, args, kwargs, free_rows=rows is None))


def _sort(dtype: Any) -> str:
    if dtype == jnp.bool_:
        return "bool"
    return "int" if jnp.issubdtype(dtype, jnp.integer) else "float"


def _example(module: Any, shape: tuple[int, ...], sort: str) -> Any:
    library = require("torch", "torch", "lltc[torch]")
    if sort == "float":
        floats = (p.dtype for p in module.parameters() if p.is_floating_point())
        return library.zeros(shape, dtype=next(floats, library.float32))
    return library.zeros(shape, dtype=library.bool if sort == "bool" else library.int64)
