"""Naming parts of a params pytree by path, glob, slice or function, and previewing what a name selects."""

import difflib
import fnmatch
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lltc.errors import InputError
from lltc.types import PyTree

Restriction = str | Sequence[str] | Callable[[str, Any], Any] | PyTree
CLOSEST = 3
MOST_ROWS = 40
SLICED = re.compile(r"(?P<glob>.*)\[(?P<index>[-\d:., ]+)\]", re.DOTALL)


class Component(NamedTuple):
    """One leaf of params: its path, shape, number of parameters, and how many of them were `selected`."""

    path: str
    shape: tuple[int, ...]
    selected: int
    size: int


class Components(tuple[Component, ...]):
    """The leaves of a params pytree, in order, as `Component` rows; prints as a table."""

    __slots__ = ()

    @property
    def selected(self) -> int:
        """How many parameters were selected."""
        return sum(row.selected for row in self)

    @property
    def size(self) -> int:
        """How many parameters there are, selected or not."""
        return sum(row.size for row in self)

    def __repr__(self) -> str:
        chosen = [row for row in self if row.selected]
        lines = [
            ["path", "shape", "selected"],
            *[[row.path or "(root)", str(row.shape), _share(row)] for row in chosen[:MOST_ROWS]],
        ]
        widths = [max(len(line[column]) for line in lines) for column in range(3)]
        table = [
            "  ".join([line[0].ljust(widths[0]), line[1].ljust(widths[1]), line[2].rjust(widths[2])])
            for line in lines
        ]
        more = [f"… and {len(chosen) - MOST_ROWS} more"] if len(chosen) > MOST_ROWS else []
        total = f"{self.selected:,} of {self.size:,} parameters in {len(chosen)} of {len(self)} leaves"
        return "\n".join([*table, *more, total])


def path_name(path: tuple) -> str:
    """Return a pytree key path as plain text with slashes.

    Example:
        >>> path_name((jax.tree_util.DictKey("layers"), jax.tree_util.SequenceKey(0)))
        'layers/0'
    """
    return jax.tree_util.keystr(path, simple=True, separator="/")


def select(
    params: PyTree, restrict: Restriction | None, *, argument: str = "restrict"
) -> list[np.ndarray | bool]:
    """Return, for each leaf of `params`, what moves: True, False or a boolean array of its shape.

    `restrict` is None (every floating leaf), a pattern or a list of patterns, a function `(path, leaf) ->
    bool or boolean array`, or a pytree like `params` whose leaves are booleans or boolean arrays. A pattern
    is a glob over paths, such as `"layers/*/kernel"`, in which `*` also crosses slashes; brackets of integers
    and slices at its end are NumPy's basic indexing of every leaf it names: `"layers/*/q[:,3]"` is one column
    or head. (A glob's own class of digits at the very end, `"w[12]"`, is therefore written `"w[12]*"`.)

    Raises:
        InputError: when nothing is selected, a pattern matches no path, or its brackets do not fit a leaf;
            `argument` is what it calls `restrict`.

    Example:
        >>> chosen = select({"a": np.zeros(2), "b": np.zeros((2, 3))}, ["a", "b[:,1]"])
        >>> chosen[0], chosen[1].tolist()
        (True, [[False, True, False], [False, True, False]])
    """
    named = [(path_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)]
    chosen = [_simplify(mask) for mask in _masks(params, named, restrict, argument)]
    chosen = [mask if _is_float(leaf) else False for (_, leaf), mask in zip(named, chosen, strict=True)]
    if not any(np.any(mask) for mask in chosen):
        raise InputError(
            f"{argument}={restrict!r} selects no floating-point parameter of params, whose leaves are "
            f"{', '.join(name or '(root)' for name, _ in named) or 'none'}; name at least one of them."
        )
    return chosen


def list_components(params: PyTree, pattern: Restriction | None = None) -> Components:
    """Return what `pattern` selects of each leaf of `params`, to look at before anything is run.

    Args:
        params: any pytree.
        pattern: what `restrict` accepts: a pattern or patterns, a function or masks; see
            `select`. None selects every floating-point leaf.

    Returns:
        A tuple of `Component(path, shape, selected, size)`, one a leaf, with the sums `selected` and `size`;
        it prints as a table of the leaves of which something is selected.

    Raises:
        InputError: for a pattern that selects nothing; the closest paths are named.

    Example:
        >>> params = {"attn": {"q": np.zeros((8, 4, 2)), "o": np.zeros((8, 8))}, "head": np.zeros(8)}
        >>> list_components(params, ["attn/q[:,3]", "head"])
        path    shape      selected
        attn/q  (8, 4, 2)  16 of 64
        head    (8,)              8
        24 of 136 parameters in 2 of 3 leaves
    """
    masks = select(params, pattern, argument="pattern")
    rows = []
    for (path, leaf), mask in zip(jax.tree_util.tree_leaves_with_path(params), masks, strict=True):
        shape = tuple(np.shape(leaf))
        count = int(np.broadcast_to(mask, shape).sum())
        rows.append(Component(path_name(path), shape, count, math.prod(shape)))
    return Components(rows)


def name_components(components: Mapping[str, Restriction] | Sequence[str] | str) -> dict[str, Restriction]:
    """Return components by name; patterns given without names are their own names.

    Example:
        >>> name_components(["first/*", "second/*"])
        {'first/*': 'first/*', 'second/*': 'second/*'}
    """
    if isinstance(components, str):
        components = [components]
    if isinstance(components, Mapping):
        named = dict(components)
    elif isinstance(components, list | tuple) and all(isinstance(item, str) for item in components):
        named = {pattern: pattern for pattern in components}
    else:
        named = {}
    if not named or not all(isinstance(name, str) for name in named):
        raise InputError(
            "components must be a mapping of names to patterns, functions or masks, or a list of patterns, "
            f'but {components!r} was given; pass such as {{"attention": "layers/*/attn/*"}}.'
        )
    return named


def _masks(params: PyTree, named: list, restrict: Restriction | None, argument: str) -> list:
    if restrict is None:
        return [True] * len(named)
    if isinstance(restrict, str):
        return _pattern_masks(named, restrict, argument)
    if isinstance(restrict, list | tuple) and restrict and all(isinstance(item, str) for item in restrict):
        each = [_pattern_masks(named, pattern, argument) for pattern in restrict]
        return [_any(masks) for masks in zip(*each, strict=True)]
    if callable(restrict) and jax.tree_util.all_leaves([restrict]):
        return [restrict(name, leaf) for name, leaf in named]
    return _tree_masks(params, named, restrict, argument)


def _pattern_masks(named: list, pattern: str, argument: str) -> list:
    """Return what one pattern selects of each leaf."""
    sliced = SLICED.fullmatch(pattern)
    glob = sliced["glob"] if sliced else pattern
    matched = [fnmatch.fnmatchcase(name, glob) for name, _ in named]
    if not any(matched):
        raise InputError(
            f"{argument}={pattern!r} selects no floating-point parameter of params because no path of theirs "
            f"matches {glob!r}; {_closest(glob, [name for name, _ in named])}."
        )
    if not sliced:
        return matched
    return [
        _sliced(f"{argument}={pattern!r}", sliced["index"], name, np.shape(leaf)) if found else False
        for (name, leaf), found in zip(named, matched, strict=True)
    ]


def _sliced(received: str, index: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    try:
        mask[tuple(_axis(part.strip()) for part in index.split(",") if part.strip())] = True
    except (IndexError, ValueError):
        raise InputError(
            f"{received} cannot take [{index}] of {name or 'params'}, which has the shape {shape}; "
            "use one integer or slice an axis, within its length."
        ) from None
    return mask


def _axis(text: str) -> Any:
    """Return one entry of an index: an integer, a slice or an ellipsis."""
    if text == "...":
        return ...
    bounds = [int(bound) if bound.strip() else None for bound in text.split(":")]
    return bounds[0] if len(bounds) == 1 else slice(*bounds)


def _closest(glob: str, names: list[str]) -> str:
    """Return the paths most like `glob`: those it begins or names a part of, else those spelled alike."""
    within = [name for name in names if fnmatch.fnmatchcase(name, f"{glob}*")]
    within = within or [name for name in names if fnmatch.fnmatchcase(name, f"*{glob}*")]
    near = within or difflib.get_close_matches(glob.replace("*", ""), names, CLOSEST, cutoff=0.3) or names
    shown = ", ".join(repr(name) if name else "(root)" for name in near[:CLOSEST])
    more = f" and {len(near) - CLOSEST} more" if len(near) > CLOSEST else ""
    return f"the closest are {shown}{more}, and a * stands for anything"


def _tree_masks(params: PyTree, named: list, restrict: PyTree, argument: str) -> list:
    masks, structure = jax.tree.flatten(restrict)
    if structure != jax.tree.structure(params):
        raise InputError(
            f"{argument} has the tree structure {structure}, but a pytree of masks must be shaped like "
            f"params ({jax.tree.structure(params)}); pass a glob, a function (path, leaf) -> mask, or a "
            "matching pytree."
        )
    for (name, leaf), mask in zip(named, masks, strict=True):
        if np.ndim(mask) and np.shape(mask) != np.shape(leaf):
            raise InputError(
                f"{argument} has a mask of shape {np.shape(mask)} for {name or 'params'} of shape "
                f"{np.shape(leaf)}, but each mask must be one boolean or have its parameter's shape; reshape "
                "it."
            )
    return masks


def _any(masks: tuple) -> Any:
    """Return where any mask is true; masks are booleans or arrays of one shape."""
    return np.logical_or.reduce(np.broadcast_arrays(*masks))


def _simplify(mask: Any) -> np.ndarray | bool:
    mask = np.asarray(mask, dtype=bool)
    if mask.all() or not mask.any():
        return bool(mask.all())
    return mask


def _is_float(leaf: Any) -> bool:
    return jax.numpy.issubdtype(jax.numpy.result_type(leaf), jax.numpy.floating)


def _share(row: Component) -> str:
    return f"{row.selected:,}" if row.selected == row.size else f"{row.selected:,} of {row.size:,}"
