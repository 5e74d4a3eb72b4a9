"""Hugging Face's networks by their names: transformers makes them once, then their graphs are remembered."""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from lltc.checkpoints.torch_saver import tensor_to_numpy
from lltc.export.modules import Names, read_names
from lltc.models.adapter import Model
from lltc.models.batches import Selector
from lltc.models.losses import Loss, resolve_loss
from lltc.models.pretrained.live import WORDS, load_module
from lltc.models.pretrained.names import Network, match_names, network_from_json, network_to_json
from lltc.models.pretrained.source import Source, find_source
from lltc.models.pretrained.store import recall, remember
from lltc.models.pretrained.tracing import trace_names
from lltc.models.torch_graph.as_json import graph_from_json, graph_to_json
from lltc.models.torch_graph.record import Graph
from lltc.models.torch_graph.weights import Weights
from lltc.models.torch_model import Kinds, argument_names, as_model, export_live, graphs_by_kind


def hugging_face(
    source: str | Path,
    loss: str | Loss = "causal_lm",
    *,
    inputs: Selector = None,
    outputs: Selector = None,
    targets: Selector = None,
) -> Model:
    """Make a model of a network that transformers has, by its name.

    The first time, transformers makes the network and its graph is exported (see ``torch``). The graph is
    remembered by its configuration and its kind of batch, without weights, in ``lltc/graphs`` in
    XDG_CACHE_HOME or ~/.cache; from then on, weights in safetensors files are read without torch or
    transformers, to the same numbers. Code that a repository brings is never run.

    Args:
        source: a folder with ``config.json`` and weights, "org/name" on the Hugging Face hub, or
            "hf://org/name@revision"; where it holds an adapter of PEFT, its base with A and B put on, which
            alone move.
        loss: see ``torch``; where the configuration names no class that transformers has, or one without a
            head, "causal_lm", "masked_lm" and "classification" name it.
        inputs: see ``torch``.
        outputs: see ``torch``.
        targets: see ``torch``.

    Returns:
        A ``Model`` whose ``params`` are the weights in float32, as nested dicts of the ``state_dict``.

    Raises:
        InputError: the source is not there or not whole, transformers lacks its class, or its graph is not
            remembered and a library to make it is missing.

    Example:
        >>> import lltc
        >>> try:
        ...     hugging_face("no folder")
        ... except lltc.InputError as error:
        ...     print(str(error)[:51])
        source is 'no folder', which is no folder here: giv
    """
    if loss != "own":
        resolve_loss(loss, targets)
    origin = find_source(source)
    word = loss if isinstance(loss, str) and loss in WORDS else ""
    module = cache(lambda: load_module(origin, word))
    key = origin.key(f"{origin.architecture} {word}")
    network, weights, arguments = _network(key, origin, module)
    graph_of = graphs_by_kind(_exporter(key, module, network))
    return as_model(graph_of, weights, arguments, loss, inputs, outputs, targets)


def _network(
    key: str, origin: Source, module: Callable[[], Any]
) -> tuple[Network | None, Weights, Sequence[str] | None]:
    """Return what is known of a network, None where it cannot be remembered, its weights and arguments."""
    own, adapter = origin.weight_files()
    places = {**own, **adapter}
    # One configuration may have files of several spellings.
    entry = f"{key}-names-{_hash(sorted(places))}"
    network = recall(entry, network_from_json)
    if network is None or not network.fits(places):
        tensors, tied, held = read_names(module())
        # The module is nobody else's and its weights never change, so that one copy of them is enough.
        names = Names({name: tensor_to_numpy(tensor) for name, tensor in tensors.items()}, tied, held)
        arguments = argument_names(module())
        network = match_names(names, arguments, trace_names(module(), own, adapter), places) if own else None
        spelled = None if network is None else network.spelled()
        if network is not None:
            remember(entry, network_to_json(network))
        arrays = {name: jnp.asarray(array) for name, array in names.tensors.items()}
        return network, Weights.nest(arrays, tied=tied, held=held, spelled=spelled), arguments
    return network, network.weights(places), network.arguments


def _exporter(
    key: str, module: Callable[[], Any], network: Network | None
) -> Callable[[Any, Kinds, int | None], Graph]:
    """Return what gives the graph of a kind of call: as it is remembered, else by an export."""

    def export(structure: Any, kinds: Kinds, rows: int | None) -> Graph:
        if network is None:
            return export_live(module(), structure, kinds, rows)
        entry = f"{key}-graph-{_describe(structure, kinds, rows)}"
        graph = recall(entry, graph_from_json)
        if graph is None or not set(graph.weights.values()) <= {*network.arrays, *network.tied}:
            content = graph_to_json(export_live(module(), structure, kinds, rows))
            # What cannot be read is not worth remembering.
            graph = graph_from_json(content)
            remember(entry, content)
        return graph

    return export


def _describe(structure: Any, kinds: Kinds, rows: int | None) -> str:
    """Return a hash of a kind of call: where its arrays and its Nones stand, their kinds, and its rows."""
    places = jax.tree_util.tree_leaves_with_path(jax.tree.unflatten(structure, range(len(kinds))))
    named = [(jax.tree_util.keystr(path, simple=True, separator="/"), kinds[at]) for path, at in places]
    return _hash([named, str(structure), rows])


def _hash(item: Any) -> str:
    return hashlib.sha256(json.dumps(item).encode()).hexdigest()[:32]
