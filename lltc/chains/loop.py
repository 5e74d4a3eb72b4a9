"""Running chains: chunks of compiled steps, driven from the host."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.gradients import Anchor
from lltc.chains.rotation import turn, turn_back
from lltc.chains.steps import (
    CHUNK,
    OBSERVE_EVERY,
    Batches,
    Draws,
    Origin,
    Program,
    Settings,
    advance,
    batch_indices,
    begin,
)
from lltc.chains.streams import RandomStream, substream
from lltc.kernels import Kernel
from lltc.kernels.scheduled import ScheduledState
from lltc.posterior.rounding import rounding_of
from lltc.posterior.target import LocalPosterior
from lltc.types import PyTree

LEAST_STEPS = 32


@dataclass(frozen=True)
class Run:
    """Everything constant along the chains of one posterior."""

    posterior: LocalPosterior
    anchor: Anchor
    kernel: Kernel
    key: jax.Array
    observables: tuple[tuple[str, Callable[[PyTree], jax.Array]], ...] = ()

    @cached_property
    def eps(self) -> float:
        """The relative rounding of the coarsest numbers that the loss computes with."""
        posterior = self.posterior
        few = posterior.data.batch(np.arange(min(2, posterior.data.size)))
        return rounding_of(posterior.target, posterior.center, few)

    @property
    def program(self) -> Program:
        """What the compiled loop of steps is made for."""
        batch_size = None if self.posterior.full_batch else self.posterior.batch_size
        return Program(self.posterior.target, self.kernel, batch_size, self.observables)

    @property
    def origin(self) -> Origin:
        """What every step refers to."""
        return Origin(self.key, self.posterior.center, self.anchor)


@dataclass(frozen=True)
class Trace:
    """Draws `(chain, draw)` in NumPy, the chains' last state, and whether every draw asked for was made."""

    draws: Draws
    observables: dict[str, np.ndarray]
    state: Any
    complete: bool


def start(run: Run, positions: jax.Array, settings: Settings, *, number: int = 0) -> Any:
    """Return the kernel's state for chains at `positions` `(chain, d)`; `number` sets its randomness."""
    posterior = run.posterior
    arrays = posterior.data.arrays if posterior.full_batch else None
    key = jax.random.fold_in(substream(run.key, RandomStream.start), number)
    positions = turn_back(settings.rotation, jnp.array(positions, posterior.dtype))
    state = begin(
        posterior.target, run.kernel, key, posterior.center, run.anchor, positions, settings, arrays
    )
    return state._replace(steps=jnp.int32(number)) if isinstance(state, ScheduledState) else state


def positions_of(state: Any, settings: Settings) -> jax.Array:
    """Return where the chains of a kernel's state are, w - w* `(chain, d)`."""
    return turn(settings.rotation, state.position)


def sample(
    run: Run,
    state: Any,
    settings: Settings,
    *,
    first: int,
    count: int,
    on_chunk: Callable[[int], None] = lambda _: None,
    visit: Callable[[jax.Array], None] = lambda _: None,
    observe: Callable[[jax.Array], None] | None = None,
    until: float | None = None,
) -> Trace:
    """Advance the chains by `count` steps numbered from `first` and return what they recorded.

    Every step's randomness comes from its number alone, so that chunks do not change the numbers. Ctrl-C
    returns the draws made so far; chains that leave the finite numbers end the run early. `on_chunk(steps)`
    reports progress, `visit(positions)` sees the chains `(chain, d)` at the end of each chunk, and
    `observe(positions)`, where given, every 16 steps. After 32 steps none begins once `until`, a moment of
    `time.perf_counter`, has passed.
    """
    parts: list[Draws] = []
    observations: list[dict[str, np.ndarray]] = []
    done, complete = 0, True
    while done < count:
        steps = min(CHUNK if observe is None and until is None else OBSERVE_EVERY, count - done)
        try:
            state, draws, observed = _chunk(run, state, settings, first + done, steps)
            parts.append(jax.tree.map(lambda a, steps=steps: np.asarray(a)[:steps], draws))
            rows = -(-steps // OBSERVE_EVERY)
            observations.append({name: np.asarray(values)[:rows] for name, values in observed.items()})
            done += steps
            on_chunk(steps)
            if observe is not None:
                observe(positions_of(state, settings))
            late = until is not None and done >= LEAST_STEPS and time.perf_counter() > until
            if done % CHUNK == 0 or done == count or late:
                visit(positions_of(state, settings))
            if late:
                break
        except KeyboardInterrupt:
            complete = False
            break
        if not np.isfinite(parts[-1].energy[-1]).all():
            break
    return Trace(_join(parts, state), _join_observed(observations), state, complete)


def _join(parts: list[Draws], state: Any) -> Draws:
    if not parts:
        chains = state.position.shape[0]
        return Draws(np.zeros((chains, 0, 2)), *(np.zeros((chains, 0)) for _ in range(6)))
    return Draws(*(np.moveaxis(np.concatenate(columns), 0, 1) for columns in zip(*parts, strict=True)))


def _join_observed(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if not parts:
        return {}
    return {name: np.moveaxis(np.concatenate([part[name] for part in parts]), 0, 1) for name in parts[0]}


def _chunk(run: Run, state: Any, settings: Settings, first: int, steps: int) -> tuple[Any, Draws, dict]:
    """Run one chunk, fetching its batches beforehand when the data stay on the host."""
    data = run.posterior.data
    if data.in_memory:
        return advance(run.program, run.origin, state, settings, (first, steps), data.arrays)
    parts = list(_hosted(run, state, settings, first, steps))
    draws = jax.tree.map(lambda *columns: np.concatenate(columns), *[draws for _, draws, _ in parts])
    observed = {
        name: np.concatenate([observation[name] for _, _, observation in parts])
        for name, _ in run.observables
    }
    return parts[-1][0], draws, observed


def _hosted(
    run: Run, state: Any, settings: Settings, first: int, steps: int
) -> Iterator[tuple[Any, Draws, dict]]:
    """Yield sub-chunks whose batches are the ones the device would draw, read from the host."""
    data, block = run.posterior.data, OBSERVE_EVERY
    for done in range(0, steps, block):
        count = min(block, steps - done)
        numbers = jnp.arange(block) + first + done
        batches = data.batch(np.asarray(batch_indices(run.key, numbers, run.posterior.batch_size, data.size)))
        state, draws, observed = advance(
            run.program, run.origin, state, settings, (first + done, count), Batches(batches)
        )
        records = jax.tree.map(lambda a, count=count: np.asarray(a)[:count], draws)
        yield state, records, {name: np.asarray(values)[:1] for name, values in observed.items()}
