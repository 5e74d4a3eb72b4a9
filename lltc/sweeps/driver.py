"""Running a sweep: what is done stays, what is out of date or missing is estimated, failures are flagged."""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import jax

from lltc.compilation import cached_compilation
from lltc.errors import InputError
from lltc.files import remove_leftovers
from lltc.posterior.components import Restriction
from lltc.posterior.data import Data
from lltc.sweeps.engines.local import choose_engine, run_works, works_apart
from lltc.sweeps.jobs.observables import Observables
from lltc.sweeps.jobs.plan import Plan, plan_sweep
from lltc.sweeps.jobs.progress import Watch
from lltc.sweeps.jobs.request import make_request
from lltc.sweeps.jobs.sources import Checkpoints
from lltc.sweeps.jobs.survey import Work, explain, survey, with_checkpoints
from lltc.sweeps.jobs.worker import take_over
from lltc.sweeps.record import Sweep
from lltc.sweeps.store import folder as store
from lltc.sweeps.store.lock import hold
from lltc.types import LossFn, PyTree

log = logging.getLogger("lltc.sweeps")


def sweep(
    checkpoints: Checkpoints,
    model: LossFn,
    data: PyTree | Data,
    *,
    out: str | Path,
    key: jax.Array | int = 0,
    observables: Observables | None = None,
    along_chains: Sequence[str] = (),
    components: Mapping[str, Restriction] | Sequence[str] | None = None,
    params_key: str | None = None,
    template: PyTree | None = None,
    loader: Callable[[Path], PyTree] | None = None,
    transpose: Literal["torch"] | None = None,
    ignore: str | Sequence[str] | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    executor: Executor | None = None,
    progress: bool = True,
    **options: Any,
) -> Sweep:
    """Estimate the learning coefficient at every checkpoint, in step order, and mark its transitions.

    nβ and γ are fixed once for the whole sweep (defaults: n/ln n, and γ of the last checkpoint), as is
    everything but the measured step size, so that the curve compares like with like. One compilation serves
    all checkpoints, and JAX's persistent cache later processes too. Workers write each finished checkpoint
    into `out`, whole or not at all: stop the sweep in any way and call it again, it goes on where it was, bit
    for bit. What a changed model, data set, setting or checkpoint puts out of date is estimated anew, and one
    logged line a cause says so; new or changed observables are evaluated without chains, new or changed
    components estimated by themselves. A checkpoint with the weights of another step takes over its
    estimate, gets the status "repeated" and makes no transition. One that cannot be read or evaluated, or
    that kills its workers, becomes a row with status "failed" and its reason, and is tried again by the next
    call.

    Args:
        checkpoints: a folder or its URL, records of `lltc.find_checkpoints`, or `(step, params)` pairs.
        model: pure `(params, batch) -> (batch,)` loss in nats, or `lltc.behavioral(…)`, for which every
            checkpoint is a minimum.
        data: the data set; see `lltc.estimate_llc`.
        out: the sweep's folder, created when missing; one sweep at a time.
        key: JAX key or int, folded with each step (`lltc.sweeps.checkpoint_key`).
        observables: functions `params -> number or vector`, or data sets (a `slice` of `data` too) on which
            the model's mean loss is taken, evaluated once at each checkpoint; each becomes a variable of the
            curve (`name[0]`, `name[1]`, … of a vector) with its own markers, `Sweep.observable_transitions`.
        along_chains: names of observables that every 16th draw is seen through as well, into
            `Sweep.estimate(step).observables`; JAX must be able to trace them.
        components: parts of the params, as for `lltc.estimate_llc_team`, each of which is also estimated at
            every checkpoint, alone moving, at the sweep's nβ and γ: `component_llc` over (component, step),
            with component_llc_se and component_status, and `Sweep.component_transitions`.
        params_key: where the params lie inside each checkpoint, such as "params" or "state/params".
        template: pytree the params are fitted to; default `model.params` where the model carries one.
        loader: function `path -> params` for checkpoints in a format of your own.
        transpose: "torch" turns PyTorch's weights into the template's layout; see `lltc.find_checkpoints`.
        ignore: globs over the checkpoints' names, such as `*/num_batches_tracked`, that are left out.
        workers: 0 works in this process; N starts N single-threaded processes here (Dask), one GPU each where
            there are GPUs. A script that does so needs `if __name__ == "__main__":`.
        scheduler: address of a running Dask scheduler, such as "tcp://host:8786", whose workers see `out`.
        executor: any `concurrent.futures.Executor` instead, whose workers see `out`.
        progress: a bar on a terminal, else one line a checkpoint, on standard error.
        options: every other argument of `lltc.estimate_llc`: nbeta, localization, num_chains, num_draws,
            num_warmup, batch_size, step_size, target_rel_se, restrict, linear, ….

    Returns:
        A `Sweep` with `curve`, `transitions`, `plot` and `report`.

    Raises:
        InputError: for arguments that cannot be worked with, an `out` that is being swept or cannot be
        written (a full disk), a scheduler that is lost, or when not one checkpoint gave an estimate. Whatever
        was finished is kept.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> pairs = [(step, jnp.full(2, float(step))) for step in (0, 1, 2)]
        >>> loss = lambda w, x: 0.5 * jnp.sum((w - x) ** 2, -1)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     swept = sweep(pairs, loss, jnp.zeros((9, 2)), out=out, num_draws=100, progress=False)
        >>> swept.curve.sizes["step"]
        3
    """
    engine = choose_engine(workers=workers, scheduler=scheduler, executor=executor)
    request = make_request(
        model,
        data,
        key=key,
        observables=observables,
        along_chains=along_chains,
        components=components,
        params_key=params_key,
        template=template,
        loader=loader,
        transpose=transpose,
        ignore=ignore,
        apart=works_apart(engine),
        **options,
    )
    with cached_compilation():
        run_plans([plan_sweep(checkpoints, request, Path(out))], engine, progress=progress)
    return _finished(Path(out))


def run_plans(plans: Sequence[Plan], engine: dict[str, Any], *, progress: bool) -> None:
    """Work on all that is missing or out of date, of several sweeps at once."""
    with ExitStack() as stack:
        for plan in plans:
            stack.enter_context(hold(plan.setup.out))
        works = [work for plan in plans for work in _prepare(plan)]
        _announce(works)
        needed = [work for work in works if work.needed]
        setups = {plan.run: plan.setup for plan in plans}
        with Watch(len(needed), show=progress) as watch:
            for row in run_works(setups, needed, **engine):
                watch.tell(row)
        for work in works:
            take_over(setups[work.run], work)


def _finished(out: Path) -> Sweep:
    """Return the sweep that lies in `out`, refused where not one checkpoint gave an estimate."""
    swept = Sweep.open(out)
    reason = swept.why_empty
    if reason:
        raise InputError(
            f"checkpoints gave no estimate at any of {swept.curve.sizes['step']} steps; the first reason: "
            f"{reason}"
        )
    return swept


def _prepare(plan: Plan) -> tuple[Work, ...]:
    """Look at what lies in the folder and record what the sweep is from now on."""
    setup = plan.setup
    remove_leftovers(setup.out)
    works = survey(setup, plan.tasks, run=plan.run)
    store.write_settings(setup.out, with_checkpoints(setup.settings, works))
    for work in works:
        if not work.estimate:
            store.failure_path(setup.out, work.task.step).unlink(missing_ok=True)
    return works


def _announce(works: Sequence[Work]) -> None:
    for line in explain(works):
        log.warning("%s", line)
