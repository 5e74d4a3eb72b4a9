"""Warm-up that measures instead of asking: starts, step size, hot and cold chains; then all is frozen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
from lltc.sampling import Run, Settings, Trace, sample, start

ROUNDS = 8
HOT_ROUNDS = 4
HOT_FACTOR = 0.25
STABLE_FRACTION = 0.1
HEAT_FRACTION = 0.01
GROWTH = 4.0
RESCUES = 6


@dataclass(frozen=True)
class WarmUp:
    """Chains ready to draw: `state`, frozen `settings`, predicted minibatch `heat` in units of λ̂.

    `steps` have been taken, numbered from 1; `complete` is False after Ctrl-C, and `finite` False when no
    rescue helped.
    """

    state: Any
    settings: Settings
    heat: float
    curvature: float
    steps: int
    complete: bool
    finite: bool


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
    """Bring cold chains (from w*) and hot ones (from nβ/4) to the posterior and freeze the step size.

    Each of eight rounds measures the largest curvature h_max on the chains and the gradient noise tr C, and
    takes the smaller of .1 of the stability limit 4/(nβ h_max + γ) and the ε at which the predicted heat
    ε(nβ)² tr C/8 is 1 % of λ̂. A round that leaves the finite numbers is undone and run again at ε/4. With
    `step_size` given, ε is fixed and only the starts are made.
    """
    posterior = run.posterior
    hot = is_hot(num_chains)
    gauge_key, start_key = jax.random.split(jax.random.fold_in(run.key, 3))
    center = posterior.center.position
    state = start(run, jnp.broadcast_to(center, (num_chains, center.size)))
    scale = initial_scale(posterior, start_key)
    shaken = center + scale * jax.random.normal(start_key, (num_chains, center.size))
    gauge = measure(run, shaken, start_vectors(gauge_key, num_chains, center.size), gauge_key, rounds=8)
    energy, taken, shrink = 0.5 * posterior.num_params, 0, 1.0
    size = step_size or choose_step_size(run, gauge, energy)
    for number in range(ROUNDS):
        nbeta = posterior.nbeta * np.where(hot & (number < HOT_ROUNDS), HOT_FACTOR, 1.0)
        steps = num_warmup * (number + 1) // ROUNDS - num_warmup * number // ROUNDS
        before = jax.tree.map(lambda a: a.copy(), state)
        for _ in range(RESCUES if step_size is None else 1):
            settings = make_settings(run, nbeta, size)
            trace = sample(run, state, settings, first=1 + taken, count=steps, on_chunk=on_chunk)
            if finite(trace) or not trace.complete:
                break
            size, shrink = 0.25 * size, 0.25 * shrink
            state = jax.tree.map(lambda a: a.copy(), before)
        state, taken = trace.state, taken + steps
        if not trace.complete or not finite(trace):
            return WarmUp(state, settings, 0.0, gauge.curvature, taken, trace.complete, finite(trace))
        energy = mean_energy(run, trace, hot & (number < HOT_ROUNDS), energy)
        gauge = measure(
            run, state.position, gauge.vectors, jax.random.fold_in(gauge_key, number), rounds=4, floor=gauge
        )
        if step_size is None:
            size = min(shrink * choose_step_size(run, gauge, energy), GROWTH * size)
    settings = make_settings(run, np.full(num_chains, posterior.nbeta), size)
    return WarmUp(state, settings, predicted_heat(run, gauge.noise, size), gauge.curvature, taken, True, True)


def choose_step_size(run: Run, gauge: Gauge, energy: float) -> float:
    """Return ε: a tenth of the stability limit, less where minibatch heat would pass 1 % of λ̂ (`energy`)."""
    posterior = run.posterior
    stable = STABLE_FRACTION * 4.0 / (posterior.nbeta * gauge.curvature + posterior.localization + 1e-30)
    heat_rate = predicted_heat(run, gauge.noise, 1.0)
    return min(stable, HEAT_FRACTION * max(energy, 0.05) / heat_rate) if heat_rate > 0 else stable


def predicted_heat(run: Run, noise: float, step_size: float) -> float:
    """Return ε(nβ)² tr C/8: by how much minibatch noise raises λ̂."""
    return step_size * run.posterior.nbeta**2 * noise / 8


def make_settings(run: Run, nbeta: np.ndarray, step_size: float) -> Settings:
    """Return the settings of a step with nβ `(chain,)`."""
    gamma = run.posterior.localization
    return Settings(jnp.asarray(nbeta, jnp.float32), jnp.float32(gamma), jnp.float32(step_size))


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


def mean_energy(run: Run, trace: Trace, hot: np.ndarray, otherwise: float) -> float:
    """Return λ̂ of the chains that are at the posterior's own temperature, over the second half of `trace`."""
    energy = np.asarray(trace.draws.energy)[~hot]
    if energy.shape[1] < 2:
        return otherwise
    return float(run.posterior.nbeta * energy[:, energy.shape[1] // 2 :].mean())


def finite(trace: Trace) -> bool:
    """True when every recorded draw is finite."""
    return bool(np.isfinite(trace.draws.energy).all() and np.isfinite(trace.draws.distance).all())
