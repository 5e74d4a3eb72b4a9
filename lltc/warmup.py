"""Warm-up that measures instead of asking: starts, step size, hot and cold chains; then all is frozen."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.calibration import initial_scale, largest_curvature, make_prober, random_directions
from lltc.kernels import Tuning, measuring, scale_of
from lltc.sampling import Run, Settings, Trace, sample, start

ROUNDS = 8
HOT_ROUNDS = 4
HOT_FACTOR = 0.25
STABLE_FRACTION = 0.1
HEAT_FRACTION = 0.01
MEMORY = 0.95
GROWTH = 4.0
RESCUES = 6


@dataclass(frozen=True)
class WarmUp:
    """Chains ready to draw: `state`, frozen `settings`, the `reach` `(rung,)` of their steps.

    `steps` have been taken, numbered from 1, of which a share `broken` left the finite numbers; `complete` is
    False after Ctrl-C, and `finite` False when no rescue helped.
    """

    state: Any
    settings: Settings
    reach: np.ndarray
    steps: int
    broken: float
    complete: bool
    finite: bool


class Tuned(NamedTuple):
    """Step size ε `(rung,)` and memory c of the velocity `(rung,)`, and a diagonal scale, () or `(d,)`."""

    step_size: np.ndarray
    memory: np.ndarray
    scale: jax.Array | float = 1.0

    @property
    def reach(self) -> np.ndarray:
        """ε(1 + c)/(1 - c): the step size of memoryless dynamics that moves slow directions as far."""
        return self.step_size * (1 + self.memory) / (1 - self.memory)


@dataclass(frozen=True)
class Gauge:
    """What one round measures: largest curvature `(rung,)`, tr C `(rung,)`, the curvature's vectors."""

    curvature: np.ndarray
    noise: np.ndarray
    vectors: jax.Array


class Ladder(NamedTuple):
    """The inverse temperatures nβ `(rung,)` of one run, `num_chains` chains at each, a rung after another."""

    rungs: np.ndarray
    num_chains: int

    @property
    def hot(self) -> np.ndarray:
        """Which chains start hot, `(rung·chain,)`."""
        return np.tile(is_hot(self.num_chains), len(self.rungs))

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return values `(rung,)` given to the chains `(rung·chain,)`."""
        return np.repeat(values, self.num_chains)

    def split(self, values: Any) -> np.ndarray:
        """Return values of chains `(rung·chain, …)` by rung `(rung, chain, …)`."""
        return np.asarray(values).reshape(len(self.rungs), self.num_chains, *np.shape(values)[1:])


def is_hot(num_chains: int) -> np.ndarray:
    """Return which chains start hot, `(chain,)`: the second half."""
    return np.arange(num_chains) >= (num_chains + 1) // 2


def warm_up(
    run: Run,
    ladder: Ladder,
    *,
    num_warmup: int,
    step_size: float | None,
    preconditioner: Any = None,
    on_chunk: Callable[[int], None] = lambda _: None,
) -> WarmUp:
    """Bring cold chains (from w*) and hot ones (from nβ/4) to the posterior and freeze the tuning.

    Each of eight rounds measures the largest curvature on the chains and the gradient noise and tunes anew
    (`choose_tuning`). A round that leaves the finite numbers is undone and run again at ε/4. With `step_size`
    given, ε is fixed, without memory, and only the starts are made. `preconditioner`, an Optax transformation
    with a second moment, sees every gradient; its scale is updated after each round.
    """
    posterior, center = run.posterior, run.posterior.center.position
    gauge_key, start_key = jax.random.split(jax.random.fold_in(run.key, 3))
    shape = (ladder.hot.size, center.size)
    positions = jnp.broadcast_to(center, shape)
    prober = make_prober(posterior, run.anchor, gauge_key)
    around = positions + initial_scale(prober, start_key, num_chains=shape[0]) * jax.random.normal(
        start_key, shape
    )
    gauge = measure(run, ladder, around, random_directions(gauge_key, *shape), gauge_key, rounds=8)
    energy, factor = np.full(len(ladder.rungs), 0.5 * posterior.num_params), np.ones(len(ladder.rungs))
    fixed = None if step_size is None else Tuned(np.full(factor.shape, step_size), np.zeros_like(factor))
    tuned = fixed or choose_tuning(run, ladder, gauge, energy)
    learning = replace(run, kernel=measuring(run.kernel, preconditioner)) if preconditioner else run
    taken, broken, tried = 0, 0, 0
    for number in range(ROUNDS):
        at_nbeta = ~ladder.hot | (number >= HOT_ROUNDS)
        nbeta = ladder.spread(ladder.rungs) * np.where(at_nbeta, 1.0, HOT_FACTOR)
        steps = num_warmup * (number + 1) // ROUNDS - num_warmup * number // ROUNDS
        for _ in range(RESCUES if fixed is None else 1):
            settings = make_settings(run, ladder, nbeta, tuned)
            state = start(learning, positions, settings, number=taken)
            trace = sample(learning, state, settings, first=1 + taken, count=steps, on_chunk=on_chunk)
            broken, tried = broken + count_broken(trace), tried + trace.draws.distance.size
            if finite(trace) or not trace.complete:
                break
            tuned, factor = tuned._replace(step_size=0.25 * tuned.step_size, memory=0 * factor), 0.25 * factor
        taken += steps
        if not trace.complete or not finite(trace):
            share = broken / max(tried, 1)
            return WarmUp(trace.state, settings, tuned.reach, taken, share, trace.complete, finite(trace))
        positions = trace.state.position
        energy = mean_energy(ladder, trace, at_nbeta, energy)
        scale = scale_of(trace.state.seen) if preconditioner else 1.0
        key = jax.random.fold_in(gauge_key, number)
        floor = None if preconditioner else gauge
        gauge = measure(run, ladder, positions, gauge.vectors, key, rounds=4, floor=floor, scale=scale)
        if fixed is None:
            factor = factor * acceptance_factor(run, ladder, trace)
            chosen = choose_tuning(run, ladder, gauge, energy, scale)
            limit = np.inf if preconditioner and number == 0 else GROWTH * tuned.step_size
            tuned = chosen._replace(step_size=np.minimum(factor * chosen.step_size, limit))
        else:
            tuned = fixed._replace(scale=scale)
    settings = make_settings(run, ladder, ladder.spread(ladder.rungs), tuned)
    state = start(run, positions, settings, number=taken)
    return WarmUp(state, settings, tuned.reach, taken, broken / max(tried, 1), True, True)


def acceptance_factor(run: Run, ladder: Ladder, trace: Trace) -> np.ndarray:
    """Return by what to multiply ε `(rung,)` so that the share of accepted moves nears the kernel's aim."""
    if run.kernel.acceptance is None:
        return np.ones(len(ladder.rungs))
    accepted = ladder.split(trace.draws.accepted).mean((1, 2))
    return np.clip(np.exp(4 * (accepted - run.kernel.acceptance)), 0.25, 2.0)


def choose_tuning(
    run: Run, ladder: Ladder, gauge: Gauge, energy: np.ndarray, scale: jax.Array | float = 1.0
) -> Tuned:
    """Return ε and c: a tenth of the stability limit and .95, less where noise would heat λ̂ by 1 %.

    The stability limit is 4/(nβ h_max + γ). The heat ε(nβ)² tr C/8 is that of the slow directions' reach
    ε(1 + c)/(1 - c), so memory is given up first, then step size; kernels without inertia have none.
    """
    pull = run.posterior.localization * float(jnp.max(jnp.square(scale)))
    stable = STABLE_FRACTION * 4.0 / (ladder.rungs * gauge.curvature + pull + 1e-30)
    with np.errstate(divide="ignore"):
        reach = HEAT_FRACTION * np.maximum(energy, 0.05) / heat_rate(ladder, gauge.noise)
    most = MEMORY if run.kernel.inertial else 0.0
    memory = np.clip(1 - 2 * stable / (reach + stable), 0.0, most)
    return Tuned(np.minimum(stable, reach), memory, scale)


def heat_rate(ladder: Ladder, noise: np.ndarray) -> np.ndarray:
    """Return by how much minibatch noise raises λ̂ for each unit of reach: (nβ)² tr C/8 `(rung,)`."""
    return ladder.rungs**2 * noise / 8


def make_settings(run: Run, ladder: Ladder, nbeta: np.ndarray, tuned: Tuned) -> Settings:
    """Return the settings of a step with nβ `(chain,)`."""
    column = lambda values: jnp.asarray(ladder.spread(values)[:, None], jnp.float32)
    tuning = Tuning(column(tuned.step_size), column(tuned.memory), jnp.asarray(tuned.scale, jnp.float32))
    gamma = jnp.float32(run.posterior.localization)
    return Settings(jnp.asarray(nbeta, jnp.float32), gamma, tuning)


def measure(
    run: Run,
    ladder: Ladder,
    positions: jax.Array,
    vectors: jax.Array,
    key: jax.Array,
    *,
    rounds: int,
    floor: Gauge | None = None,
    scale: jax.Array | float = 1.0,
) -> Gauge:
    """Return the largest curvature over chains, at least half of `floor`'s, and the mean gradient noise."""
    prober = make_prober(run.posterior, run.anchor, key)
    found = largest_curvature(prober, positions, vectors, rounds=rounds, scale=scale)
    curvature = np.asarray(jnp.nanmax(jnp.asarray(ladder.split(found.curvature)), axis=1))
    curvature = np.maximum(curvature, 0.5 * floor.curvature) if floor else curvature
    return Gauge(curvature, ladder.split(found.noise).mean(1), found.direction)


def mean_energy(ladder: Ladder, trace: Trace, at_nbeta: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Return λ̂ `(rung,)` of the chains `at_nbeta`, over the second half of `trace`."""
    energy = np.asarray(trace.draws.energy)
    if energy.shape[1] < 2:
        return otherwise
    means = energy[:, energy.shape[1] // 2 :].mean((1, 2))
    means = np.where(at_nbeta, means, np.nan)
    return ladder.rungs * np.nanmean(ladder.split(means), axis=1)


def finite(trace: Trace) -> bool:
    """True when every recorded draw is finite."""
    return count_broken(trace) == 0


def count_broken(trace: Trace) -> int:
    """Return at how many draws a chain's loss or weights were not finite."""
    return int(np.sum(~(np.isfinite(trace.draws.energy).all(-1) & np.isfinite(trace.draws.distance))))
