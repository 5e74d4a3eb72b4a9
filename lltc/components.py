"""Naming parts of a params pytree by path, glob or function."""

import fnmatch
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lltc.errors import InputError

PyTree = Any
Restriction = str | Sequence[str] | Callable[[str, Any], Any] | PyTree


def path_name(path: tuple) -> str:
    """Return a pytree key path as plain text with slashes.

    Example:
        >>> path_name((jax.tree_util.DictKey("layers"), jax.tree_util.SequenceKey(0)))
        'layers/0'
    """
    return jax.tree_util.keystr(path, simple=True, separator="/")


def select(params: PyTree, restrict: Restriction | None) -> list[np.ndarray | bool]:
    """Return, for each leaf of `params`, what moves: True, False or a boolean array of its shape.

    `restrict` is None (every floating leaf), a glob or a list of globs over paths such as
    `"layers/*/kernel"`, a function `(path, leaf) -> bool or boolean array`, or a pytree like `params` whose
    leaves are booleans or boolean arrays. Raises `InputError` when nothing is selected.

    Example:
        >>> select({"a": np.zeros(2), "b": np.zeros(3)}, "a")
        [True, False]
    """
    named = [(path_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)]
    chosen = [_simplify(mask) for mask in _masks(params, named, restrict)]
    chosen = [mask if _is_float(leaf) else False for (_, leaf), mask in zip(named, chosen, strict=True)]
    if not any(np.any(mask) for mask in chosen):
        raise InputError(
            f"restrict={restrict!r} selects no floating-point parameter of params, whose leaves are "
            f"{', '.join(name or '(root)' for name, _ in named) or 'none'}; name at least one of them."
        )
    return chosen


def _masks(params: PyTree, named: list, restrict: Restriction | None) -> list:
    if restrict is None:
        return [True] * len(named)
    if isinstance(restrict, str):
        return [fnmatch.fnmatchcase(name, restrict) for name, _ in named]
    if isinstance(restrict, list | tuple) and all(isinstance(item, str) for item in restrict):
        return [any(fnmatch.fnmatchcase(name, glob) for glob in restrict) for name, _ in named]
    if callable(restrict):
        return [restrict(name, leaf) for name, leaf in named]
    masks, structure = jax.tree.flatten(restrict)
    if structure != jax.tree.structure(params):
        raise InputError(
            f"restrict has the tree structure {structure}, but a pytree of masks must be shaped like params "
            f"({jax.tree.structure(params)}); pass a glob, a function (path, leaf) -> mask, or a matching "
            "pytree."
        )
    for (name, leaf), mask in zip(named, masks, strict=True):
        if np.ndim(mask) and np.shape(mask) != np.shape(leaf):
            raise InputError(
                f"restrict has a mask of shape {np.shape(mask)} for {name or 'params'} of shape "
                f"{np.shape(leaf)}, but "
                "each mask must be one boolean or have its parameter's shape; reshape it."
            )
    return masks


def _simplify(mask: Any) -> np.ndarray | bool:
    mask = np.asarray(mask, dtype=bool)
    if mask.all() or not mask.any():
        return bool(mask.all())
    return mask


def _is_float(leaf: Any) -> bool:
    return jax.numpy.issubdtype(jax.numpy.result_type(leaf), jax.numpy.floating)
