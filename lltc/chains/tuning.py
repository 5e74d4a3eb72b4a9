"""What a step needs to be right: step size and memory for chains at several temperatures at once."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from lltc.chains.curvature import Gauge
from lltc.chains.loop import Run, Trace
from lltc.chains.rotation import PLAIN, Frame
from lltc.chains.rungs import Ladder
from lltc.chains.steps import Settings
from lltc.kernels import Tuning

STABLE_FRACTION = 0.1
HEAT_FRACTION = 0.01
MEMORY = 0.95


class Tuned(NamedTuple):
    """Step size ε `(rung,)` and memory c of the velocity `(rung,)`, and the frame of both."""

    step_size: np.ndarray
    memory: np.ndarray
    frame: Frame = PLAIN

    @property
    def reach(self) -> np.ndarray:
        """ε(1 + c)/(1 - c): the step size of memoryless dynamics that moves slow directions as far."""
        return self.step_size * (1 + self.memory) / (1 - self.memory)


def acceptance_factor(run: Run, ladder: Ladder, trace: Trace) -> np.ndarray:
    """Return by what to multiply ε `(rung,)` so that the share of accepted moves nears the kernel's aim."""
    if run.kernel.acceptance is None:
        return np.ones(len(ladder.rungs))
    accepted = ladder.split(trace.draws.accepted).mean((1, 2))
    return np.clip(np.exp(4 * (accepted - run.kernel.acceptance)), 0.25, 2.0)


def choose_tuning(
    run: Run,
    ladder: Ladder,
    gauge: Gauge,
    energy: np.ndarray,
    frame: Frame = PLAIN,
    heat: float = HEAT_FRACTION,
) -> Tuned:
    """Return ε and c: a tenth of the stability limit and 0.95, less where noise would heat λ̂ by `heat`.

    The stability limit is 4/(nβ h_max + γ). The heat ε(nβ)² tr C/8 is that of the slow directions' reach
    ε(1 + c)/(1 - c), so memory is given up first, then step size; kernels without inertia have none.
    """
    largest = frame.scale if isinstance(frame.scale, float) else float(jnp.max(frame.scale))
    pull = run.posterior.localization * largest**2
    stable = STABLE_FRACTION * 4.0 / (ladder.rungs * gauge.curvature + pull + 1e-30)
    with np.errstate(divide="ignore"):
        reach = heat * np.maximum(energy, 0.05) / heat_rate(ladder, gauge.noise)
    most = MEMORY if run.kernel.inertial else 0.0
    memory = np.clip(1 - 2 * stable / (reach + stable), 0.0, most)
    return Tuned(np.minimum(stable, reach), memory, frame)


def stable_reach(run: Run, ladder: Ladder, gauge: Gauge) -> np.ndarray:
    """Return the reach `(rung,)` that stability alone allows in the coordinates of the weights."""
    memory = MEMORY if run.kernel.inertial else 0.0
    stiffest = ladder.rungs * gauge.curvature + run.posterior.localization + 1e-30
    return STABLE_FRACTION * 4.0 / stiffest * (1 + memory) / (1 - memory)


def heat_rate(ladder: Ladder, noise: np.ndarray) -> np.ndarray:
    """Return by how much minibatch noise raises λ̂ for each unit of reach: (nβ)² tr C/8 `(rung,)`."""
    return ladder.rungs**2 * noise / 8


def make_settings(run: Run, ladder: Ladder, nbeta: np.ndarray, tuned: Tuned) -> Settings:
    """Return the settings of a step with nβ `(chain,)`."""
    dtype = run.posterior.dtype
    column = lambda values: jnp.asarray(ladder.spread(values)[:, None], dtype)
    tuning = Tuning(column(tuned.step_size), column(tuned.memory), jnp.asarray(tuned.frame.scale, dtype))
    gamma = jnp.asarray(run.posterior.localization, dtype)
    return Settings(jnp.asarray(nbeta, dtype), gamma, tuning, tuned.frame.rotation)
