"""Running a plan: what is done stays, what is missing is estimated, what cannot be is flagged."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lltc.components import Restriction
from lltc.data import Data
from lltc.diagnostics import Status
from lltc.errors import InputError
from lltc.llc import TARGET_REL_SE, estimate_llc
from lltc.posterior import Model
from lltc.sweeps import store
from lltc.sweeps.plan import Checkpoints, Plan, Task, checkpoint_key, make_plan, make_tasks
from lltc.sweeps.result import Sweep

PyTree = Any


def sweep(
    checkpoints: Checkpoints,
    model: Model,
    data: PyTree | Data,
    *,
    out: str | Path,
    key: jax.Array | int = 0,
    nbeta: float | None = None,
    localization: float | None = None,
    num_chains: int = 8,
    num_draws: int | None = None,
    num_warmup: int = 1000,
    batch_size: int | None = None,
    step_size: float | None = None,
    target_rel_se: float = TARGET_REL_SE,
    restrict: Restriction | None = None,
    linear: bool = True,
    observables: Mapping[str, Callable[[PyTree], Any]] | None = None,
    params_key: str | None = None,
    template: PyTree | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Sweep:
    """Estimate the learning coefficient at every checkpoint, in step order, and mark its transitions.

    nβ and γ are fixed once for the whole sweep (defaults: n/ln n, and γ of the last checkpoint), as is
    everything but the measured step size, so that the curve compares like with like; one compilation serves
    all checkpoints. Each finished checkpoint is one file in `out`, written atomically; calling `sweep` again
    resumes. A checkpoint that cannot be read or evaluated becomes a row with status "failed" and its reason.

    Args:
        checkpoints: a folder in Orbax, safetensors or npz, records of `lltc.find_checkpoints`, or `(step,
            params)` pairs.
        model: pure `(params, batch) -> (batch,)` loss in nats, or `lltc.behavioral(…)`, for which every
            checkpoint is a minimum.
        data: the data set; see `lltc.estimate_llc`.
        out: the sweep's folder, created when missing.
        observables: functions `params -> scalar`, evaluated once at each checkpoint; each becomes a variable
            of the curve.
        params_key: where the params lie inside each checkpoint, such as "params" or "state/params".
        template: pytree the params are fitted to; default `model.params` where the model carries one.
        overwrite: start anew in an `out` made with other settings.
        Every other argument is `lltc.estimate_llc`'s.

    Returns:
        A `Sweep` with `curve`, `transitions`, `plot` and `report`.

    Raises:
        InputError: for arguments that cannot be worked with, or an `out` made with other settings, model or
        data.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> pairs = [(step, jnp.full(2, float(step))) for step in (0, 1, 2)]
        >>> loss = lambda w, x: 0.5 * jnp.sum((w - x) ** 2, -1)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     swept = sweep(pairs, loss, jnp.zeros((9, 2)), out=out, num_draws=100, progress=False)
        >>> swept.curve.sizes["step"]
        3
    """
    folder = Path(out)
    if template is None:
        template = getattr(model, "params", None)
    tasks = make_tasks(checkpoints, params_key=params_key, template=template)
    recorded = None if overwrite or not (folder / store.SETTINGS).exists() else store.read_settings(folder)
    plan = make_plan(
        tasks,
        model,
        data,
        key=key,
        recorded=recorded,
        observables=dict(observables or {}),
        nbeta=nbeta,
        localization=localization,
        num_chains=num_chains,
        num_draws=num_draws,
        num_warmup=num_warmup,
        batch_size=batch_size,
        step_size=step_size,
        target_rel_se=target_rel_se,
        restrict=restrict,
        linear=linear,
    )
    if recorded is not None:
        _check_same(folder, recorded, plan.settings)
    folder.mkdir(parents=True, exist_ok=True)
    store.write_settings(folder, plan.settings)
    _run(plan, folder, progress)
    return _finished(folder, plan)


def _run(plan: Plan, folder: Path, progress: bool) -> None:
    from tqdm.auto import tqdm

    for task in tqdm(plan.tasks, desc="sweep", unit="checkpoint", disable=not progress, leave=False):
        try:
            identity = {"configuration": plan.configuration, "checkpoint": task.fingerprint()}
            if not _is_done(folder, task, identity):
                _estimate(plan, task, folder, identity)
        except InputError as error:
            identity = {"configuration": plan.configuration, "checkpoint": ""}
            store.write_failure(folder, task.step, " ".join(str(error).split()), identity)


def _is_done(folder: Path, task: Task, identity: dict[str, Any]) -> bool:
    path = store.result_path(folder, task.step)
    row = store.read_row(path) if path.exists() else None
    return row is not None and all(row[name] == value for name, value in identity.items())


def _estimate(plan: Plan, task: Task, folder: Path, identity: dict[str, Any]) -> None:
    params = task.load()
    seen = {name: _scalar(name, function(params)) for name, function in plan.observables.items()}
    estimate = estimate_llc(
        plan.model, params, plan.data, key=checkpoint_key(plan.key, task.step), progress=False, **plan.options
    )
    if estimate.status is Status.interrupted:
        raise KeyboardInterrupt
    store.write_result(folder, task.step, estimate, identity | {"observables": json.dumps(seen)})


def _scalar(name: str, value: Any) -> float:
    if np.size(value) != 1:
        raise InputError(
            f"observables[{name!r}] returned shape {np.shape(value)}, but one number a checkpoint is "
            "allowed; reduce it."
        )
    return float(np.asarray(value).reshape(()))


def _check_same(folder: Path, recorded: dict[str, Any], settings: dict[str, Any]) -> None:
    changed = [f"{name} {old} → {new}" for name, old, new in _differences(recorded, settings)]
    if changed:
        raise InputError(
            f"out={str(folder)!r} holds a sweep made with other settings ({'; '.join(changed)}), but one "
            "folder holds one sweep; pass "
            "another out, the settings it was made with, or overwrite=True to recompute it."
        )


def _differences(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(old.keys() | new.keys())
        return [found for each in names for found in _differences(old.get(each), new.get(each), each)]
    return [] if old == new else [(name, old, new)]


def _finished(folder: Path, plan: Plan) -> Sweep:
    finished = Sweep.open(folder)
    if not np.any(finished.curve["status"].to_numpy() != "failed"):
        raise InputError(
            f"checkpoints gave no estimate at any of {len(plan.tasks)} steps; the first reason: "
            f"{finished.curve['reason'].values[0]}"
        )
    return finished
