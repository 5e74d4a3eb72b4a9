"""Which part of a batch enters the network, and which part it is compared with."""

from collections.abc import Callable, Mapping
from typing import Any

from lltc.errors import InputError

Selector = Callable[[Any], Any] | str | int | None

INPUT_NAMES = ("inputs", "x", "image")
TARGET_NAMES = ("targets", "y", "label", "labels")


def split_inputs(batch: Any, selector: Selector = None) -> Any:
    """Return the network's inputs.

    A function is applied to the batch; a string or an integer is looked up in it. With None: the first item
    of a tuple or list, ``"inputs"``, ``"x"`` or ``"image"`` of a mapping, and an array itself.

    Raises:
        InputError: the batch has no such item.

    Example:
        >>> split_inputs({"image": 1, "label": 2}), split_inputs((3, 4)), split_inputs((3, 4), 1)
        (1, 3, 4)
    """
    return _select(batch, selector, "inputs", 0, INPUT_NAMES)


def split_targets(batch: Any, selector: Selector = None) -> Any:
    """Return what the outputs are compared with.

    A function is applied to the batch; a string or an integer is looked up in it. With None: the second item
    of a tuple or list, ``"targets"``, ``"y"``, ``"label"`` or ``"labels"`` of a mapping, and an array itself
    (an autoencoder's target).

    Raises:
        InputError: the batch has no such item.

    Example:
        >>> split_targets({"x": 1, "y": 2}), split_targets((3, 4)), split_targets((3, 4), lambda b: b[0])
        (2, 4, 3)
    """
    return _select(batch, selector, "targets", 1, TARGET_NAMES)


def _select(batch: Any, selector: Selector, role: str, position: int, names: tuple[str, ...]) -> Any:
    if callable(selector):
        return selector(batch)
    if isinstance(batch, Mapping):
        return _from_mapping(batch, selector, role, names)
    if isinstance(batch, tuple | list):
        return _from_sequence(batch, position if selector is None else selector, role)
    if selector is None:
        return batch
    raise InputError(
        f"{role}={selector!r} looks an item up, but the batch is one {type(batch).__name__}: "
        f"give a batch that is a tuple or a dict, or {role}=<function of the batch>."
    )


def _from_mapping(batch: Mapping, selector: str | int | None, role: str, names: tuple[str, ...]) -> Any:
    wanted = names if selector is None else (selector,)
    for name in wanted:
        if name in batch:
            return batch[name]
    raise InputError(
        f"{role} not found: the batch has the keys {list(batch)} and none of {list(wanted)}; "
        f"name the key with {role}=, or give a function of the batch."
    )


def _from_sequence(batch: tuple | list, selector: str | int, role: str) -> Any:
    if isinstance(selector, str) and hasattr(batch, "_fields") and hasattr(batch, selector):
        return getattr(batch, selector)
    if isinstance(selector, int) and -len(batch) <= selector < len(batch):
        return batch[selector]
    raise InputError(
        f"{role} not found: item {selector!r} was looked up in a batch of {len(batch)} items; "
        f"give a number below {len(batch)}, or {role}=<function of the batch>."
    )
