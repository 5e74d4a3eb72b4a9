"""Drawing by replica exchange: a measured ladder of temperatures from the prior up to the posterior."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.cost import COSTLY, measure_footprint
from lltc.chains.loop import Run, Trace, sample, start
from lltc.chains.rungs import Ladder, is_hot
from lltc.chains.steps import Draws, Settings
from lltc.chains.streams import RandomStream, substream
from lltc.chains.tuning import MEMORY, Tuned, acceptance_factor, make_settings
from lltc.kernels import EVERY, exchanging, ghmc

RUNGS = 9
DECADES = 2.0
ROUNDS, STEPS, REST = 8, 64, 640
TUNING_STEPS = ROUNDS * STEPS + REST
FIXED_ROUNDS, PRIOR_ROUNDS = 2, 16
LEAST_REJECTION = 0.02
MOST_BARRIER = 6.0


@dataclass(frozen=True)
class Tempered:
    """Replicas ready to draw on the rungs of `ladder`; the first has nβ = 0, the last is the last target's.

    All `targets`, rising nβ `(target,)`, are among the rungs. `rejection` `(rung - 1,)` is the share of
    refused trades between neighbours in the last round of tuning, before the rungs were spaced for the last
    time and other targets joined. The ladder took `TUNING_STEPS` steps.
    """

    run: Run
    ladder: Ladder
    targets: np.ndarray
    settings: Settings
    state: Any
    rejection: np.ndarray

    @property
    def chosen(self) -> slice | np.ndarray:
        """Which chains are at a target, `(target·replica,)`."""
        replicas = self.ladder.num_chains
        if len(self.targets) == 1:
            # Sums over a view are rounded as they are over its chains in the trace.
            return slice(-replicas, None)
        rungs = np.append(np.searchsorted(self.ladder.rungs, self.targets[:-1]), len(self.ladder.rungs) - 1)
        return (replicas * rungs[:, None] + np.arange(replicas)).ravel()

    @property
    def target(self) -> Settings:
        """The settings of the targets' chains."""
        chosen, tuning = self.chosen, self.settings.tuning
        tuning = tuning._replace(step_size=tuning.step_size[chosen], memory=tuning.memory[chosen])
        return self.settings._replace(nbeta=self.settings.nbeta[chosen], tuning=tuning)

    @property
    def cost(self) -> float:
        """How many evaluations of the loss a replica needs for a draw, exchanges included."""
        return len(self.ladder.rungs) * (1 + 1 / EVERY)

    def sample(self, state: Any, **options: Any) -> Trace:
        """Return what the targets' chains `(target·chain, draw)` record.

        `options` are those of `loop.sample`; `visit` and `observe` see the targets' chains. The state is that
        of all.
        """
        chosen = self.chosen
        watching = {name: options.pop(name, None) for name in ("visit", "observe")}
        for name, watch in watching.items():
            if watch is not None:
                options[name] = lambda positions, watch=watch: watch(positions[chosen])
        trace = sample(self.run, state, self.settings, **options)
        draws = Draws(*(values[chosen] for values in trace.draws))
        observables = {name: values[chosen] for name, values in trace.observables.items()}
        return replace(trace, draws=draws, observables=observables)


def is_temperable(run: Run, num_chains: int, *, targets: int) -> bool:
    """True where there is a prior to draw from, and a step of all rungs costs little."""
    posterior = run.posterior
    if posterior.localization == 0 or posterior.target.placement is not None:
        return False
    chains = (RUNGS + targets - 1) * num_chains
    return measure_footprint(posterior).total(chains, posterior.batch_size) <= COSTLY


def barrier(llc: float, nbeta: float, prior_rise: float) -> float:
    """Return about how many trades are refused from the prior up to the posterior, however many rungs.

    The energies at nβ have the standard deviation √λ, so that a step of log nβ by δ is refused in a share
    δ√(λ/π); where `prior_rise`, the prior's own ΔL, has nβ ΔL = λ the way ends.

    Source: Syed, Bouchard-Côté, Deligiannidis & Doucet (2022, arXiv:1905.02939), section 4.

    Example:
        >>> barrier(0.4, 1e5, 1.0) < 6 < barrier(20.0, 1e5, 1.0)
        True
    """
    return float(np.sqrt(llc / np.pi) * np.log1p(nbeta * prior_rise / llc)) if llc > 0 else np.inf


def expected_arrivals(num_draws: int, replicas: int, refused: float) -> float:
    """Return about how often replicas come from the prior in `num_draws`.

    With many rungs a replica comes once in 2 + 2·`refused` rounds of trades; `refused` is the barrier.

    Source: Syed, Bouchard-Côté, Deligiannidis & Doucet (2022, arXiv:1905.02939), section 3.

    Example:
        >>> expected_arrivals(1000, 8, 4.0)
        80.0
    """
    return num_draws / EVERY * replicas / (2 + 2 * refused)


def measure_prior_rise(run: Run, num_chains: int) -> float:
    """Return the median of |L(w) - L(w*)| over draws of the prior where it is finite."""
    posterior = run.posterior
    ladder = Ladder(np.zeros(1), num_chains)
    settings = _settings(run, ladder, np.ones(1))
    rises = []
    for key in jax.random.split(substream(run.key, RandomStream.ladder), PRIOR_ROUNDS):
        prior = jax.random.normal(key, (num_chains, posterior.num_params), posterior.dtype)
        state = start(run, prior / np.sqrt(posterior.localization), settings)
        rises.append(np.abs(np.asarray(state.aux.energy, np.float64).mean(-1)))
    finite = np.concatenate(rises)
    finite = finite[np.isfinite(finite)]
    return float(np.median(finite)) if finite.size else np.inf


def temper(
    run: Run,
    positions: jax.Array,
    step_size: float,
    prior_rise: float,
    *,
    targets: np.ndarray,
    first: int,
    on_chunk: Callable[[int], None] = lambda _: None,
) -> Tempered | None:
    """Return a tuned ladder of replicas, or None where a step left the finite numbers.

    Replicas start at `positions` `(replica, d)` on every rung, with ε = `step_size` at the last, which is
    the last of `targets`. Eight rounds bring ε of every rung to the acceptance that the kernel aims at, and
    space the rungs, first evenly in log nβ from where nβ `prior_rise` is ½, such that neighbours refuse
    trades equally often. Then the other targets become rungs too, and 640 steps let all forget where they
    come from, half of them from hotter rungs.
    """
    posterior, replicas = run.posterior, len(positions)
    gamma, nbeta = posterior.localization, float(targets[-1])
    lowest = float(np.clip(0.5 / max(prior_rise, 1e-30), 1e-12 * nbeta, 0.5 * nbeta))
    run = replace(run, kernel=exchanging(ghmc(decades=DECADES), RUNGS))
    ladder = Ladder(np.append(0.0, np.geomspace(lowest, nbeta, RUNGS - 1)), replicas)
    step_sizes = np.append(1 / gamma, np.minimum(step_size * nbeta / ladder.rungs[1:], 1 / gamma))
    positions, rejection = jnp.tile(positions, (RUNGS, 1)), np.ones(RUNGS - 1)
    for number in range(ROUNDS):
        begin = first + number * STEPS
        settings = _settings(run, ladder, step_sizes)
        state = start(run, positions, settings, number=begin)
        trace = sample(run, state, settings, first=begin, count=STEPS, on_chunk=on_chunk)
        if not trace.complete:
            raise KeyboardInterrupt
        if not np.isfinite(trace.draws.energy).all():
            return None
        positions, rejection = trace.state.position, rejections(ladder, trace.draws.energy)
        factor = np.append(1.0, acceptance_factor(run, ladder, trace)[1:])
        step_sizes = np.minimum(factor * step_sizes, 1 / gamma)
        if number >= FIXED_ROUNDS:
            spaced = respace(ladder.rungs, rejection)
            new, old = np.log(spaced[1:]), np.log(ladder.rungs[1:])
            step_sizes[1:] = np.exp(np.interp(new, old, np.log(step_sizes[1:])))
            ladder = Ladder(spaced, replicas)
    if len(targets) > 1:
        ladder, step_sizes, positions = _with_rungs(ladder, targets[:-1], step_sizes, positions)
        run = replace(run, kernel=exchanging(ghmc(decades=DECADES), len(ladder.rungs)))
    settings, begin = _settings(run, ladder, step_sizes), first + ROUNDS * STEPS
    state = start(run, _spread_out(ladder, positions), settings, number=begin)
    trace = sample(run, state, settings, first=begin, count=REST, on_chunk=on_chunk)
    if not trace.complete:
        raise KeyboardInterrupt
    # The first to arrive may still be near where the ladder began.
    state = trace.state._replace(arrivals=jnp.zeros_like(trace.state.arrivals))
    return Tempered(run, ladder, targets, settings, state, rejection)


def _with_rungs(
    ladder: Ladder, more: np.ndarray, step_sizes: np.ndarray, positions: jax.Array
) -> tuple[Ladder, np.ndarray, jax.Array]:
    """Return the ladder with `more` rungs, which start where the next one stands, all ε and positions."""
    rungs = np.union1d(ladder.rungs, more)
    new, old = np.log(rungs[1:]), np.log(ladder.rungs[1:])
    between = np.exp(np.interp(new, old, np.log(step_sizes[1:])))
    by_rung = positions.reshape(len(ladder.rungs), ladder.num_chains, -1)
    positions = by_rung[np.searchsorted(ladder.rungs, rungs)].reshape(-1, positions.shape[-1])
    return Ladder(rungs, ladder.num_chains), np.append(step_sizes[:1], between), positions


def _spread_out(ladder: Ladder, positions: jax.Array) -> jax.Array:
    """Return `positions` `(rung·replica, d)` with the hot half of replicas moved up from two rungs below.

    There they reach too far, as the others, which come from w*, reach too little.
    """
    by_rung = positions.reshape(len(ladder.rungs), ladder.num_chains, -1)
    below = jnp.concatenate([by_rung[:2], by_rung[:-2]])
    hot = jnp.asarray(is_hot(ladder.num_chains))[None, :, None]
    return jnp.where(hot, below, by_rung).reshape(positions.shape)


def _settings(run: Run, ladder: Ladder, step_sizes: np.ndarray) -> Settings:
    tuned = Tuned(step_sizes, np.full(len(step_sizes), MEMORY))
    return make_settings(run, ladder, ladder.spread(ladder.rungs), tuned)


def rejections(ladder: Ladder, energy: np.ndarray) -> np.ndarray:
    """Return by `energy` `(rung·chain, draw, 2)` what share of trades neighbours refuse, `(rung - 1,)`.

    The first half of the draws is left out.

    Example:
        >>> ladder = Ladder(np.array([0.0, 1.0]), 1)
        >>> rejections(ladder, np.array([[[1.0, 1.0]], [[1.0, 1.0]]]))
        array([0.])
    """
    settled = ladder.split(energy)[:, :, energy.shape[1] // 2 :].mean(-1, dtype=np.float64)
    gain = np.diff(ladder.rungs)[:, None, None] * np.diff(settled, axis=0)
    return 1 - np.exp(np.minimum(gain, 0.0)).mean((1, 2))


def respace(rungs: np.ndarray, rejection: np.ndarray) -> np.ndarray:
    """Return rungs between which equal shares of `rejection` lie, the first (0) and the last kept.

    Between neighbours it is taken to be spread evenly over log nβ.

    Example:
        >>> respace(np.array([0.0, 1.0, 100.0]), np.array([0.2, 0.6])).round(3)
        array([  0.   ,   4.642, 100.   ])
    """
    heights = np.log(np.maximum(rungs, 1e-2 * rungs[1]))
    total = np.append(0.0, np.cumsum(np.maximum(rejection, LEAST_REJECTION)))
    spaced = np.exp(np.interp(np.linspace(0, total[-1], len(rungs)), total, heights))
    return np.concatenate([rungs[:1], spaced[1:-1], rungs[-1:]])
