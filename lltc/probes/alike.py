"""Refusing two checkpoints, or two posteriors, that a probe cannot compare."""

import jax
import numpy as np

from lltc.errors import InputError
from lltc.posterior.components import path_name
from lltc.posterior.target import LocalPosterior
from lltc.types import PyTree


def check_same_network(before: PyTree, after: PyTree) -> None:
    """Refuse checkpoints whose leaves differ."""
    shapes = [
        {path_name(path): np.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
        for params in (before, after)
    ]
    old, new = shapes
    strange = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if strange or jax.tree.structure(before) != jax.tree.structure(after):
        name = strange[0] if strange else ""
        raise InputError(
            f"before and after must be checkpoints of one network, but {name or 'their tree'} is "
            f"{old.get(name, 'missing')} in one and {new.get(name, 'missing')} in the other; pass two steps "
            "of one run."
        )


def check_same_posterior(old: LocalPosterior, new: LocalPosterior) -> None:
    """Refuse posteriors that differ in more than the checkpoint."""
    check_same_network(old.params, new.params)
    one, other = old.target, new.target
    moved = one.layout.moved == other.layout.moved
    alike = {
        "restrict": moved and np.array_equal(_chosen(old), _chosen(new)),
        "linear": one.linear == other.linear,
        "weight_decay": one.weight_decay == other.weight_decay,
        "number of examples in data": old.data.size == new.data.size,
    }
    for name, same in alike.items():
        if not same:
            raise InputError(
                f"the posteriors before and after have another {name} each, but a probe compares checkpoints "
                "alone; give both the same."
            )
    if (old.nbeta, old.localization) != (new.nbeta, new.localization):
        raise InputError(
            f"the posteriors before and after have nβ {old.nbeta:g} and {new.nbeta:g}, γ "
            f"{old.localization:g} and {new.localization:g}, but a probe compares at one nβ and one γ; "
            "pass them to both."
        )


def _chosen(posterior: LocalPosterior) -> np.ndarray:
    """Return which of the parameters move, -1 for all."""
    index = posterior.center.chosen
    return np.array([-1]) if index is None else np.asarray(index)
