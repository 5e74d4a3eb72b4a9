"""What a sweep will do: checkpoints in order, settings fixed once for all, and the hash of it all."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lltc.checkpoints import Checkpoint, find_checkpoints
from lltc.components import Restriction
from lltc.data import Data, as_data
from lltc.errors import CheckpointError, InputError
from lltc.posterior import LocalPosterior, Model, local_posterior
from lltc.sweeps.fingerprint import (
    fingerprint_data,
    fingerprint_model,
    fingerprint_params,
    fingerprint_settings,
)

PyTree = Any
Checkpoints = str | Path | Iterable[Checkpoint] | Iterable[tuple[int, PyTree]]


@dataclass(frozen=True)
class Task:
    """One checkpoint to estimate: its `step`, how to `load` its params, and a hash of its content."""

    step: int
    load: Callable[[], PyTree]
    fingerprint: Callable[[], str]


@dataclass(frozen=True)
class Plan:
    """Everything one sweep needs: tasks in step order, arguments of `estimate_llc`, recorded settings."""

    tasks: tuple[Task, ...]
    model: Model
    data: Data
    options: dict[str, Any]
    key: jax.Array
    observables: Mapping[str, Callable[[PyTree], Any]]
    settings: dict[str, Any]

    @property
    def configuration(self) -> str:
        """A hash of all that defines the numbers, besides the checkpoint itself."""
        return fingerprint_settings(self.settings)


def checkpoint_key(key: jax.Array | int, step: int) -> jax.Array:
    """Return the key a sweep with `key` uses at `step`: independent noise at every checkpoint."""
    return jax.random.fold_in(jax.random.key(key) if isinstance(key, int | np.integer) else key, step)


def make_tasks(
    checkpoints: Checkpoints, *, params_key: str | None, template: PyTree | None
) -> tuple[Task, ...]:
    """Return one task a checkpoint in step order, from a folder, records or `(step, params)` pairs."""
    if isinstance(checkpoints, str | Path):
        found: list = list(find_checkpoints(checkpoints, params_key=params_key))
    else:
        found = list(checkpoints)
    tasks = [_task(item, template) for item in found]
    if not tasks:
        raise InputError(
            "checkpoints holds none, but a sweep needs at least one; pass a folder or (step, params) pairs."
        )
    steps = [task.step for task in tasks]
    if len(set(steps)) < len(steps):
        twice = sorted({step for step in steps if steps.count(step) > 1})
        raise InputError(
            f"checkpoints names step {twice[0]} more than once, but every step must be one checkpoint; "
            "remove one."
        )
    return tuple(sorted(tasks, key=lambda task: task.step))


def make_plan(
    tasks: tuple[Task, ...],
    model: Model,
    data: PyTree | Data,
    *,
    key: jax.Array | int,
    recorded: dict[str, Any] | None,
    observables: Mapping[str, Callable[[PyTree], Any]],
    **options: Any,
) -> Plan:
    """Fix nβ and γ once, from the last readable checkpoint unless given or recorded; gather the settings."""
    data = as_data(data)
    key = jax.random.key(key) if isinstance(key, int | np.integer) else key
    for name in ("nbeta", "localization"):
        if options[name] is None and recorded:
            options[name] = recorded["options"][name]
    params, posterior = _reference(tasks, model, data, options)
    options |= {
        "nbeta": posterior.nbeta,
        "localization": posterior.localization,
        "batch_size": posterior.batch_size,
    }
    settings = {
        "options": {name: _describe(value) for name, value in options.items()},
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "model": fingerprint_model(model, params, data),
        "data": fingerprint_data(data),
        "num_examples": data.size,
        "observables": sorted(observables),
        "versions": _versions(),
    }
    return Plan(tasks, model, data, options, key, observables, settings)


def _task(item: Any, template: PyTree | None) -> Task:
    if isinstance(item, Checkpoint):
        return Task(item.step, lambda: item.load(template), item.fingerprint)
    try:
        step, params = item
        step = int(step)
    except (TypeError, ValueError):
        raise InputError(
            f"checkpoints holds a {type(item).__name__}, but a folder, lltc.find_checkpoints' records or "
            "(step, params) pairs are "
            "allowed; pass one of these."
        ) from None
    return Task(step, lambda: params, lambda: fingerprint_params(params))


def _reference(
    tasks: tuple[Task, ...], model: Model, data: Data, options: dict[str, Any]
) -> tuple[PyTree, LocalPosterior]:
    """Return the last checkpoint that can be read, and its posterior."""
    chosen = {name: options[name] for name in ("nbeta", "localization", "batch_size", "restrict")}
    first_error: CheckpointError | None = None
    for task in reversed(tasks):
        try:
            params = task.load()
        except CheckpointError as error:
            first_error = first_error or error
            continue
        return params, local_posterior(model, params, data, **chosen)
    raise first_error or InputError("checkpoints holds none that can be read; check the folder.")


def _describe(value: Restriction | Any) -> Any:
    """Return `value` as JSON holds it; functions and masks by what they are."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return list(value)
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"
    return fingerprint_params(value)


def _versions() -> dict[str, str]:
    import lltc

    return {"lltc": lltc.__version__, "jax": jax.__version__, "numpy": np.__version__}
