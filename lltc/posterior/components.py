"""Naming parts of a params pytree by path, glob, slice or function, and previewing what a name selects."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lltc.errors import InputError
from lltc.posterior.masks import any_mask, checked_mask, mask_from, simplified
from lltc.posterior.patterns import pattern_masks
from lltc.posterior.ready import READY, ready_patterns
from lltc.types import PyTree

Restriction = str | Sequence[str] | Callable[[str, Any], Any] | PyTree
MOST_ROWS = 40
STATISTICS = re.compile(
    r"(^|/)(batch_stats|running_mean|running_var|num_batches_tracked|moving_mean|moving_variance"
    r"|mean_ema|var_ema)(/|$)"
)


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

    Integers, booleans and running statistics (`batch_stats`, `running_mean` and the like) never move.
    `restrict` is None (every other leaf), a pattern or a list of patterns, a function `(path, leaf) ->
    bool or boolean array`, or a pytree like `params` whose leaves are booleans or boolean arrays. "mlps",
    "layers" and "embeddings" are all of a transformer's (see `ready_components`). A pattern
    is a glob over paths, such as `"layers/*/kernel"`, in which `*` also crosses slashes; brackets of integers
    and slices at its end are NumPy's basic indexing of every leaf it names: `"layers/*/q[:,3]"` is one column
    or head. (A glob's own class of digits at the very end, `"w[12]"`, is therefore written `"w[12]*"`.)
    What the weights of a model themselves hold, such as the buffers of a PyTorch module, is never selected.

    Raises:
        InputError: when nothing is selected, a pattern matches no path, or its brackets do not fit a leaf;
            `argument` is what it calls `restrict`.

    Example:
        >>> chosen = select({"a": np.zeros(2), "b": np.zeros((2, 3))}, ["a", "b[:,1]"])
        >>> chosen[0], chosen[1].tolist()
        (True, [[False, True, False], [False, True, False]])
    """
    named = [(path_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)]
    chosen = [simplified(mask) for mask in _masks(params, named, restrict, argument)]
    held = getattr(params, "held", ())
    moves = [can_move(*leaf) and leaf[0] not in held for leaf in named]
    chosen = [mask if able else False for able, mask in zip(moves, chosen, strict=True)]
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


def ready_components(params: PyTree, kind: str, *, num_heads: int | None = None) -> dict[str, list[str]]:
    """Return the components of a transformer by name, each a list of patterns as `restrict` takes them.

    They are known by the names that GPT-NeoX, GPT-2, Llama, Mistral, Qwen, Gemma, BERT, ViT and
    TransformerLens give their parameters, as a `state_dict` does. Masks and tables that older checkpoints
    hold among the weights are left out.

    Args:
        params: a pytree with such names, nested or flat.
        kind: "heads": each head's queries, keys, values and its part of the output, but for the bias all
            heads share; keys and values that several heads share are a "group". "mlps": one a layer.
            "layers": all of a layer's parameters. "embeddings": of tokens, positions, types, patches, and
            the unembedding.
        num_heads: the heads of a layer (`num_attention_heads` of a config.json); not needed where a
            parameter has an axis of heads, as TransformerLens's have.

    Raises:
        InputError: the names are of no family that is known, or `num_heads` is missing or does not fit.

    Example:
        >>> weights = {"q_proj": np.zeros((8, 8)), "k_proj": np.zeros((4, 8)), "o_proj": np.zeros((8, 8))}
        >>> params = {"layers": [{"self_attn": {name: {"weight": w} for name, w in weights.items()}}]}
        >>> heads = ready_components(params, "heads", num_heads=4)
        >>> list(heads)[:3], heads["layer0/head1"][1]
        (['layer0/group0', 'layer0/group1', 'layer0/head0'], 'layers/0/self_attn/q_proj/weight[2:4]')
    """
    if kind not in READY:
        raise InputError(
            f"kind must be one of {', '.join(READY)}, but {kind!r} was given; pass one of these."
        )
    if num_heads is not None and (
        isinstance(num_heads, bool) or not isinstance(num_heads, int) or num_heads < 1
    ):
        raise InputError(f"num_heads must be an integer ≥ 1, but {num_heads!r} was given; pass one.")
    return ready_patterns(kind, _shapes(params), num_heads)


def name_components(
    components: Mapping[str, Restriction] | Sequence[str] | str,
    params: PyTree = None,
    *,
    num_heads: int | None = None,
) -> dict[str, Restriction]:
    """Return components by name; patterns given without names are their own names.

    With `params`, each of `ready_components`' kinds that is no path of theirs becomes its components.

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
    return named if params is None else _made_ready(named, _shapes(params), num_heads)


def _made_ready(
    named: Mapping[str, Restriction], shapes: Mapping[str, tuple[int, ...]], num_heads: int | None
) -> dict[str, Restriction]:
    made: dict[str, Restriction] = {}
    for name, pattern in named.items():
        kind = pattern if isinstance(pattern, str) else None
        if kind in READY and kind not in shapes:
            made |= ready_patterns(kind, shapes, num_heads)
        else:
            made[name] = pattern
    return made


def _shapes(params: PyTree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {path_name(path): np.shape(leaf) for path, leaf in leaves}


def _masks(params: PyTree, named: list, restrict: Restriction | None, argument: str) -> list:
    if restrict is None:
        return [True] * len(named)
    if isinstance(restrict, str):
        return pattern_masks(named, restrict, argument)
    if isinstance(restrict, list | tuple) and restrict and all(isinstance(item, str) for item in restrict):
        each = [pattern_masks(named, pattern, argument) for pattern in restrict]
        return [any_mask(masks) for masks in zip(*each, strict=True)]
    if callable(restrict) and jax.tree_util.all_leaves([restrict]):
        return [mask_from(restrict, name, leaf, argument) for name, leaf in named]
    return _tree_masks(params, named, restrict, argument)


def _tree_masks(params: PyTree, named: list, restrict: PyTree, argument: str) -> list:
    masks, structure = jax.tree.flatten(restrict)
    if structure != jax.tree.structure(params):
        raise InputError(
            f"{argument} has the tree structure {structure}, but a pytree of masks must be shaped like "
            f"params ({jax.tree.structure(params)}); pass a glob, a function (path, leaf) -> mask, or a "
            "matching pytree."
        )
    return [checked_mask(mask, name, leaf, argument) for (name, leaf), mask in zip(named, masks, strict=True)]


def can_move(name: str, leaf: Any) -> bool:
    """True for real and complex numbers that are no running statistics."""
    return jax.numpy.issubdtype(jax.numpy.result_type(leaf), jax.numpy.inexact) and not is_statistic(name)


def is_statistic(name: str) -> bool:
    """True for the path of a running average, which training does not learn by gradients.

    Example:
        >>> is_statistic("batch_stats/bn/mean"), is_statistic("layer1/running_var"), is_statistic("mean")
        (True, True, False)
    """
    return STATISTICS.search(name) is not None


def _share(row: Component) -> str:
    return f"{row.selected:,}" if row.selected == row.size else f"{row.selected:,} of {row.size:,}"
