"""A sweep within a budget: look cheaply everywhere, then estimate where a transition is least certain."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lltc.errors import InputError, shown
from lltc.posterior.data import Data, as_data
from lltc.sweeps.driver import sweep
from lltc.sweeps.engines.local import without_engine
from lltc.sweeps.jobs.observables import name_observables, spread
from lltc.sweeps.jobs.plan import plan_sweep
from lltc.sweeps.jobs.request import make_request
from lltc.sweeps.jobs.sources import READING, Checkpoints, Task, make_tasks
from lltc.sweeps.jobs.survey import survey
from lltc.sweeps.observations import look_at
from lltc.sweeps.reading.refinement import choose_next, coarse_grid, pace
from lltc.sweeps.record import Sweep
from lltc.sweeps.store import folder as store
from lltc.types import LossFn, PyTree

Array = NDArray[np.float64]


def sweep_adaptively(
    checkpoints: Checkpoints,
    model: LossFn,
    data: PyTree | Data,
    *,
    out: str | Path,
    budget: int,
    together: int = 4,
    **arguments: Any,
) -> Sweep:
    """Estimate at most `budget` checkpoints, chosen so that transitions are found and placed.

    First every checkpoint is looked at without chains: its loss and gradient norm on up to 2048 examples, the
    norm of its weights, and the observables given. A third of the budget then goes to checkpoints spread
    evenly in what these say of training's pace (`refinement.pace`); the rest, `together` at a time, to where
    a transition's place or existence is least certain (`refinement.choose_next`), until nothing is left to
    settle. The estimates are those of a dense sweep with the same key, bit for bit. What the folder holds
    already is kept and counts: called again with a larger budget it goes on from there.

    Args:
        checkpoints: as for `lltc.sweep`.
        model: as for `lltc.sweep`.
        data: as for `lltc.sweep`.
        out: the sweep's folder.
        budget: the most checkpoints to estimate, 4 or more.
        together: how many to choose at a time, such as the number of workers; default 4.
        arguments: every other argument of `lltc.sweep`.

    Returns:
        A `Sweep` whose curve holds the estimated checkpoints.

    Raises:
        InputError: as `lltc.sweep`, and for a budget below 4 or `together` below 1.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> pairs = [(step, jnp.full(2, float(step))) for step in range(9)]
        >>> loss = lambda w, x: 0.5 * jnp.sum((w - x) ** 2, -1)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     swept = sweep_adaptively(
        ...         pairs, loss, jnp.zeros((9, 2)), out=out, budget=4, num_draws=50, progress=False)
        >>> swept.curve.sizes["step"]
        4
    """
    _check_count("budget", budget, 4, "the most checkpoints to estimate")
    _check_count("together", together, 1, "how many checkpoints to choose at a time")
    reading = {name: arguments.pop(name, None) for name in READING}
    tasks = make_tasks(checkpoints, reading)
    run = lambda chosen: sweep(chosen, model, data, out=out, **arguments)
    if len(tasks) <= budget:
        return run(tasks)
    looks = look_everywhere(tasks, model, data, arguments.get("template"), arguments.get("observables") or {})
    steps, passed = np.array([task.step for task in tasks], dtype=float), pace(looks, len(tasks))
    known = _estimated(tasks, model, data, Path(out), arguments)
    begun = {*known, *coarse_grid(passed, max(4, budget // 3))}
    done = tuple(sorted(begun if len(begun) <= budget else known))
    while True:
        swept = run([tasks[place] for place in done])
        room = min(together, budget - len(done))
        llc, llc_se = (swept.curve[name].to_numpy() for name in ("llc", "llc_se"))
        chosen = choose_next(steps, passed, done, llc, llc_se, size=room) if room > 0 else ()
        if not chosen:
            return swept
        done = tuple(sorted({*done, *chosen}))


def _check_count(name: str, count: int, least: int, what: str) -> None:
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < least:
        raise InputError(
            f"{name} must be an integer ≥ {least}, but {shown(count)} was given; pass {what}, or no {name}."
        )


def _estimated(
    tasks: Sequence[Task], model: LossFn, data: PyTree | Data, out: Path, arguments: dict[str, Any]
) -> set[int]:
    """Return the places of the checkpoints whose estimates in `out` are those this sweep would make."""
    if store.recorded_settings(out) is None:
        return set()
    plan = plan_sweep(tasks, make_request(model, data, **without_engine(arguments)), out)
    works = survey(plan.setup, plan.tasks)
    return {place for place, work in enumerate(works) if not work.estimate and work.same_as is None}


def look_everywhere(
    tasks: Sequence[Task],
    model: LossFn,
    data: PyTree | Data,
    template: PyTree | None,
    observables: Any,
) -> dict[str, Array]:
    """Return loss, gradient norm, weight norm and the observables of every checkpoint, `(checkpoint,)` each.

    What a checkpoint cannot tell is filled in from its neighbours.
    """
    data = as_data(data)
    template = getattr(model, "params", None) if template is None else template
    functions = name_observables(observables, model, data)
    looks = [values for values, _ in look_at(tasks, model, data, template, functions)]
    table: dict[str, list[float]] = {}
    for name in dict.fromkeys(name for values in looks for name in values):
        table |= spread(name, [values.get(name, np.nan) for values in looks])
    return {name: _filled(np.array(values)) for name, values in table.items()}


def _filled(values: Array) -> Array:
    known = np.isfinite(values)
    if not known.any():
        return values
    places = np.arange(len(values))
    return np.interp(places, places[known], values[known])
