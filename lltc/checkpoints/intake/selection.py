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


_OPTIMIZER = re.compile(r"(?:^|_)optimizers?(?:_|[A-Z]|$)|^opt(?:im)?_states?(?:_|$)")
# Beside a model's key these are a training state's, too; alone they may be layers.
_TRAINER = re.compile(r"^opt(?:im)?(?:_|[A-Z]|$)|^(?:lr_)?schedulers?(?:_state_dict)?$")
_RANDOM_KEYS = _words("rng rngs key prng_key")
_COUNTER_KEYS = _RANDOM_KEYS | _words(
    "step steps global_step global_steps epoch epochs iter iteration iterations count n_averaged loss "
    "val_loss train_loss best_loss best_acc acc lr dp_world_size mp_world_size"
)
_STATE_DICTS = ("state_dict", "model_state_dict", "model_state")
_MODEL_KEYS = ("params", "model", "module", "net", "network", "weights", "variables", *_STATE_DICTS)
# Keras names what the optimizer, the metrics and the running statistics own, and so what it trains.
_KERAS_KEY = "trainable_variables"
_STATISTICS = ("batch_stats", "non_trainable_variables")
# Where Lightning and OpenMMLab put the weights that are trained while "state_dict" holds their average.
_SWAPPED = (("current_model_state", "state_dict"), ("ema_state_dict", "message_hub"))
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
    while (inner := _state_within(tree)) is not None:
        tree = inner
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
    if swapped := [
        raw for raw, beside in _SWAPPED if raw in tree and beside in tree and "state_dict" in tree
    ]:
        return swapped[0]
    models = [key for key in _MODEL_KEYS if key in tree]
    trained = any(map(_is_trainers, tree))
    counted = any(_is_count(key, child) for key, child in tree.items())
    if len(models) == 1 and counted and not trained:
        _refuse_either(tree, models[0], path)
    if len(models) == 1 and (trained or counted or (is_wrapper and models[0] in _STATE_DICTS)):
        return models[0]
    if (len(models) > 1 and (trained or counted)) or any(map(_OPTIMIZER.search, tree)):
        raise CheckpointError(
            f"Checkpoint '{path}' holds a training state ({_listing(tree)}) in which the parameters are not "
            "named 'params'; pass params_key with the name of the part that holds them."
        )
    return None if isinstance(tree, Container) else _raw_twin(tree)


def _state_within(tree: Any) -> dict[str, Any] | None:
    """Return the one child of a tree that is a training state, where nothing else in it is of the model."""
    if not isinstance(tree, dict):
        return None
    states = [key for key, child in tree.items() if _is_state(child)]
    others = [key for key in tree if key not in (*states, *_COUNTER_KEYS) and not _is_trainers(key)]
    return tree[states[0]] if len(states) == 1 and not others else None


def _is_trainers(key: str) -> bool:
    """Tell whether a key is that of an optimizer or of what drives it."""
    return bool(_OPTIMIZER.search(key) or _TRAINER.search(key))


def _is_count(key: str, leaf: Any) -> bool:
    """Tell whether a leaf is a number that training counts by, or a random key, and no parameter."""
    if key not in _COUNTER_KEYS or isinstance(leaf, dict):
        return False
    shape, kind = getattr(leaf, "shape", ()), str(getattr(leaf, "dtype", "uint"))
    return shape in ((), (1,)) or (key in _RANDOM_KEYS and "uint" in kind)


def _refuse_either(tree: Mapping[str, Any], model: str, path: Path) -> None:
    """Refuse what may be a training state with more in it, or a network of which a part is so called."""
    for key, child in tree.items():
        known = key == model or key in (*_COUNTER_KEYS, *_STATISTICS) or _AVERAGED.search(key)
        if not known and _holds_weights(child):
            raise CheckpointError(
                f"Checkpoint '{path}' holds '{printable(key, 60)}' beside '{model}' and a count: it may be "
                f"a training state or all parameters; pass params_key='{model}' for that part, or '' for all."
            )


def _holds_weights(tree: Any) -> bool:
    if isinstance(tree, dict | list):
        return any(map(_holds_weights, tree.values() if isinstance(tree, dict) else tree))
    return len(getattr(tree, "shape", None) or ()) > 0 and "float" in str(getattr(tree, "dtype", ""))


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
    swapped = any(chosen == raw for raw, _ in _SWAPPED)
    for key, child in tree.items():
        name = printable(key, 80)
        if key == chosen or not isinstance(child, dict) or _is_empty(child):
            continue
        if key == "state_dict" if swapped else _AVERAGED.search(key):
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
    if _KERAS_KEY in tree or ("params" in tree and _COUNTER_KEYS & tree.keys()):
        return True
    if "params" in tree and any(map(_OPTIMIZER.search, tree)):
        return True
    models = [key for key in _MODEL_KEYS if isinstance(tree.get(key), dict)]
    return len(models) == 1 and any(isinstance(tree[key], dict | list) for key in tree if _is_trainers(key))


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
