"""What a worker does with one checkpoint: read it, estimate, write the result, say how it went."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lltc.compilation import cached_compilation, configured
from lltc.diagnostics.status import Status
from lltc.errors import InputError
from lltc.estimates.by_component import estimate_llc_team
from lltc.estimates.llc import estimate_llc
from lltc.estimates.record import LLCEstimate
from lltc.files import FolderError
from lltc.posterior.fingerprint import fingerprint_leaves
from lltc.sweeps.jobs.observables import evaluate
from lltc.sweeps.jobs.request import Setup, checkpoint_key
from lltc.sweeps.jobs.sources import brought_near
from lltc.sweeps.jobs.survey import Work
from lltc.sweeps.store import folder as store

NAN = float("nan")
log = logging.getLogger("lltc.sweeps")


class Row(NamedTuple):
    """What comes back of a checkpoint: where its result lies and what a progress line needs."""

    run: str
    step: int
    path: Path
    llc: float
    llc_se: float
    status: str
    seconds: float
    reason: str = ""


def do_work(setup: Setup, work: Work) -> Row:
    """Do what one checkpoint needs and write its files.

    Whatever stops the estimate becomes a failed row with its reason; only what stops the whole sweep is
    raised: Ctrl-C, and `FolderError` where nothing can be written.
    """
    try:
        with cached_compilation(), configured(setup.settings.jax):
            return _do(setup, work)
    except FolderError:
        raise
    except Exception as error:  # One bad checkpoint, or a loader's bug, must not cost the night.
        return fail(setup, work, _why(work, error))


def fail(setup: Setup, work: Work, reason: str) -> Row:
    """Record why a checkpoint has no estimate, or which components have none; what is finished stays."""
    reason, step = " ".join(reason.split()), work.task.step
    lacking = [part for part in work.parts if not _is_done(setup, work, part)]
    for part in lacking[:1] if None in lacking else lacking:
        store.write_failure(setup.out, step, reason, setup.settings.configuration_of(part), part)
    return Row(work.run, step, store.failure_path(setup.out, step), NAN, NAN, "failed", NAN, reason)


def take_over(setup: Setup, work: Work) -> None:
    """Give a checkpoint the results of the step that has the same weights, or the reason why it has none."""
    leader, step, content = work.same_as, work.task.step, work.content
    if leader is None:
        return
    for component in (None, *setup.components):
        configuration = setup.settings.configuration_of(component)
        failure = store.read_failure(setup.out, leader, component)
        if failure and failure["configuration"] == configuration:
            store.write_failure(setup.out, step, failure["reason"], configuration, component)
            continue
        row = store.read_result(setup.out, leader, component)
        if row and (row["configuration"], row["checkpoint"]) == (configuration, content):
            estimate = LLCEstimate.load(store.result_path(setup.out, leader, component))
            told = {
                name: row[name]
                for name in ("configuration", "checkpoint", "settings", "weights")
                if name in row
            }
            store.write_result(setup.out, step, estimate, told, component)


def _do(setup: Setup, work: Work) -> Row:
    step = work.task.step
    with brought_near(work.task) as task:
        content, params = task.fingerprint(), task.load(setup.template)
    if work.observables:
        _observe(setup, work, content, params)
    if not work.parts:
        return Row(work.run, step, store.observables_path(setup.out, step), NAN, NAN, "observed", NAN)
    weights = json.dumps(fingerprint_leaves(params)) if work.estimate else "{}"
    rows = [_attempt(setup, work, content, weights, params, part) for part in work.parts]
    return next((row for row in rows if row.reason), rows[0])


def _attempt(setup: Setup, work: Work, content: str, weights: str, params: Any, component: str | None) -> Row:
    """Estimate the whole or a component; what stops a component costs neither the whole nor another."""
    try:
        return _estimate(setup, work, content, weights, params, component)
    except FolderError:
        raise
    except Exception as error:
        if component is None:
            raise
        alone = work._replace(estimate=False, components=(component,), content=content)
        row = fail(setup, alone, _why(work, error))
        return row._replace(reason=f"component {component}: {row.reason}")


def _why(work: Work, error: Exception) -> str:
    if isinstance(error, InputError):
        return str(error)
    log.debug("step %d", work.task.step, exc_info=error)
    return f"Stopped by {type(error).__name__}: {error}"


def _is_done(setup: Setup, work: Work, component: str | None) -> bool:
    """Tell whether an estimate lies in the folder, as far as the checkpoint's content is known."""
    stored = store.read_result(setup.out, work.task.step, component)
    return (
        stored is not None
        and stored["configuration"] == setup.settings.configuration_of(component)
        and work.content in (None, stored["checkpoint"])
    )


def _estimate(
    setup: Setup, work: Work, content: str, weights: str, params: Any, component: str | None
) -> Row:
    """Estimate the whole, or one of its components, and write the result."""
    step = work.task.step
    identity = {"configuration": setup.settings.configuration_of(component), "checkpoint": content}
    stored = store.read_result(setup.out, step, component)
    if stored and {name: stored[name] for name in identity} == identity:
        path = store.result_path(setup.out, step, component)
        return _row(work, path, stored)  # A killed worker had written it.
    estimate = _draw(setup, checkpoint_key(setup.key, step), params, component)
    if estimate.status is Status.interrupted:
        raise KeyboardInterrupt
    _check_current(setup)
    numbers = json.dumps(setup.settings.numbers, sort_keys=True)
    told = identity | {"settings": numbers, "weights": weights}
    path = store.write_result(setup.out, step, estimate, told, component)
    return _row(work, path, vars(estimate) | {"status": estimate.status.name})


def _draw(setup: Setup, key: jax.Array, params: Any, component: str | None) -> LLCEstimate:
    common = setup.options | {"key": key, "observables": setup.recorded, "progress": False}
    if component is None:
        return estimate_llc(setup.model, params, setup.data, **common)
    del common["restrict"]
    member = {component: setup.components[component]}
    return estimate_llc_team(setup.model, params, setup.data, components=member, **common)[component]


def _row(work: Work, path: Path, values: Mapping[str, Any]) -> Row:
    llc, llc_se, seconds = (float(values[name]) for name in ("llc", "llc_se", "seconds"))
    return Row(work.run, work.task.step, path, llc, llc_se, str(values["status"]), seconds)


def _observe(setup: Setup, work: Work, content: str, params: Any) -> None:
    """Evaluate the observables asked for and keep the others; one that fails is NaN with its reason."""
    seen_at, values = store.read_observables(setup.out, work.task.step)
    values = values if seen_at == content else {}
    for name in work.observables:
        current = setup.settings.observables[name]
        try:
            values[name] = store.Observed(current, evaluate(name, setup.observables[name], params))
        except Exception as error:
            reason = f"observables[{name!r}] failed ({type(error).__name__}: {error})"
            values[name] = store.Observed(current, NAN, " ".join(reason.split()))
    store.write_observables(setup.out, work.task.step, content, values)


def _check_current(setup: Setup) -> None:
    """Refuse to write where a later sweep has taken the folder over: this worker's driver is gone."""
    if store.read_settings(setup.out).configuration != setup.configuration:
        raise FolderError(
            f"out={str(setup.out)!r} was taken over by a sweep with other settings, so that this result no "
            "longer belongs there; run the sweep again into another folder."
        )
