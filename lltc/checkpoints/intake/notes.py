"""Notes of what params are made of, in plain JSON, to be saved beside their arrays."""

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from lltc.checkpoints.intake.arrays import is_number_type
from lltc.checkpoints.intake.containers import BUILT_IN, KEYS, NUMBERS, find_class, read_key
from lltc.checkpoints.intake.tree import key_names
from lltc.errors import InputError, first_line

_FROZEN = ["flax.core.frozen_dict", "FrozenDict"]
# Names that mean something else to a format that keeps arrays by name.
_RESERVED = ("__lltc__", "__metadata__")


def describe(params: Any) -> tuple[dict[str, Any], Any]:
    """Return the leaves of `params` by unique names, levels joined with "/", and a note of what holds them.

    Raises:
        InputError: there is no leaf, or one is not an array of numbers.

    Example:
        >>> describe({"layers": [np.zeros(1), 2.5]})[1]["children"][0]["children"]
        ['layers/0', {'kind': 'float', 'name': 'layers/1', 'value': 2.5}]
    """
    import jax

    try:
        jax.tree.structure(params)
    except ValueError as error:
        raise InputError(
            f"params is no pytree that JAX can walk ({first_line(error)}); make its keys of one kind."
        ) from error
    leaves: dict[str, Any] = {}
    note = _describe(params, (), leaves)
    if not leaves:
        raise InputError("params holds no array, so nothing would be saved; pass the params of a model.")
    return leaves, note


def _describe(node: Any, path: tuple[str, ...], leaves: dict[str, Any]) -> Any:
    if node is None:
        return None
    children = _children(node)
    if children is None:
        name = _free_name(path, leaves)
        leaves[name] = _as_numbers("/".join(path) or "params", node)
        if type(node) not in NUMBERS:
            return name
        value = [node.real, node.imag] if isinstance(node, complex) else node
        return {"kind": type(node).__name__, "name": name, "value": value}
    if len({str(key) for key in children}) < len(children):
        raise InputError(f"params holds two keys at '{'/'.join(path)}' that read the same; rename one.")
    notes = [_describe(child, (*path, str(key)), leaves) for key, child in children.items()]
    return _kind(node, children) | {"children": notes}


def _children(node: Any) -> dict[Any, Any] | None:
    """Return what a container holds by its keys, fields or places; None for a leaf."""
    import jax

    if type(node) in (dict, OrderedDict):
        return dict(node)
    if jax.tree_util.all_leaves([node]):
        return None
    pairs = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda item: item is not node)[0]
    return {key_names(path)[0]: child for path, child in pairs}


def _as_numbers(name: str, leaf: Any) -> Any:
    """Return a leaf as it can be saved: a JAX array as it is, else a NumPy array."""
    import jax

    is_jax = isinstance(leaf, jax.Array)
    if is_jax and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        raise InputError(
            f"params holds '{name}', which is a JAX random key; leave it out of params, or save its numbers "
            "with jax.random.key_data."
        )
    known = hasattr(leaf, "dtype") or type(leaf) in NUMBERS
    if known and not isinstance(leaf, np.ma.MaskedArray):
        array = leaf if is_jax else np.asarray(leaf)
        if is_number_type(np.dtype(array.dtype)):
            return array
    raise InputError(f"params holds '{name}', which is not an array of numbers; leave it out of params.")


def _free_name(path: tuple[str, ...], leaves: Mapping[str, Any]) -> str:
    name = "/".join(path) or "params"
    if name.isprintable() and name not in leaves and name not in _RESERVED:
        return name
    return next(free for n in range(len(leaves) + 1) if (free := f"leaf~{len(leaves) + n}") not in leaves)


def _kind(node: Any, children: Mapping[Any, Any]) -> dict[str, Any]:
    cls, keys = type(node), [_key_note(key) for key in children]
    place = {"class": [cls.__module__, cls.__qualname__], "keys": keys}
    if None in keys:
        return {"kind": "other", **place, "keys": [["str", str(key)] for key in children]}
    name = next((name for name, known in BUILT_IN.items() if cls is known), None)
    name = "FrozenDict" if place["class"] == _FROZEN else name
    if name is not None:
        return {"kind": name, "keys": keys}
    if isinstance(node, tuple) and find_class(place["class"]) is cls:
        return {"kind": "namedtuple", **place}
    if dataclasses.is_dataclass(node) and find_class(place["class"]) is cls:
        static = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
        static = {name: _key_note(value) for name, value in static.items() if name not in children}
        if None not in static.values() and _is_rebuilt(node, children, static):
            return {"kind": "dataclass", "static": static, **place}
    return {"kind": "other", **place}


def _is_rebuilt(node: Any, children: Mapping[str, Any], static: dict[str, Any]) -> bool:
    """True where a class makes the same of its fields again, as one with its own `__init__` need not."""
    import jax

    try:
        again = type(node)(**children, **{name: read_key(note) for name, note in static.items()})
        same = jax.tree.structure(again) == jax.tree.structure(node)
        return same and all(getattr(again, name) is child for name, child in children.items())
    # It is the user's class, which may raise anything.
    except Exception:
        return False


def _key_note(key: Any) -> list[Any] | None:
    """Return a key as JSON that tells a tuple from a text and 1 from True; None where there is no such."""
    if type(key) is tuple:
        parts = [_key_note(part) for part in key]
        return None if None in parts else ["tuple", parts]
    return [type(key).__name__, key] if type(key) in KEYS else None


def is_native(note: Any) -> bool:
    """True for a tree of nothing but arrays, lists, tuples and dicts of named things, none of them empty."""
    if isinstance(note, str):
        return True
    if not isinstance(note, dict) or note["kind"] not in ("dict", "list", "tuple") or not note["children"]:
        return False
    named = note["kind"] != "dict" or all(key[0] == "str" for key in note["keys"])
    return named and all(map(is_native, note["children"]))
