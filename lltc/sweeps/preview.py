"""What a sweep would do and how long it would take, without doing it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lltc.chains.cost import is_costly
from lltc.estimates.estimator import FEW_DRAWS, TYPICAL_WARMUP
from lltc.estimates.llc import estimate_llc
from lltc.posterior.data import Data
from lltc.sweeps.engines.local import without_engine
from lltc.sweeps.jobs.plan import Plan, plan_runs, plan_sweep
from lltc.sweeps.jobs.progress import clock
from lltc.sweeps.jobs.request import Setup, find_reference, make_request
from lltc.sweeps.jobs.sources import Checkpoints
from lltc.sweeps.jobs.survey import Work, explain, survey
from lltc.sweeps.store import folder as store
from lltc.types import LossFn, PyTree

SHORT_RUN, LONGER_RUN = 64, 320
TYPICAL_DRAWS = 1000
LISTED = 8


@dataclass(frozen=True)
class Preview:
    """What would be done: `works`, a checkpoint each, and the `seconds` one estimate takes.

    `measured` says where the seconds come from; they count `workers` at a time.
    """

    works: tuple[Work, ...]
    seconds: float
    measured: str
    workers: int

    @property
    def total_seconds(self) -> float:
        """The time all estimates would take."""
        count = sum(work.estimates for work in self.works)
        return self.seconds * -(-count // self.workers)

    def __str__(self) -> str:
        groups = {
            "done": [work for work in self.works if not work.needed and work.same_as is None],
            "repeated": [work for work in self.works if work.same_as is not None],
            "observables": [
                work
                for work in self.works
                if work.observables and not work.estimates and work.same_as is None
            ],
            "components": [work for work in self.works if work.components and not work.estimate],
            "anew": [work for work in self.works if work.estimate and work.causes],
            "missing": [work for work in self.works if work.estimate and not work.causes],
        }
        lines = [f"{name:<12} {_list(works)}" for name, works in groups.items() if works]
        lines += [f"{'why':<12} {line}" for line in explain(self.works)]
        count = sum(work.estimates for work in self.works)
        if count:
            lines.append(
                f"{'time':<12} {clock(self.total_seconds)} for {count} estimates of {self.seconds:.2g} s "
                f"({self.measured}), {self.workers} at a time"
            )
        return "\n".join(lines)


def preview_sweep(
    checkpoints: Checkpoints,
    model: LossFn,
    data: PyTree | Data,
    *,
    out: str | Path,
    workers: int = 0,
    **arguments: Any,
) -> Preview:
    """Tell what `lltc.sweep` with the same arguments would do; nothing is written.

    An estimate's time is that of the finished ones, else measured by three short runs.
    """
    request = make_request(model, data, **without_engine(arguments))
    return _preview([plan_sweep(checkpoints, request, Path(out))], workers)


def preview_runs(
    folder: str | Path,
    model: LossFn,
    data: PyTree | Data,
    *,
    out: str | Path,
    pattern: str = "*",
    workers: int = 0,
    **arguments: Any,
) -> Preview:
    """Tell what `lltc.sweep_runs` with the same arguments would do; nothing is written."""
    request = make_request(model, data, **without_engine(arguments))
    return _preview(plan_runs(folder, request, Path(out), pattern=pattern), workers)


def _preview(plans: Sequence[Plan], workers: int) -> Preview:
    works = tuple(work for plan in plans for work in survey(plan.setup, plan.tasks, run=plan.run))
    seconds, measured = _seconds(plans, works)
    return Preview(works, seconds, measured, max(1, workers))


def _seconds(plans: Sequence[Plan], works: Sequence[Work]) -> tuple[float, str]:
    """Return the seconds an estimate takes: as finished ones took, else by short runs on one checkpoint."""
    setups = {plan.run: plan.setup for plan in plans}
    if not any(work.estimates for work in works):
        return 0.0, "nothing to do"
    rows = [store.read_result(setups[work.run].out, work.task.step) for work in works]
    taken = [float(row["seconds"]) for row in rows if row and "seconds" in row]
    if taken:
        return float(np.median(taken)), "as finished ones took"
    seconds, draws = _time_one(plans[0])
    return seconds, f"by a short run, at {draws} draws unless num_draws is given"


def _time_one(plan: Plan) -> tuple[float, int]:
    """Return the seconds an estimate of one checkpoint takes, and the draws a chain taken for typical."""
    setup = plan.setup
    params, posterior = find_reference(plan.tasks, setup.model, setup.data, setup.template, setup.options)
    _time(setup, params, SHORT_RUN)
    short, longer = (_time(setup, params, draws) for draws in (SHORT_RUN, LONGER_RUN))
    a_draw = max(0.0, longer - short) / (LONGER_RUN - SHORT_RUN)
    costly = is_costly(posterior, setup.options["num_chains"])
    warmup, draws = (FEW_DRAWS, 2 * FEW_DRAWS) if costly else (TYPICAL_WARMUP, TYPICAL_DRAWS)
    steps = (setup.options["num_warmup"] or warmup) + (setup.options["num_draws"] or draws)
    return short + a_draw * max(0, steps - 2 * SHORT_RUN), draws


def _time(setup: Setup, params: PyTree, num_draws: int) -> float:
    options: dict[str, Any] = setup.options | {"num_warmup": SHORT_RUN, "num_draws": num_draws}
    began = time.perf_counter()
    estimate_llc(setup.model, params, setup.data, key=setup.key, progress=False, **options)
    return time.perf_counter() - began


def _list(works: Sequence[Work]) -> str:
    names = [f"{work.run}/{work.task.step}" if work.run else str(work.task.step) for work in works]
    shown = ", ".join(names[:LISTED]) + (f", … {names[-1]}" if len(names) > LISTED else "")
    noun = "checkpoint" if len(names) == 1 else "checkpoints"
    return f"{len(names)} {noun}: step{'s' * (len(names) > 1)} {shown}"
