"""PyTorch: a module as it is, or the file that `torch.export.save` made of it."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.export.modules import read_names, unwrap, warn_of_training
from lltc.models.adapter import Model
from lltc.models.batches import Selector
from lltc.models.libraries import require
from lltc.models.losses import Loss
from lltc.models.torch_graph.from_file import read_exported
from lltc.models.torch_graph.from_program import as_numpy
from lltc.models.torch_graph.record import Graph
from lltc.models.torch_graph.weights import Weights
from lltc.models.torch_model import argument_names, as_model, export_live, graphs_by_kind, num_rows


def torch(
    module: Any,
    loss: str | Loss,
    *,
    inputs: Selector = None,
    outputs: Selector = None,
    targets: Selector = None,
) -> Model:
    """Make a model of a ``torch.nn.Module``, as it is.

    The module is exported by ``torch.export`` when a batch of a new shape first comes, and its graph of
    ATen operators is evaluated by JAX: exact to rounding, with PyTorch's derivatives, compiled, and
    vectorized over chains. The module itself runs no more, is left as it was, and is taken in evaluation
    mode. Parameters tied to each other are one; buffers and frozen parameters never move.

    Args:
        module: the module, as it is or wrapped by ``torch.compile``, ``DataParallel`` and their kind.
        loss: "classification" ("cross_entropy"), "regression" ("squared"), "causal_lm" (each token against
            the next), "masked_lm" (labels of -100 do not count), "own" (the loss that the module returns), or
            a function (outputs, batch) -> (batch,).
        inputs: what enters the module, spread if it is a tuple or a dict. By default the batch's items that
            the module has arguments for, without labels, or what ``split_inputs`` picks.
        outputs: what the loss takes of what the module returns: a name, a place or a function; by default its
            ``logits``, or the first of several outputs.
        targets: what the outputs are compared with (see ``split_targets``).

    Returns:
        A ``Model`` whose ``params`` are the arrays of the ``state_dict``, as nested dicts; integers of a
        batch enter as int64, its floats in the type of the module's parameters.

    Raises:
        InputError: torch is missing, or the module cannot be evaluated; the sentence names its line.

    Example:
        ```
        module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        model = lltc.models.torch(module, "regression")
        lltc.estimate_llc(model, model.params, (x, y))
        ```
    """
    require("torch", "torch", "lltc[torch]")
    module = unwrap(module)
    warn_of_training(module)
    tensors, tied, held = read_names(module)
    params = Weights.nest(
        {name: jnp.asarray(as_numpy(tensor)) for name, tensor in tensors.items()}, tied=tied, held=held
    )
    return as_model(
        graphs_by_kind(partial(export_live, module)),
        params,
        argument_names(module),
        loss,
        inputs,
        outputs,
        targets,
    )


def torch_exported(
    path: str | Path,
    loss: str | Loss,
    *,
    inputs: Selector = None,
    outputs: Selector = None,
    targets: Selector = None,
) -> Model:
    """Make a model of the file that ``torch.export.save`` wrote, without PyTorch.

    ``python -m lltc.export package:factory model.pt2 --example float32:3`` writes such a file wherever the
    module is; the graph in it is what ``lltc.models.torch`` evaluates, to the same numbers. Its JSON and
    its raw numbers are read within bounds, and nothing in it is unpickled. Batches have the shapes of the
    example it was exported for, and any number of rows if that was left open.

    Args:
        path: the ``.pt2`` file, written by PyTorch 2.9 or later.
        loss: see ``torch``.
        inputs: see ``torch``.
        outputs: see ``torch``.
        targets: see ``torch``.

    Returns:
        A ``Model`` whose ``params`` are the weights in the file.

    Raises:
        CheckpointError: the file is missing, damaged or of another layout.
        InputError: the module in it uses an operator that lltc does not evaluate.

    Example:
        >>> import lltc
        >>> try:
        ...     torch_exported("absent.pt2", "regression")
        ... except lltc.CheckpointError as error:
        ...     print(str(error)[:67])
        Cannot read 'absent.pt2' as a file of torch.export.save: No such fi
    """
    graph, arrays, tied, held = read_exported(path)
    params = Weights.nest({name: jnp.asarray(array) for name, array in arrays.items()}, tied=tied, held=held)

    def graph_of(args: tuple, kwargs: dict[str, Any]) -> Graph:
        # Numbers may be arguments of a call that was exported with them.
        arrays = [leaf for leaf in jax.tree.leaves((args, kwargs)) if np.ndim(leaf)]
        rows, (low, high) = num_rows(arrays), graph.rows
        if not low <= rows <= (high or rows):
            wanted = f"{low} rows" if low == high else f"{low} to {high or 'any number of'} rows"
            raise InputError(
                f"the batch has {rows} rows, and '{path}' was exported for {wanted}: export anew."
            )
        return graph

    return as_model(graph_of, params, [*graph.call], loss, inputs, outputs, targets)
