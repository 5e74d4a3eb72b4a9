"""What params were made of, noted beside their arrays, so that a file gives back what was saved.

A note is plain JSON. Classes are noted by name, and looked up among what is imported already: a file that
someone else wrote can have nothing imported, and only pytrees made of.
"""

import dataclasses
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.messages import printable
from lltc.checkpoints.intake.tree import Container
from lltc.errors import CheckpointError

NUMBERS = (bool, int, float, complex)
KEYS = (str, bool, int, float, type(None))
BUILT_IN = {"dict": dict, "OrderedDict": OrderedDict, "list": list, "tuple": tuple}


def read_key(note: Any) -> Any:
    """Return the key, or a value as plain, that a note tells of."""
    kind, value = note
    if kind == "tuple":
        return tuple(read_key(part) for part in value)
    if type(value) not in KEYS or type(value).__name__ != kind:
        raise ValueError("its note of containers names a key of an unknown kind")
    return value


def outline(note: Any, arrays: Mapping[str, Any], budget: Budget) -> Any:
    """Return the tree a note tells of, with `arrays` for leaves, containers as `Container`s.

    Raises:
        ValueError: note and arrays do not belong together.
    """
    names: list[str] = []
    tree = _outline(note, arrays, budget, names, 0)
    if len(names) != len(arrays) or set(names) != set(arrays):
        raise ValueError("its note of containers does not name the arrays it holds")
    return tree


def _outline(note: Any, arrays: Mapping[str, Any], budget: Budget, names: list[str], depth: int) -> Any:
    budget.check_depth(depth)
    budget.count()
    if note is None:
        return None
    if isinstance(note, str):
        names.append(note)
        return arrays[note]
    kind = note["kind"]
    if number := next((number for number in NUMBERS if number.__name__ == kind), None):
        names.append(note["name"])
        return _number(number, note["value"])
    children, keys = note["children"], [str(read_key(key)) for key in note["keys"]]
    if not len(children) == len(keys) == len(set(keys)):
        raise ValueError("its note of containers is damaged")
    items = [_outline(child, arrays, budget, names, depth + 1) for child in children]
    return Container(zip(keys, items, strict=True), note)


def _number(kind: type, value: Any) -> Any:
    parts = value if kind is complex else [value]
    wanted = float if kind is complex else kind
    if not isinstance(parts, list) or any(type(part) is not wanted for part in parts):
        raise ValueError("its note of containers holds a number of another kind")
    return kind(*parts)


def restore(tree: Any) -> Any:
    """Return containers as they were saved.

    Raises:
        CheckpointError: the class of one is not imported, or is none that can be made from a file.
    """
    if not isinstance(tree, Container):
        return tree
    make = _maker(tree.note)
    return make([restore(child) for child in tree.values()])


def _maker(note: dict[str, Any]) -> Callable[[list[Any]], Any]:
    """Return what makes a container of its children."""
    kind = note["kind"]
    if kind in ("list", "tuple"):
        return BUILT_IN[kind]
    keys = [read_key(key) for key in note["keys"]]
    if kind in ("dict", "OrderedDict", "FrozenDict"):
        mapping = _frozen_dict() if kind == "FrozenDict" else BUILT_IN[kind]
        return lambda items: mapping(dict(zip(keys, items, strict=True)))
    place = note["class"]
    cls = find_class(place)
    if kind == "namedtuple" and cls and issubclass(cls, tuple) and getattr(cls, "_fields", ()) == tuple(keys):
        # The class's own constructor may want or do anything.
        return lambda items: tuple.__new__(cls, items)
    if kind == "dataclass" and cls and _is_pytree_of(cls, {*keys, *note["static"]}):
        static = {name: read_key(value) for name, value in note["static"].items()}
        return lambda items: cls(**dict(zip(keys, items, strict=True)), **static)
    name = printable(".".join(map(str, place)), 80)
    lost, remedy = "which is not imported here", ", or import its module first."
    if cls or kind == "other":
        lost, remedy = "which cannot be made from a file", "."
    raise CheckpointError(
        f"params were saved in a container of the class {name}, {lost}; pass template, the model or its "
        f"params{remedy}"
    )


def _frozen_dict() -> Callable[[dict[Any, Any]], Any]:
    try:
        from flax.core import FrozenDict
    except ImportError as error:
        raise CheckpointError(
            "params were saved in Flax's FrozenDict; install it with: pip install flax."
        ) from error
    return FrozenDict


def find_class(place: Any) -> type | None:
    """Return the class of that module and name if the module is imported; nothing is run to find it."""
    module, qualname = place
    item: Any = sys.modules.get(module) if isinstance(module, str) else None
    for part in str(qualname).split("."):
        item = vars(item).get(part) if hasattr(item, "__dict__") else None
    return item if isinstance(item, type) else None


def _is_pytree_of(cls: Any, names: set[str]) -> bool:
    """True for a dataclass of these fields that JAX knows as a pytree; none of its code is run to tell."""
    import jax

    fields = getattr(cls, "__dataclass_fields__", {})
    if not fields or {field.name for field in dataclasses.fields(cls)} != names:
        return False
    try:
        return not jax.tree_util.all_leaves([object.__new__(cls)])
    except TypeError:
        return False


def plain(tree: Any) -> Any:
    """Return the tree with a dict for every container, its keys as texts."""
    if not isinstance(tree, Container):
        return tree
    return {key: plain(child) for key, child in tree.items()}
