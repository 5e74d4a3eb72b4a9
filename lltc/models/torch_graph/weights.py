"""A module's weights as a pytree that knows which names are one array, and which arrays never move."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax

from lltc.errors import InputError


@jax.tree_util.register_pytree_with_keys_class
class Weights(dict[str, Any]):
    """The arrays of a state_dict as nested dicts, split at the dots of their names.

    Attributes:
        tied: other names of some arrays, "head/weight" and the like, with the name each array goes by; a
            checkpoint may hold either or both.
        held: the names that never move: buffers and frozen parameters. A checkpoint that lacks a buffer
            leaves it as the module has it.
        spelled: what the network's own files of weights call its arrays, each with its name here, or None
            where the network has no use for it.

    Example:
        >>> weights = Weights.nest({"fc.weight": 1.0, "norm.running_mean": 0.0}, held=["norm.running_mean"])
        >>> weights, sorted(weights.held)
        ({'fc': {'weight': 1.0}, 'norm': {'running_mean': 0.0}}, ['norm/running_mean'])
        >>> jax.tree.map(lambda x: x + 1, weights).held == weights.held
        True
    """

    tied: dict[str, str]
    held: frozenset[str]
    spelled: dict[str, str | None]

    @classmethod
    def nest(
        cls,
        arrays: Mapping[str, Any],
        *,
        tied: Mapping[str, str] | None = None,
        held: Iterable[str] = (),
        spelled: Mapping[str, str | None] | None = None,
    ) -> "Weights":
        """Return the weights of arrays by their dotted names; the others are spelled alike."""
        tree = cls()
        for name, array in arrays.items():
            *path, last = name.split(".")
            level: dict[str, Any] = tree
            for key in path:
                level = level.setdefault(key, {})
            level[last] = array
        tree.tied = {_slashed(alias): _slashed(name) for alias, name in (tied or {}).items()}
        tree.held = frozenset(map(_slashed, held))
        tree.spelled = {_slashed(name): own and _slashed(own) for name, own in (spelled or {}).items()}
        return tree

    def tree_flatten_with_keys(self) -> tuple[tuple, Any]:
        """Return the children by key, and what is no array."""
        keys = tuple(sorted(self))
        children = tuple((jax.tree_util.DictKey(key), self[key]) for key in keys)
        spelled = tuple(sorted(self.spelled.items()))
        return children, (keys, tuple(sorted(self.tied.items())), self.held, spelled)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Iterable[Any]) -> "Weights":
        """Return weights with other children."""
        keys, tied, held, spelled = static
        tree = cls(zip(keys, children, strict=True))
        tree.tied, tree.held, tree.spelled = dict(tied), held, dict(spelled)
        return tree


def _slashed(name: str) -> str:
    return name.replace(".", "/")


def _dotted(name: str) -> str:
    return name.replace("/", ".")


def by_name(params: Any, template: Weights) -> dict[str, Any]:
    """Return the arrays of `params` by all their dotted names; buffers it lacks come from `template`.

    Raises:
        InputError: names are missing or unknown, or `params` is a plain dict in which buffers would move.
    """
    arrays, own = _named(params), _named(template)
    held = set(map(_dotted, template.held))
    missing, unknown = sorted(set(own) - set(arrays) - held), sorted(set(arrays) - set(own))
    if missing or unknown:
        raise InputError(
            f"params do not fit the module: missing {missing[:8]}, unknown {unknown[:8]}; start from "
            "model.params, or load a checkpoint with it as the template."
        )
    if not isinstance(params, Weights) and held & set(arrays):
        raise InputError(
            f"params is a plain {type(params).__name__}, in which {sorted(held & set(arrays))[:8]} would "
            "move with the weights: load checkpoints with template=model.params, or leave those names out."
        )
    whole = {name: arrays.get(name, array) for name, array in own.items()}
    return whole | {_dotted(alias): whole[_dotted(name)] for alias, name in template.tied.items()}


def _named(params: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
