"""What a step needs to be right: step size and memory for chains at several temperatures at once."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.calibration import largest_curvature, make_prober
from lltc.kernels import Tuning
from lltc.posterior.sharding import to_host
from lltc.sampling import Run, Settings, Trace

STABLE_FRACTION = 0.1
HEAT_FRACTION = 0.01
MEMORY = 0.95


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
        return to_host(values).reshape(len(self.rungs), self.num_chains, *np.shape(values)[1:])


def is_hot(num_chains: int) -> np.ndarray:
    """Return which chains start hot, `(chain,)`: the second half."""
    return np.arange(num_chains) >= (num_chains + 1) // 2


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
    largest = scale if isinstance(scale, float) else float(jnp.max(scale))
    pull = run.posterior.localization * largest**2
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
    curvature = np.fmax.reduce(ladder.split(found.curvature), axis=1)
    curvature = np.maximum(curvature, 0.5 * floor.curvature) if floor else curvature
    return Gauge(curvature, ladder.split(found.noise).mean(1), found.direction)
