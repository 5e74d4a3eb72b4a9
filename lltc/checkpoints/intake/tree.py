"""Trees of parameters: names to nested dicts and back, and the part that holds the parameters."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.messages import printable
from lltc.errors import CheckpointError

OPTIMIZER_KEYS = frozenset(
    {"opt_state", "opt_states", "optimizer", "optimizer_state", "optimizer_states", "optimizer_state_dict"}
)
COUNTER_KEYS = frozenset(
    {"step", "global_step", "epoch", "iteration", "count", "rng", "rngs", "key", "prng_key"}
)
MODEL_KEYS = ("params", "model", "state_dict", "model_state_dict", "model_state", "weights", "variables")


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
        return {key: map_leaves(function, value) for key, value in tree.items()}
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


def select_params(tree: Any, params_key: str | None, path: Path) -> Any:
    """Return the part of a checkpoint's `tree` that holds the parameters.

    With `params_key` ("params", "state/params") that sub-tree; without it the model's part of a training
    state, never the optimizer's, and the whole tree where there is no training state.
    """
    if _is_empty(tree):
        raise CheckpointError(
            f"Cannot read checkpoint '{path}': it holds no array; delete it or copy it again."
        )
    if params_key is not None:
        return _walk(tree, [part for part in params_key.split("/") if part], params_key, path)
    while (
        isinstance(tree, dict) and len(tree) == 1 and _is_training_state(child := next(iter(tree.values())))
    ):
        tree = child
    if not isinstance(tree, dict):
        return tree
    if "params" in tree and (len(tree) == 1 or _is_training_state(tree)):
        return tree["params"]
    models = [key for key in MODEL_KEYS if key in tree]
    counted = any(not isinstance(tree.get(key, {}), dict) for key in COUNTER_KEYS)
    if len(models) == 1 and (counted or OPTIMIZER_KEYS & tree.keys()):
        return tree[models[0]]
    if not OPTIMIZER_KEYS & tree.keys():
        return tree
    raise CheckpointError(
        f"Checkpoint '{path}' holds a training state ({_listing(tree)}) in which the parameters are not "
        "named 'params'; pass params_key with the name of the part that holds them."
    )


def _is_empty(tree: Any) -> bool:
    children = list(tree.values()) if isinstance(tree, dict) else tree
    return tree is None or (isinstance(children, list) and all(map(_is_empty, children)))


def _is_training_state(tree: Any) -> bool:
    return isinstance(tree, dict) and bool((OPTIMIZER_KEYS | COUNTER_KEYS) & tree.keys()) and "params" in tree


def _walk(tree: Any, parts: list[str], params_key: str, path: Path) -> Any:
    if parts and isinstance(tree, dict) and len(tree) == 1 and parts[0] not in tree:
        tree = next(iter(tree.values()))
    for part in parts:
        children = dict(enumerate(tree)) if isinstance(tree, list) else tree if isinstance(tree, dict) else {}
        named = {str(key): child for key, child in children.items()}
        if part not in named:
            raise CheckpointError(
                f"Checkpoint '{path}' has no params_key '{params_key}': there is no '{part}' among "
                f"{_listing(named)}; pass one of those."
            )
        tree = named[part]
    return tree


def _listing(tree: Mapping[str, Any]) -> str:
    names = [f"'{printable(str(name), 80)}'" for name in tree]
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return shown or "nothing"
