"""Trees of parameters: names to nested dicts and back, and what is left out of them."""

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from lltc.checkpoints.intake.budget import Budget
from lltc.errors import InputError

# Levels that PyTorch puts into names where a module is compiled or sharded.
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_MAPPINGS = ("dict", "OrderedDict", "FrozenDict")


class Container(dict):
    """A dict of what a container held by its names, with the `note` that tells what it was."""

    def __init__(self, children: Iterable[tuple[str, Any]], note: dict[str, Any]):
        super().__init__(children)
        self.note = note


def split_levels(name: tuple[str, ...]) -> tuple[str, ...]:
    """Return a name with its flat parts split, as at "layers/0" and "layers.0"."""
    return tuple(level for key in name for level in re.split(r"[/.]", key))


def as_globs(ignore: Any) -> tuple[str, ...]:
    """Return `ignore` as globs; an `InputError` where it is none."""
    several = isinstance(ignore, Iterable) and not isinstance(ignore, str | bytes)
    globs: tuple[Any, ...] = tuple(ignore) if several else () if ignore is None else (ignore,)
    if not all(isinstance(glob, str) for glob in globs):
        raise InputError(
            f"ignore is {ignore!r}, but must be globs over the checkpoint's names; pass one such as "
            "'*/num_batches_tracked', or a list of them."
        )
    return globs


def is_ignored(name: tuple[str, ...], globs: tuple[str, ...]) -> bool:
    """Tell whether one of the `globs` matches a name; "*/w" matches a "w" without levels, too."""
    path = "/".join(split_levels(name))
    return any(fnmatchcase(path, glob) or fnmatchcase(f"/{path}", glob) for glob in globs)


def leave_out(tree: Any, globs: tuple[str, ...], path: tuple[str, ...] = ()) -> Any:
    """Return the tree without what `globs` match; an `InputError` where that stands in a list."""
    if not isinstance(tree, (dict, list)) or not globs:
        return tree
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree))
    chosen = [(key, child) for key, child in items if not _is_lost(child, globs, (*path, str(key)))]
    kind = tree.note["kind"] if isinstance(tree, Container) else type(tree).__name__
    if kind not in _MAPPINGS and len(chosen) < len(items):
        raise InputError(
            f"ignore={list(globs)} names a part of '{'/'.join(path)}', a {kind} that cannot do without it; "
            "pass template, in which it has no place."
        )
    chosen = [(key, leave_out(child, globs, (*path, str(key)))) for key, child in chosen]
    if isinstance(tree, Container):
        keys = dict(zip(tree, tree.note["keys"], strict=True))
        named = [(str(key), child) for key, child in chosen]
        return Container(named, tree.note | {"keys": [keys[key] for key, _ in named]})
    return dict(chosen) if isinstance(tree, dict) else [child for _, child in chosen]


def _is_lost(tree: Any, globs: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Tell whether nothing of a tree is left; what was empty before stays."""
    if isinstance(tree, (dict, list)):
        items = list(tree.items() if isinstance(tree, dict) else enumerate(tree))
        return bool(items) and all(_is_lost(child, globs, (*path, str(key))) for key, child in items)
    return tree is not None and is_ignored(path, globs)


def key_names(path: tuple) -> tuple[str, ...]:
    """Return the keys of a JAX key path (dict keys, indices, attribute names) as strings."""
    return tuple(
        str(next(getattr(key, a) for a in ("key", "idx", "name") if hasattr(key, a))) for key in path
    )


def flatten(params: Any) -> dict[str, Any]:
    """Return the leaves of a pytree by name, levels joined with "/"; a bare array is named "params"."""
    import jax

    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    return {"/".join(key_names(path)) or "params": leaf for path, leaf in leaves}


def nest(
    named: Mapping[str, Any],
    separator: str | None = None,
    budget: Budget | None = None,
    depth: int = 0,
) -> dict[str, Any]:
    """Return nested dicts from names split at `separator`: "/" where any name holds one, else ".".

    Names that cannot be nested, as when "w" and "w.scale" are both arrays, stay flat. The tree lies `depth`
    levels below its root.
    """
    budget = budget or Budget("tree", 0)
    separator = separator or ("/" if any("/" in name for name in named) else ".")
    tree: dict[str, Any] = {}
    for name, leaf in named.items():
        levels = name.count(separator) + 1
        budget.check_depth(depth + levels)
        budget.count(levels)
        *parents, last = name.split(separator)
        node: Any = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                return dict(named)
        if last in node:
            return dict(named)
        node[last] = leaf
    return tree


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply `function` to every leaf of nested dicts and lists."""
    if isinstance(tree, dict):
        mapped = {key: map_leaves(function, value) for key, value in tree.items()}
        return Container(mapped.items(), tree.note) if isinstance(tree, Container) else mapped
    if isinstance(tree, list):
        return [map_leaves(function, value) for value in tree]
    return function(tree)


def keep_arrays(tree: Any, as_array: Callable[[Any], Any], budget: Budget, depth: int = 0) -> Any:
    """Return dicts (keys as strings) and lists of what `as_array` makes of the leaves, but for None.

    What several places share is counted at each of them, so that a few values that hold each other many times
    over are refused instead of unrolled.
    """
    budget.check_depth(depth)
    budget.count()
    if isinstance(tree, dict):
        children = {str(key): keep_arrays(child, as_array, budget, depth + 1) for key, child in tree.items()}
        return {key: child for key, child in children.items() if child is not None}
    if isinstance(tree, (list, tuple)):
        items = [keep_arrays(item, as_array, budget, depth + 1) for item in tree]
        return [item for item in items if item is not None]
    return as_array(tree)
