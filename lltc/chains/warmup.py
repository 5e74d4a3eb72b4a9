"""Warm-up that measures instead of asking: starts, step size, hot and cold chains; then all is frozen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.curvature import Gauge, initial_scale, make_prober, measure, random_directions
from lltc.chains.loop import Run, Trace, sample, start
from lltc.chains.rotation import PLAIN, Frame, turn
from lltc.chains.rounds import ROUNDS, count_broken, finite, flung, mean_energy, round_lengths, settled
from lltc.chains.rungs import Ladder
from lltc.chains.steps import Settings
from lltc.chains.streams import RandomStream, substream
from lltc.chains.tuning import (
    HEAT_FRACTION,
    Tuned,
    acceptance_factor,
    choose_tuning,
    make_settings,
    stable_reach,
)
from lltc.chains.whitening import find_frame, is_hopeless, is_white
from lltc.kernels import MeasuringState, scale_of
from lltc.posterior.sharding import to_host

HOT_ROUNDS = 4
HOT_FACTOR = 0.25
GROWTH = 4.0
RESCUES = 6
PRODUCTS = 4
EARLY, EARLY_HEAT = 6, 0.1


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


class Standing(NamedTuple):
    """Where warm-up stands between two rounds.

    `gauge` is in the coordinates of `tuned`, `plain` the last one in those of the weights. `factor` `(rung,)`
    multiplies every ε chosen from here on (rescues, acceptance), `energy` `(rung,)` is λ̂ so far, `broken` of
    the `tried` draws were not finite.
    """

    positions: jax.Array
    gauge: Gauge
    plain: Gauge
    tuned: Tuned
    factor: np.ndarray
    energy: np.ndarray
    broken: int = 0
    tried: int = 0


class Round(NamedTuple):
    """One round: nβ `(chain,)`, the steps before it and in it, how often it may be tried; is it `watched`?"""

    nbeta: np.ndarray
    taken: int
    steps: int
    tries: int
    watched: bool


def warm_up(
    run: Run,
    ladder: Ladder,
    *,
    num_warmup: int | None,
    step_size: float | None,
    on_chunk: Callable[[int], None] = lambda _: None,
    on_round: Callable[[WarmUp, Trace], None] | None = None,
) -> WarmUp:
    """Bring cold chains (from w*) and hot ones (from nβ/4) to the posterior and freeze the tuning.

    Each of eight rounds measures the largest curvature on the chains and the gradient noise and tunes anew
    (`choose_tuning`). A round that leaves the finite numbers, or throws a chain so far that it may not be
    back in time, is undone and run again at ε/4. With `step_size` given, ε is fixed, without memory, and only
    the starts are made. The scale of a `measuring` kernel is read off after each round. Where the steps so
    tuned cannot bring flat directions to where they belong, chains go on in coordinates in which all
    directions are about equally stiff (`find_frame`), found anew after each round; from the second on it
    must make them so (`is_white`), or the coordinates are those of the weights again.

    `num_warmup` None is for steps that cost much: the eight rounds are short, and longer ones follow until
    hot and cold chains agree and ε stays, or a thousand steps are made. The first six may heat λ̂ ten times
    as much as draws may, so that flat directions, which are far from where they will be, get there soon; the
    heat lies in stiffer ones and is gone as soon.

    `on_round`, where given, sees each round of which all chains were at their nβ, as if warm-up ended there.
    """
    costly = num_warmup is None
    stage, taken = _begin(run, ladder, step_size, costly=costly), 0
    tries = RESCUES if step_size is None else 1
    whitened, free = False, _may_whiten(run, ladder, costly=costly, tuned=step_size is None)
    for number, steps in enumerate(round_lengths(num_warmup)):
        at_nbeta = ~ladder.hot | (number >= HOT_ROUNDS)
        nbeta = ladder.spread(ladder.rungs) * np.where(at_nbeta, 1.0, HOT_FACTOR)
        if number == 1 and isinstance(stage.tuned.frame.scale, float):
            whitened = free and is_hopeless(run.posterior, stable_reach(run, ladder, stage.gauge)[0])
        moves = Round(nbeta, taken, steps, tries, watched=whitened)
        stage, trace, visited = _run_round(run, ladder, stage, moves, on_chunk)
        taken += steps
        if not trace.complete or not finite(trace):
            settings = make_settings(run, ladder, nbeta, stage.tuned)
            return _freeze(stage, trace.state, settings, taken, complete=trace.complete, ok=finite(trace))
        if on_round is not None and number >= HOT_ROUNDS:
            settings = make_settings(run, ladder, nbeta, stage.tuned)
            on_round(_freeze(stage, trace.state, settings, taken, complete=True, ok=True), trace)
        stage = stage._replace(
            positions=turn(stage.tuned.frame.rotation, trace.state.position),
            energy=mean_energy(ladder, trace, at_nbeta, stage.energy),
        )
        frame, products = _frame(run, trace, visited, number), 1 if costly else PRODUCTS
        stage, before = _measured(run, ladder, stage, number, frame, products), stage.tuned
        # The first frame is from chains that have seen little of the flat directions.
        if whitened and number > 1 and not _is_white(run, ladder, stage, frame):
            whitened, frame = False, PLAIN
            stage = _measured(run, ladder, stage, number, frame, products)
        if step_size is None:
            heat = EARLY_HEAT if costly and number + 1 < EARLY else HEAT_FRACTION
            stage = _retuned(run, ladder, stage, trace, frame, heat)
        else:
            stage = stage._replace(tuned=stage.tuned._replace(frame=frame))
        if costly and number + 1 >= ROUNDS and settled(ladder, trace, before, stage.tuned):
            break
    settings = make_settings(run, ladder, ladder.spread(ladder.rungs), stage.tuned)
    state = start(run, stage.positions, settings, number=taken)
    return _freeze(stage, state, settings, taken, complete=True, ok=True)


def _run_round(
    run: Run, ladder: Ladder, stage: Standing, moves: Round, on_chunk: Callable[[int], None]
) -> tuple[Standing, Trace, list[np.ndarray]]:
    """Run a round; one that goes wrong is undone and run again with smaller steps.

    The third part is where the chains were at every 16th step of a watched round, `(chain, d)` each.
    """
    left = moves.tries
    while True:
        settings = make_settings(run, ladder, moves.nbeta, stage.tuned)
        state = start(run, stage.positions, settings, number=moves.taken)
        visited: list[np.ndarray] = []
        # The next chunk writes over the positions it is given.
        note = lambda positions, to=visited: to.append(np.array(to_host(positions)))
        trace = sample(
            run,
            state,
            settings,
            first=1 + moves.taken,
            count=moves.steps,
            on_chunk=on_chunk,
            observe=note if moves.watched else None,
        )
        stage, left = _counted(stage, trace), left - 1
        if not trace.complete or (finite(trace) and not flung(ladder, trace)):
            return stage, trace, visited
        if not left and not finite(trace):
            return stage, trace, visited
        stage = _rescued(stage)
        if not left:
            return stage, trace, visited


def _begin(run: Run, ladder: Ladder, step_size: float | None, *, costly: bool) -> Standing:
    """Return chains at w*, tuned by what is found around it; of a costly run the hot ones start around it."""
    shape = (ladder.hot.size, run.posterior.num_params)
    gauge_key, start_key = jax.random.split(substream(run.key, RandomStream.warmup))
    prober = make_prober(run.posterior, run.anchor, gauge_key)
    reach = initial_scale(prober, start_key, num_chains=shape[0])
    around = reach * jax.random.normal(start_key, shape, run.posterior.dtype)
    vectors = random_directions(gauge_key, shape, run.posterior.dtype)
    gauge = measure(run, ladder, around, vectors, gauge_key, rounds=PRODUCTS if costly else 2 * PRODUCTS)
    factor = np.ones(len(ladder.rungs))
    energy = 0.5 * run.posterior.num_params * factor
    if step_size is None:
        tuned = choose_tuning(run, ladder, gauge, energy)
    else:
        tuned = Tuned(step_size * factor, 0 * factor)
    starts = jnp.where(ladder.hot[:, None], around, 0.0) if costly else jnp.zeros_like(around)
    return Standing(starts, gauge, gauge, tuned, factor, energy)


def _counted(stage: Standing, trace: Trace) -> Standing:
    broken, tried = count_broken(trace), trace.draws.distance.size
    return stage._replace(broken=stage.broken + broken, tried=stage.tried + tried)


def _rescued(stage: Standing) -> Standing:
    """Return the stage with a quarter of the step size, now and later, and no memory."""
    tuned = stage.tuned._replace(step_size=0.25 * stage.tuned.step_size, memory=0 * stage.factor)
    return stage._replace(tuned=tuned, factor=0.25 * stage.factor)


def _may_whiten(run: Run, ladder: Ladder, *, costly: bool, tuned: bool) -> bool:
    """True where coordinates may be chosen: steps are tuned and cheap, at one temperature.

    A kernel that scales its steps by itself keeps the coordinates of the weights.
    """
    return tuned and not costly and len(ladder.rungs) == 1 and run.kernel.tunable


def _frame(run: Run, trace: Trace, visited: list[np.ndarray], number: int) -> Frame:
    """Return the coordinates that a round implies; the first half of what was visited is left out."""
    if isinstance(trace.state, MeasuringState):
        return Frame(None, scale_of(trace.state.seen))
    if not visited:
        return PLAIN
    key = jax.random.fold_in(substream(run.key, RandomStream.whitening), number)
    return find_frame(make_prober(run.posterior, run.anchor, key), visited[len(visited) // 2 :])


def _is_white(run: Run, ladder: Ladder, stage: Standing, frame: Frame) -> bool:
    return is_white(choose_tuning(run, ladder, stage.gauge, stage.energy, frame))


def _measured(
    run: Run, ladder: Ladder, stage: Standing, number: int, frame: Frame, products: int
) -> Standing:
    key = jax.random.fold_in(jax.random.split(substream(run.key, RandomStream.warmup))[0], number)
    if isinstance(frame.scale, float):
        floor, vectors = stage.plain, stage.plain.vectors
    else:
        floor, vectors = None, stage.gauge.vectors
    gauge = measure(run, ladder, stage.positions, vectors, key, rounds=products, floor=floor, frame=frame)
    return stage._replace(gauge=gauge, plain=gauge if floor else stage.plain)


def _retuned(run: Run, ladder: Ladder, stage: Standing, trace: Trace, frame: Frame, heat: float) -> Standing:
    """Return the stage with ε and c chosen anew; ε at most quadruples, in the same coordinates."""
    factor = stage.factor * acceptance_factor(run, ladder, trace)
    chosen = choose_tuning(run, ladder, stage.gauge, stage.energy, frame, heat)
    same = isinstance(frame.scale, float) == isinstance(stage.tuned.frame.scale, float)
    limit = GROWTH * stage.tuned.step_size if same else np.inf
    tuned = chosen._replace(step_size=np.minimum(factor * chosen.step_size, limit))
    return stage._replace(factor=factor, tuned=tuned)


def _freeze(
    stage: Standing, state: Any, settings: Settings, steps: int, *, complete: bool, ok: bool
) -> WarmUp:
    share = stage.broken / max(stage.tried, 1)
    return WarmUp(state, settings, stage.tuned.reach, steps, share, complete, ok)
