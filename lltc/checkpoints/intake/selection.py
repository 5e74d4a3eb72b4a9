"""Which part of a checkpoint's tree holds the parameters; what else of a model is there is said to be."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lltc.checkpoints.intake.messages import printable
from lltc.checkpoints.intake.tree import WRAPPERS, Container
from lltc.errors import CheckpointError, LLCWarning


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OPTIMIZER_KEYS = _words(
    "opt_state opt_states optimizer optimizers optimizer_state optimizer_states optimizer_state_dict "
    "optimizer_variables"
)
# Beside a model's key these are a training state's, too; alone they may be layers.
_TRAINER_KEYS = _words("opt optim lr_scheduler lr_schedulers scheduler_state_dict")
_COUNTER_KEYS = _words(
    "step steps global_step global_steps epoch epochs iter iteration iterations count n_averaged loss "
    "val_loss train_loss best_loss best_acc acc lr rng rngs key prng_key dp_world_size mp_world_size"
)
_STATE_DICTS = ("state_dict", "model_state_dict", "model_state")
_MODEL_KEYS = ("params", "model", "module", "net", "network", "weights", "variables", *_STATE_DICTS)
# Keras names what the optimizer, the metrics and the running statistics own, and so what it trains.
_KERAS_KEY = "trainable_variables"
_STATISTICS = ("batch_stats", "non_trainable_variables")
_AVERAGED = re.compile(r"(?<![a-z])(ema|swa|averaged?|shadow)(?![a-z])", re.IGNORECASE)


def select_params(tree: Any, params_key: str | None, path: Path) -> Any:
    """Return the part of a checkpoint's `tree` that holds the parameters.

    With `params_key` ("params", "state/params") that sub-tree; without it the model's part of a training
    state, never the optimizer's, and the whole tree where there is no training state. Running statistics and
    averaged weights that stay behind are told by an `LLCWarning`.
    """
    if _is_empty(tree):
        raise CheckpointError(
            f"Cannot read checkpoint '{path}': it holds no array; delete it or copy it again."
        )
    tree = _unwrap(tree)
    if params_key is not None:
        return _walk(tree, [part for part in params_key.split("/") if part], params_key, path)
    while isinstance(tree, dict) and len(tree) == 1 and _is_state(child := next(iter(tree.values()))):
        tree = child
    if not isinstance(tree, dict):
        return tree
    chosen = _choose(tree, path)
    if chosen is None:
        return tree
    _tell_others(tree, chosen, path)
    inner = tree[chosen]
    # Some put the state dict into a dict of its own, with numbers that describe it.
    nested = [key for key in _STATE_DICTS if isinstance(inner, dict) and isinstance(inner.get(key), dict)]
    return inner[nested[0]] if len(nested) == 1 else inner


def _choose(tree: dict[str, Any], path: Path) -> str | None:
    """Return the key of the parameters, None where the tree is nothing but parameters."""
    # A container that is noted is given back as it was saved.
    is_wrapper = len(tree) == 1 and not isinstance(tree, Container)
    if "params" in tree and (is_wrapper or _is_state(tree)):
        return "params"
    if _KERAS_KEY in tree and tree.keys() & {"optimizer_variables", "metrics_variables", *_STATISTICS}:
        return _KERAS_KEY
    models = [key for key in _MODEL_KEYS if key in tree]
    counted = any(not isinstance(tree.get(key, {}), dict) for key in _COUNTER_KEYS)
    is_training = bool(counted or (_OPTIMIZER_KEYS | _TRAINER_KEYS) & tree.keys())
    if len(models) == 1 and (is_training or (is_wrapper and models[0] in _STATE_DICTS)):
        return models[0]
    if (len(models) > 1 and is_training) or _OPTIMIZER_KEYS & tree.keys():
        raise CheckpointError(
            f"Checkpoint '{path}' holds a training state ({_listing(tree)}) in which the parameters are not "
            "named 'params'; pass params_key with the name of the part that holds them."
        )
    return None if isinstance(tree, Container) else _raw_twin(tree)


def _raw_twin(tree: Mapping[str, Any]) -> str | None:
    """Return the key of the weights that another key holds the average of: the two are alike in all names."""
    averaged = [key for key in tree if _AVERAGED.search(key) and isinstance(tree[key], dict)]
    for key in averaged:
        others = [other for other in tree if other not in averaged and _alike(tree[other], tree[key])]
        if len(others) == 1:
            return others[0]
    return None


def _alike(one: Any, other: Any) -> bool:
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return not (isinstance(one, dict) or isinstance(other, dict))
    return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)


def _tell_others(tree: Mapping[str, Any], chosen: str, path: Path) -> None:
    """Say which averaged weights and running statistics lie beside the parameters and are not read."""
    for key, child in tree.items():
        name = printable(key, 80)
        if key == chosen or not isinstance(child, dict) or _is_empty(child):
            continue
        if _AVERAGED.search(key):
            sentence = (
                f"averaged weights ('{name}') beside '{chosen}', which is read; pass params_key='{name}' for "
                "the averaged ones."
            )
        elif key in _STATISTICS:
            sentence = (
                f"running statistics ('{name}') beside '{chosen}', and they are not read: the model uses its "
                "own. To use each checkpoint's, pass params_key='', a template that has both, and ignore for "
                "the rest."
            )
        else:
            continue
        # Without the file's name it is said once for all checkpoints of a folder.
        warnings.warn(f"Checkpoints in '{path.parent}' hold {sentence}", LLCWarning, stacklevel=2)


def _unwrap(tree: Any) -> Any:
    """Return the tree without the levels that PyTorch's wrappers put into it."""
    if isinstance(tree, list):
        return [_unwrap(child) for child in tree]
    if not isinstance(tree, dict) or isinstance(tree, Container):
        return tree
    if len(tree) == 1 and (key := next(iter(tree))) in WRAPPERS and isinstance(tree[key], dict):
        return _unwrap(tree[key])
    return {key: _unwrap(child) for key, child in tree.items()}


def _is_empty(tree: Any) -> bool:
    children = list(tree.values()) if isinstance(tree, dict) else tree
    return tree is None or (isinstance(children, list) and all(map(_is_empty, children)))


def _is_state(tree: Any) -> bool:
    """True for a training state: a dict with parameters and what else training goes on from."""
    if not isinstance(tree, dict):
        return False
    beside = _OPTIMIZER_KEYS | _COUNTER_KEYS
    return bool(("params" in tree and beside & tree.keys()) or _KERAS_KEY in tree)


def _walk(tree: Any, parts: list[str], params_key: str, path: Path) -> Any:
    if parts and isinstance(tree, dict) and len(tree) == 1 and parts[0] not in tree:
        tree = next(iter(tree.values()))
    for part in parts:
        children = dict(enumerate(tree)) if isinstance(tree, list) else tree if isinstance(tree, dict) else {}
        named = {str(key): child for key, child in children.items()}
        if part not in named and part in WRAPPERS:
            continue
        if part not in named:
            raise CheckpointError(
                f"Checkpoint '{path}' has no params_key '{params_key}': there is no '{part}' among "
                f"{_listing(dict(sorted(named.items())))}; pass one of those."
            )
        tree = named[part]
    return tree


def _listing(tree: Mapping[str, Any]) -> str:
    names = [f"'{printable(str(name), 80)}'" for name in tree]
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return shown or "nothing"
