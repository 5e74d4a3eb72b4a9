"""Drawing into the store: warm up, then read every 16th draw; what was begun goes on where it stopped."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.cost import is_costly
from lltc.chains.looks import Visit, look
from lltc.chains.loop import Run, Trace, positions_of, sample
from lltc.chains.rungs import Ladder
from lltc.chains.steps import OBSERVE_EVERY, Draws
from lltc.chains.streams import RandomStream, substream
from lltc.chains.warmup import WarmUp, warm_up
from lltc.diagnostics.status import Status
from lltc.errors import InputError
from lltc.estimates.drawn import Drawn
from lltc.estimates.effort import Effort
from lltc.estimates.estimator import FEW_DRAWS, PLAIN, arrange_run, conclude, count_warmup, flagged
from lltc.estimates.exchange import find_way, may_exchange
from lltc.estimates.progress import Progress
from lltc.estimates.record import LLCEstimate
from lltc.fluctuations.tokens.kept import ESTIMATE
from lltc.fluctuations.tokens.reader import TokenReader
from lltc.fluctuations.tokens.resumption import SLOTS, ReadingPlan, begin, resume, visits_by
from lltc.fluctuations.tokens.store import Extent, Store, check_room, opened, plan_arrays
from lltc.inspection.findings import Finding, heed
from lltc.inspection.look import inspect
from lltc.posterior.target import LocalPosterior


def draw_into(
    path: Path,
    posterior: LocalPosterior,
    reader: TokenReader,
    plan: ReadingPlan,
    effort: Effort,
    options: dict[str, Any],
) -> LLCEstimate:
    """Draw what the store at `path` lacks, made when missing, and return the estimate of its draws."""
    began = time.perf_counter()
    until = None if effort.time is None else began + effort.time
    if not path.exists():
        # What chains go on from comes on top, and is known after the warm-up alone.
        check_room(path.parent, plan_arrays(plan.extent, posterior.dtype))
    run = arrange_run(posterior, effort, options)
    ladder = Ladder(np.array([posterior.nbeta]), effort.num_chains)
    costly = is_costly(posterior, effort.num_chains)
    findings = inspect(run, thorough=not costly)
    wrong = heed(findings)
    with Progress(plan.extent.posterior * OBSERVE_EVERY, show=options["progress"]) as bar:
        if not path.exists():
            warmup = count_warmup(effort, costly=costly)
            bar.extend(warmup or FEW_DRAWS)
            warm = warm_up(run, ladder, num_warmup=warmup, step_size=effort.step_size, on_chunk=bar.advance)
            _check_warm(warm)
            begin(path, run, plan, warm, time.perf_counter() - began)
        with opened(path, "r+") as file:
            warm = resume(path, file, run, plan)
            store = Store(file)
            # Of the draws to come no estimate may tell that was made before them.
            (path.parent / ESTIMATE).unlink(missing_ok=True)
            bar.advance(store.count("posterior") * OBSERVE_EVERY)
            _draw(store, run, warm, reader, plan.extent, bar, until)
            if store.count("posterior") == plan.extent.posterior:
                _draw_prior(store, run, reader, plan.extent, until)
            return _estimate(store, run, ladder, warm, plan.extent, effort, findings, wrong)


def _check_warm(warm: WarmUp) -> None:
    if not warm.complete:
        raise InputError("the reading was stopped in warm-up, before its first draw; run it again.")
    if not warm.finite:
        raise InputError(
            "the chains left the finite numbers in warm-up, so that there is nothing to read; pass a smaller "
            "nbeta or a larger localization, or mend the loss."
        )


def _draw(
    store: Store,
    run: Run,
    warm: WarmUp,
    reader: TokenReader,
    extent: Extent,
    bar: Progress,
    until: float | None,
) -> None:
    """Make the draws that are missing, each read and written before the next."""
    state, first, writing = warm.state, 1 + warm.steps, 0.0
    for number in range(store.count("posterior"), extent.posterior):
        late = until is not None and time.perf_counter() > until
        if late or not _is_finite(store, number):
            return
        began = time.perf_counter()
        low = number * OBSERVE_EVERY
        trace = sample(run, state, warm.settings, first=first + low, count=OBSERVE_EVERY)
        if not trace.complete:
            raise KeyboardInterrupt
        state = trace.state
        arrays: dict[str, tuple[Any, np.ndarray]] = {
            f"draws/{name}": (slice(low, low + OBSERVE_EVERY), np.moveaxis(values, 0, 1))
            for name, values in trace.draws._asdict().items()
        }
        positions, place = positions_of(state, warm.settings), visits_by(number, extent)
        if visits_by(number + 1, extent) > place:
            visit = look(run, warm.settings, positions, place)
            arrays |= {f"visits/{name}": (place, values) for name, values in visit._asdict().items()}
        slot = (number + 1) % SLOTS
        for place, leaf in enumerate(jax.tree.leaves(state)):
            arrays[f"state/{place}"] = (slot, np.asarray(leaf))
        drawn = time.perf_counter() - began
        readings = _readings("posterior", number, reader, positions, (drawn, writing))
        began = time.perf_counter()
        store.write("posterior", number, arrays | readings)
        writing = time.perf_counter() - began
        bar.advance(OBSERVE_EVERY)


def _is_finite(store: Store, count: int) -> bool:
    """True while the chains have stayed in the finite numbers up to the draw `count`."""
    energy = store.file["draws/energy"]
    return count == 0 or bool(np.isfinite(energy[count * OBSERVE_EVERY - 1]).all())


def _draw_prior(store: Store, run: Run, reader: TokenReader, extent: Extent, until: float | None) -> None:
    """Read at independent draws of the prior alone, the posterior as nβ → 0: w - w* ~ N(0, 1/γ)."""
    key = substream(run.key, RandomStream.prior)
    shape, writing = (extent.chains, run.posterior.num_params), 0.0
    for number in range(store.count("prior"), extent.prior):
        if until is not None and time.perf_counter() > until:
            return
        noise = jax.random.normal(jax.random.fold_in(key, number), shape, run.posterior.dtype)
        positions = noise / jnp.sqrt(jnp.asarray(run.posterior.localization, noise.dtype))
        readings = _readings("prior", number, reader, positions, (0.0, writing))
        began = time.perf_counter()
        store.write("prior", number, readings)
        writing = time.perf_counter() - began


def _readings(
    kind: str, number: int, reader: TokenReader, positions: jax.Array, before: tuple[float, float]
) -> dict[str, tuple[Any, np.ndarray]]:
    """Return what is written of the losses at `positions` `(chain, d)`, and the seconds that it took.

    `before` are the seconds of drawing, and of writing the draw before.
    """
    began = time.perf_counter()
    losses, means = reader(positions)
    drawing, writing = before
    seconds = np.array([drawing, time.perf_counter() - began + writing])
    return {
        f"losses/{kind}": (number, losses),
        f"means/{kind}": (number, means),
        f"seconds/{kind}": (number, seconds),
    }


def _estimate(
    store: Store,
    run: Run,
    ladder: Ladder,
    warm: WarmUp,
    extent: Extent,
    effort: Effort,
    findings: Sequence[Finding],
    wrong: Status | None,
) -> LLCEstimate:
    """Return the estimate of the draws in the store; its status is `wrong` where something is."""
    file, count = store.file, store.count("posterior")
    steps = count * OBSERVE_EVERY
    draws = Draws(*(np.moveaxis(file[f"draws/{name}"][:steps], 0, 1) for name in Draws._fields))
    made = visits_by(count, extent)
    visits = tuple(Visit(*(file[f"visits/{name}"][at] for name in Visit._fields)) for at in range(made))
    trace = Trace(draws, {}, warm.state, complete=True)
    seconds = float(store.header["seconds"] + file["seconds/posterior"][:count, 0].sum())
    drawn = Drawn(run, ladder, warm, trace, visits)
    # Replicas move from rung to rung, and a store goes on from chains that stay on theirs.
    if may_exchange(run, ladder, effort) and find_way(drawn):
        wrong, findings = wrong or PLAIN.status, (*findings, PLAIN)
    return flagged(conclude(drawn, 0, seconds, findings), wrong)
