"""Which array of a network's files is which of its state_dict, and what else is known of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import ml_dtypes
import numpy as np

from lltc.checkpoints.formats.safetensors import Place
from lltc.checkpoints.intake.arrays import checked_shape
from lltc.errors import CheckpointError
from lltc.export.modules import Names
from lltc.models.pretrained.tracing import Traced
from lltc.models.pretrained.weight_files import read_each
from lltc.models.torch_graph.as_json import as_dtype_name, as_text
from lltc.models.torch_graph.checks import check_names
from lltc.models.torch_graph.weights import Weights


class InFile(NamedTuple):
    """An array of the state_dict: its name in the files, its type in the network, its shape."""

    spelling: str
    dtype: str
    shape: tuple[int, ...]


class Network(NamedTuple):
    """What is known of a network without PyTorch.

    Attributes:
        arrays: each array of the state_dict by its first name.
        tied: the other names, each with the first.
        held: the names that never move.
        arguments: the names that forward takes, None where it takes any.
        unused: the names in the files that it has no use for.
        twins: two names in the files that are tied where their arrays are equal, and whether they are.
    """

    arrays: dict[str, InFile]
    tied: dict[str, str]
    held: frozenset[str]
    arguments: tuple[str, ...] | None
    unused: tuple[str, ...]
    twins: tuple[tuple[str, str, bool], ...]

    def fits(self, places: Mapping[str, Place]) -> bool:
        """Tell whether files hold exactly these names, with the same of them equal."""
        return self.names_in_files() == set(places) and all(
            _are_equal(one, other, places) == equal for one, other, equal in self.twins
        )

    def names_in_files(self) -> set[str]:
        """Return all names in the files."""
        return {stored.spelling for stored in self.arrays.values()} | set(self.unused)

    def spelled(self) -> dict[str, str | None]:
        """Return for each name in the files the network's own, None where it has none."""
        unused = {name: None for name in self.unused if name not in self.tied}
        return unused | {stored.spelling: name for name, stored in self.arrays.items()}

    def weights(self, places: Mapping[str, Place]) -> Weights:
        """Return the weights that files hold.

        Raises:
            CheckpointError: an array has another shape than the configuration wants.
        """
        owners = {stored.spelling: name for name, stored in self.arrays.items()}
        arrays = {}
        for spelling, array in read_each({spelling: places[spelling] for spelling in owners}):
            _, dtype, shape = self.arrays[owners[spelling]]
            if array.shape != shape:
                raise CheckpointError(
                    f"the weights '{spelling}' in '{places[spelling].file}' have the shape {array.shape} and "
                    f"should have {shape} by the configuration: they belong to another network."
                )
            arrays[owners[spelling]] = jnp.asarray(_cast(array, dtype))
        ordered = {name: arrays[name] for name in self.arrays}
        return Weights.nest(ordered, tied=self.tied, held=self.held, spelled=self.spelled())


def match_names(
    names: Names, arguments: Sequence[str] | None, traced: Traced, places: Mapping[str, Place]
) -> Network | None:
    """Return the network whose arrays are in its files, to the bit; None where one is not.

    Args:
        names: the network's arrays as NumPy holds them, and their names.
        arguments: the names that forward takes.
        traced: where they come from.
        places: where the arrays of the files lie.
    """
    spellings = traced.spellings
    owners = {spellings[name]: name for name in names.tensors if name in spellings}
    if len(owners) < len(names.tensors):
        return None
    for spelling, array in read_each({spelling: places[spelling] for spelling in owners}):
        own = names.tensors[owners[spelling]]
        if array.shape != own.shape or _cast(array, own.dtype.name).tobytes() != own.tobytes():
            return None
    return Network(
        {name: InFile(spellings[name], *_kind(array)) for name, array in names.tensors.items()},
        dict(names.tied),
        names.held,
        None if arguments is None else tuple(arguments),
        tuple(sorted(set(places) - set(owners))),
        tuple((one, other, _are_equal(one, other, places)) for one, other in traced.twins),
    )


def network_to_json(network: Network) -> dict[str, Any]:
    """Return a network as what JSON can hold."""
    arrays = {name: [*stored[:-1], list(stored.shape)] for name, stored in network.arrays.items()}
    return {
        "arrays": arrays,
        "tied": network.tied,
        "held": sorted(network.held),
        "arguments": network.arguments,
        "unused": network.unused,
        "twins": network.twins,
    }


def network_from_json(document: Mapping[str, Any]) -> Network:
    """Return the network that `network_to_json` wrote; a `ValueError` or a `TypeError` where it is none."""
    arrays = {
        name: InFile(as_text(spelling), as_dtype_name(dtype), checked_shape(shape))
        for name, (spelling, dtype, shape) in document["arrays"].items()
    }
    tied = {other: as_text(name) for other, name in document["tied"].items()}
    held, arguments = frozenset(map(as_text, document["held"])), document["arguments"]
    check_names({*arrays, *tied}, {**arrays, **tied})
    if len({stored.spelling for stored in arrays.values()}) < len(arrays):
        raise ValueError("it takes two arrays from one")
    if not (held | set(tied.values())) <= set(arrays) or set(tied) & set(arrays):
        raise ValueError("it speaks of arrays that it does not have")
    network = Network(
        arrays,
        tied,
        held,
        None if arguments is None else tuple(map(as_text, arguments)),
        tuple(map(as_text, document["unused"])),
        tuple((as_text(one), as_text(other), equal is True) for one, other, equal in document["twins"]),
    )
    if not {name for twins in network.twins for name in twins[:2]} <= network.names_in_files():
        raise ValueError("it compares arrays that the files do not have")
    return network


def _are_equal(one: str, other: str, places: Mapping[str, Place]) -> bool:
    arrays = dict(read_each({name: places[name] for name in (one, other)}))
    # transformers compares them in the type of the network.
    return np.array_equal(_cast(arrays[one], "float32"), _cast(arrays[other], "float32"))


def _cast(array: np.ndarray, dtype: str) -> np.ndarray:
    return np.asarray(array, np.dtype(getattr(ml_dtypes, dtype, dtype)))


def _kind(array: np.ndarray) -> tuple[str, tuple[int, ...]]:
    return array.dtype.name, array.shape
