"""Warm-up that measures instead of asking: starts, step size, hot and cold chains; then all is frozen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.calibration import (
    calibration_batch,
    gradient_noise,
    initial_scale,
    largest_curvature,
    start_vectors,
)
from lltc.kernels import Tuning
from lltc.sampling import Run, Settings, Trace, sample, start

ROUNDS = 8
HOT_ROUNDS = 4
HOT_FACTOR = 0.25
STABLE_FRACTION = 0.1
HEAT_FRACTION = 0.01
MEMORY = 0.95
GROWTH = 4.0
RESCUES = 6
ACCEPTANCE = 0.95


@dataclass(frozen=True)
class WarmUp:
    """Chains ready to draw: `state`, frozen `settings`, predicted minibatch `heat` in units of λ̂.

    `steps` have been taken, numbered from 1; `complete` is False after Ctrl-C, and `finite` False when no
    rescue helped.
    """

    state: Any
    settings: Settings
    heat: float
    steps: int
    complete: bool
    finite: bool


class Tuned(NamedTuple):
    """Step size ε and memory c of the velocity, as plain numbers."""

    step_size: float
    memory: float

    @property
    def reach(self) -> float:
        """ε(1 + c)/(1 - c): the step size of memoryless dynamics that moves slow directions as far."""
        return self.step_size * (1 + self.memory) / (1 - self.memory)


@dataclass(frozen=True)
class Gauge:
    """What one round measures: the largest loss curvature, tr C of the gradient, the curvature's vectors."""

    curvature: float
    noise: float
    vectors: jax.Array


def is_hot(num_chains: int) -> np.ndarray:
    """Return which chains start hot, `(chain,)`: the second half."""
    return np.arange(num_chains) >= (num_chains + 1) // 2


def warm_up(
    run: Run,
    *,
    num_chains: int,
    num_warmup: int,
    step_size: float | None,
    on_chunk: Callable[[int], None] = lambda _: None,
) -> WarmUp:
    """Bring cold chains (from w*) and hot ones (from nβ/4) to the posterior and freeze the tuning.

    Each of eight rounds measures the largest curvature on the chains and the gradient noise and tunes anew
    (`choose_tuning`). A round that leaves the finite numbers is undone and run again at ε/4. With `step_size`
    given, ε is fixed, without memory, and only the starts are made.
    """
    posterior, center = run.posterior, run.posterior.center.position
    hot = is_hot(num_chains)
    gauge_key, start_key = jax.random.split(jax.random.fold_in(run.key, 3))
    positions = jnp.broadcast_to(center, (num_chains, center.size))
    shakes = initial_scale(posterior, start_key) * jax.random.normal(start_key, positions.shape)
    gauge = measure(run, positions + shakes, start_vectors(gauge_key, *positions.shape), gauge_key, rounds=8)
    energy, taken, factor = 0.5 * posterior.num_params, 0, 1.0
    tuning = choose_tuning(run, gauge, energy) if step_size is None else Tuned(step_size, 0.0)
    for number in range(ROUNDS):
        at_nbeta = ~hot | (number >= HOT_ROUNDS)
        nbeta = posterior.nbeta * np.where(at_nbeta, 1.0, HOT_FACTOR)
        steps = num_warmup * (number + 1) // ROUNDS - num_warmup * number // ROUNDS
        for _ in range(RESCUES if step_size is None else 1):
            settings = make_settings(run, nbeta, tuning)
            state = start(run, positions, settings, number=taken)
            trace = sample(run, state, settings, first=1 + taken, count=steps, on_chunk=on_chunk)
            if finite(trace) or not trace.complete:
                break
            tuning, factor = Tuned(0.25 * tuning.step_size, 0.0), 0.25 * factor
        taken += steps
        if not trace.complete or not finite(trace):
            return WarmUp(trace.state, settings, 0.0, taken, trace.complete, finite(trace))
        positions = trace.state.position
        energy = mean_energy(run, trace, at_nbeta, energy)
        key = jax.random.fold_in(gauge_key, number)
        gauge = measure(run, positions, gauge.vectors, key, rounds=4, floor=gauge)
        if step_size is None:
            factor *= acceptance_factor(trace) if run.exact else 1.0
            chosen = choose_tuning(run, gauge, energy)
            tuning = Tuned(min(factor * chosen.step_size, GROWTH * tuning.step_size), chosen.memory)
    settings = make_settings(run, np.full(num_chains, posterior.nbeta), tuning)
    state = start(run, positions, settings, number=taken)
    return WarmUp(state, settings, predicted_heat(run, gauge.noise, tuning.reach), taken, True, True)


def acceptance_factor(trace: Trace) -> float:
    """Return by what to multiply ε so that the share of accepted moves nears 95 %."""
    return float(np.clip(np.exp(4 * (trace.draws.accepted.mean() - ACCEPTANCE)), 0.25, 2.0))


def choose_tuning(run: Run, gauge: Gauge, energy: float) -> Tuned:
    """Return ε and c: a tenth of the stability limit and .95, less where noise would heat λ̂ by 1 %.

    The stability limit is 4/(nβ h_max + γ). The heat ε(nβ)² tr C/8 is that of the slow directions' reach
    ε(1 + c)/(1 - c), so memory is given up first, then step size.
    """
    posterior = run.posterior
    stable = STABLE_FRACTION * 4.0 / (posterior.nbeta * gauge.curvature + posterior.localization + 1e-30)
    heat_rate = predicted_heat(run, gauge.noise, 1.0)
    if heat_rate == 0:
        return Tuned(stable, MEMORY)
    reach = HEAT_FRACTION * max(energy, 0.05) / heat_rate
    return Tuned(min(stable, reach), min(MEMORY, max(0.0, (reach - stable) / (reach + stable))))


def predicted_heat(run: Run, noise: float, reach: float) -> float:
    """Return by how much minibatch noise raises λ̂: ε(nβ)² tr C/8 at the ε that reaches as far."""
    return reach * run.posterior.nbeta**2 * noise / 8


def make_settings(run: Run, nbeta: np.ndarray, tuning: Tuned) -> Settings:
    """Return the settings of a step with nβ `(chain,)`."""
    gamma = jnp.float32(run.posterior.localization)
    return Settings(
        jnp.asarray(nbeta, jnp.float32),
        gamma,
        Tuning(jnp.float32(tuning.step_size), jnp.float32(tuning.memory), jnp.float32(1.0)),
    )


def measure(
    run: Run,
    positions: jax.Array,
    vectors: jax.Array,
    key: jax.Array,
    *,
    rounds: int,
    floor: Gauge | None = None,
) -> Gauge:
    """Return the largest curvature over chains, at least half of `floor`'s, and the mean gradient noise."""
    posterior = run.posterior
    batch = calibration_batch(posterior, key)
    found = largest_curvature(posterior.target, posterior.center, positions, batch, vectors, rounds=rounds)
    curvature = float(jnp.nanmax(found.value))
    curvature = max(curvature, 0.5 * floor.curvature) if floor else curvature
    if posterior.full_batch:
        return Gauge(curvature, 0.0, found.vector)
    noise = gradient_noise(posterior.target, posterior.center, positions, batch)
    return Gauge(curvature, float(jnp.mean(noise)), found.vector)


def mean_energy(run: Run, trace: Trace, at_nbeta: np.ndarray, otherwise: float) -> float:
    """Return λ̂ of the chains `at_nbeta`, over the second half of `trace`."""
    energy = np.asarray(trace.draws.energy)[at_nbeta]
    if energy.shape[1] < 2:
        return otherwise
    return float(run.posterior.nbeta * energy[:, energy.shape[1] // 2 :].mean())


def finite(trace: Trace) -> bool:
    """True when every recorded draw is finite."""
    return bool(np.isfinite(trace.draws.energy).all() and np.isfinite(trace.draws.distance).all())
