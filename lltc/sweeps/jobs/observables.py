"""Observables: functions of params, and sub-losses on named data; their values at one checkpoint."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.posterior.checks import check_model, comparison, hashable
from lltc.posterior.data import Data, as_data
from lltc.posterior.fingerprint import (
    fingerprint_data,
    fingerprint_function,
    fingerprint_model,
    fingerprint_settings,
)
from lltc.posterior.tokens import example_losses
from lltc.sweeps.jobs.handover import hand_over
from lltc.sweeps.store.settings import is_free_name
from lltc.types import LossFn, PyTree

Function = Callable[[PyTree], Any]
Observables = Mapping[str, Function | PyTree | Data | slice]
Value = float | list[float]
LONGEST = 64
BLOCK = 4096


@dataclass(frozen=True, eq=False)
class SubLoss:
    """The mean loss of `model` over `data`, in nats, as a function of params."""

    model: LossFn
    data: Data

    def __call__(self, params: PyTree) -> jax.Array:
        """Return the mean loss at `params`."""
        blocks = self.data.blocks(BLOCK)
        return sum((_total(self.model, params, block) for block in blocks), jnp.zeros(())) / self.data.size

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model, "data": hand_over(self.data)}


def task_loss(model: LossFn) -> LossFn | None:
    """Return the loss (params, batch) -> losses of a model; a behavioral one's is the task's, or None."""
    return getattr(model, "loss", None) if comparison(model) else model


def name_observables(given: Observables | None, model: LossFn, data: Data) -> dict[str, Function]:
    """Return observables as functions of params, by name in order; data sets become sub-losses.

    Raises `InputError` for names that cannot be a curve's variables, and for what is neither a function nor a
    data set.
    """
    if not isinstance(given or {}, Mapping):
        raise InputError(
            f"observables must be a mapping of names to functions or data sets, but a {type(given).__name__} "
            'was given; pass such as {"accuracy": function, "rare": examples}.'
        )
    for name in given or {}:
        if not is_free_name(name):
            raise InputError(
                f"observables names {name!r}, but a name must be a text that is no variable of the curve "
                "already and does not end in a number in brackets; choose another."
            )
    return {name: _as_function(name, value, model, data) for name, value in sorted((given or {}).items())}


def fingerprint_observable(name: str, function: Function, params: PyTree) -> str:
    """Return a hash of what an observable computes, once it is known to give numbers at `params`."""
    try:
        if isinstance(function, SubLoss):
            check_model(function.model, params, function.data, function.data.size)
        evaluate(name, function, params)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"observables[{name!r}] failed on a checkpoint ({type(error).__name__}: {error}), but it must "
            "turn params into one number or a vector; try it on one checkpoint's params."
        ) from error
    if not isinstance(function, SubLoss):
        return fingerprint_function(function, params)
    program = fingerprint_model(function.model, params, function.data)
    return fingerprint_settings({"model": program, "data": fingerprint_data(function.data)})


def check_along_chains(names: Sequence[str], functions: Mapping[str, Function]) -> tuple[str, ...]:
    """Return the names of observables to be evaluated along the chains; refuse what is no observable."""
    chosen = (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in chosen if name not in functions or "/" in name]
    if unknown:
        raise InputError(
            f"along_chains names {unknown[0]!r}, but it may name observables (here "
            f"{', '.join(functions) or 'none'}) whose name has no slash; name some of them."
        )
    return tuple(sorted(set(chosen)))


def fingerprint_traced(name: str, function: Function, params: PyTree) -> str:
    """Return the hash of an observable that JAX can trace, as chains need it; refuse any other."""
    try:
        jax.eval_shape(function, params)
    except Exception as error:
        raise InputError(
            f"along_chains names {name!r}, which JAX cannot trace ({type(error).__name__}); write it with "
            "jax.numpy only, or evaluate it at the checkpoints alone."
        ) from error
    return fingerprint_observable(name, function, params)


def evaluate(name: str, function: Function, params: PyTree) -> Value:
    """Return an observable's number at `params`, or its vector as a list; refuse any other shape."""
    value = np.asarray(function(params), dtype=float)
    if value.size == 1:
        return float(value.reshape(()))
    if value.ndim != 1 or not 0 < value.size <= LONGEST:
        raise InputError(
            f"observables[{name!r}] returned shape {value.shape}, but one number, or a vector of at most "
            f"{LONGEST}, is allowed; reduce it."
        )
    return value.tolist()


def spread(name: str, values: Iterable[Value]) -> dict[str, list[float]]:
    """Return the variables an observable gives over checkpoints: one, or `name[0]`, `name[1]`, … of a vector.

    Example:
        >>> spread("a", [1.0, 2.0]), spread("b", [[1.0, 2.0], float("nan")])
        ({'a': [1.0, 2.0]}, {'b[0]': [1.0, nan], 'b[1]': [2.0, nan]})
    """
    rows = list(values)
    vectors = [value for value in rows if isinstance(value, list)]
    if not vectors:
        return {name: [float(value) for value in rows if not isinstance(value, list)]}
    width = max(map(len, vectors))
    table = [value if isinstance(value, list) else [] for value in rows]
    return {
        f"{name}[{place}]": [row[place] if place < len(row) else float("nan") for row in table]
        for place in range(width)
    }


def _as_function(name: str, value: Any, model: LossFn, data: Data) -> Function:
    if callable(value):
        return value
    loss = task_loss(model)
    if loss is None:
        raise InputError(
            f"observables[{name!r}] is a data set, whose sub-loss needs the task's loss, but a behavioral "
            "model without one was given; pass lltc.behavioral(…, loss=…)."
        )
    try:
        chosen = _rows(data, value) if isinstance(value, slice) else as_data(value)
    except InputError as error:
        raise InputError(
            f"observables[{name!r}] is neither a function of params nor a data set: {error}"
        ) from error
    return SubLoss(hashable(loss), chosen)


def _rows(data: Data, chosen: slice) -> Data:
    rows = np.arange(data.size)[chosen]
    if not len(rows):
        raise InputError(f"{chosen} takes none of the {data.size} examples; choose others.")
    return as_data(data.batch(rows))


@partial(jax.jit, static_argnums=0)
def _total(model: LossFn, params: PyTree, batch: PyTree) -> jax.Array:
    """Return the sum of the losses over a batch, also where the model returns their mean."""
    return jnp.mean(example_losses(model(params, batch))) * len(jax.tree.leaves(batch)[0])
