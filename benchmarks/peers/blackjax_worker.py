"""BlackJAX on lltc's problems; runs in an environment of its own.

- SGLD, plain and with control variates at w*: 8 chains, half of the steps burn-in, constant step: the largest
  of devinterp's grid with which MALA on the full data accepts .9 of its proposals, or the best of the grid in
  hindsight (BlackJAX documents neither a rule for the step nor an estimator of the learning coefficient). A
  second evaluation, at w*, counts as a gradient.
- MALA on the full data: the step by dual averaging towards an acceptance of .574 (Roberts and Rosenthal 1998)
  over the first half of the steps, then frozen.
- NUTS on the full data: `window_adaptation` with its defaults (diagonal mass matrix, acceptance .8) over 300
  transitions, then draws until the gradients are spent; 4 chains, each with its own adaptation, as in Stan.
- BlackJAX's step is half of lltc's ε: `w ← w + s ∇log p + √(2s) ξ`.
- MALA and NUTS are left out where the gradients would not pay for 8,000 passes over the data.
"""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.step_size import dual_averaging_adaptation
from blackjax.sgmcmc.gradients import control_variates
from common import NUM_CHAINS, STEP_SIZES, Job, flat_loss, main, misfit, row, take

ACCEPTANCE = 0.9
FEWEST_PASSES = 8_000
NUTS_CHAINS, NUTS_WARMUP, NUTS_BLOCK = 4, 300, 50


class Target(NamedTuple):
    """A problem's local posterior as BlackJAX takes it; `energy(w, data)` is nβ (L(w) - L_n(w*))."""

    center: jax.Array
    data: Any
    energy: Callable[[jax.Array, Any], jax.Array]
    log_density: Callable[[jax.Array, Any], jax.Array]


def build(job: Job) -> Target:
    """Return the posterior of a job."""
    center, loss = flat_loss(job.problem)
    data = jax.tree.map(jnp.asarray, job.problem.data)
    base = loss(jnp.asarray(center), data)

    def energy(w: jax.Array, batch: Any) -> jax.Array:
        return job.problem.nbeta * (loss(w, batch) - base)

    def log_density(w: jax.Array, batch: Any) -> jax.Array:
        return -energy(w, batch) - 0.5 * job.problem.localization * jnp.sum((w - center) ** 2)

    return Target(jnp.asarray(center), data, energy, log_density)


def run_sgld(job: Job, target: Target, step_size: float, *, anchored: bool = False) -> tuple[np.ndarray, int]:
    """Return one estimate a chain and the gradients spent; `step_size` is lltc's ε."""
    estimator = jax.grad(target.log_density)
    if anchored:
        estimator = control_variates(estimator, target.center, target.data)
    sampler = blackjax.sgld(estimator)
    cost = job.batch_size * NUM_CHAINS * (1 + anchored)
    steps = max(4, job.gradients // cost)

    def step(w: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        pick, move = jax.random.split(key)
        batch = target.data
        if not job.full_batch:
            batch = take(batch, jax.random.randint(pick, (job.batch_size,), 0, job.problem.num_examples))
        return sampler.step(move, w, batch, step_size / 2), target.energy(w, batch)

    energies = run_chains(step, target.center, job.key, steps)
    return energies[:, steps // 2 :].mean(1), steps * cost


def run_chains(step: Callable, center: jax.Array, key: int, steps: int) -> np.ndarray:
    """Return the energies (chain, step) of chains that start at w*."""
    keys = jax.random.split(jax.random.key(key), (NUM_CHAINS, steps))
    run = jax.jit(jax.vmap(lambda keys: jax.lax.scan(step, center, keys)[1]))
    return np.asarray(run(keys), dtype=np.float64)


def run_mala(job: Job, target: Target) -> tuple[np.ndarray, int]:
    """Return one estimate a chain and the gradients spent."""
    steps = job.gradients // (job.problem.num_examples * NUM_CHAINS)
    warmup = steps // 2
    kernel = blackjax.mala.build_kernel()
    begin, update, finish = dual_averaging_adaptation(0.574)

    def log_density(w: jax.Array) -> jax.Array:
        return target.log_density(w, target.data)

    def step(carry: tuple, x: tuple) -> tuple[tuple, jax.Array]:
        state, adaptation = carry
        number, key = x
        size = jnp.where(number < warmup, jnp.exp(adaptation.log_step_size), finish(adaptation))
        state, info = kernel(key, state, log_density, size)
        new = update(adaptation, info.acceptance_rate)
        adaptation = jax.tree.map(lambda a, b: jnp.where(number < warmup, a, b), new, adaptation)
        return (state, adaptation), target.energy(state.position, target.data)

    def chain(key: jax.Array) -> jax.Array:
        start = blackjax.mala.init(target.center, log_density), begin(1e-4)
        return jax.lax.scan(step, start, (jnp.arange(steps), jax.random.split(key, steps)))[1]

    energies = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(job.key), NUM_CHAINS))
    chains = np.asarray(energies, dtype=np.float64)[:, warmup:].mean(1)
    return chains, steps * job.problem.num_examples * NUM_CHAINS


def run_nuts(job: Job, target: Target) -> tuple[np.ndarray, int]:
    """Return one estimate a chain and the gradients spent."""

    def log_density(w: jax.Array) -> jax.Array:
        return target.log_density(w, target.data)

    adaptation = blackjax.window_adaptation(blackjax.nuts, log_density)

    def warm_up(key: jax.Array) -> tuple:
        result, info = adaptation.run(key, target.center, NUTS_WARMUP)
        return result.state, result.parameters, info.info.num_integration_steps.sum()

    def draw(key: jax.Array, state: Any, parameters: dict) -> tuple:
        step = blackjax.nuts(log_density, **parameters).step

        def one(state: Any, key: jax.Array) -> tuple:
            state, info = step(key, state)
            return state, (target.energy(state.position, target.data), info.num_integration_steps)

        return jax.lax.scan(one, state, jax.random.split(key, NUTS_BLOCK))

    first, *rest = jax.random.split(jax.random.key(job.key), 1 + 10_000)
    state, parameters, count = jax.jit(jax.vmap(warm_up))(jax.random.split(first, NUTS_CHAINS))
    passes, blocks, block = int(count.sum()), [], jax.jit(jax.vmap(draw))
    while not blocks or passes < job.gradients / job.problem.num_examples:
        state, (energies, count) = block(jax.random.split(rest[len(blocks)], NUTS_CHAINS), state, parameters)
        blocks.append(np.asarray(energies, dtype=np.float64))
        passes += int(count.sum())
    return np.concatenate(blocks, axis=1).mean(1), passes * job.problem.num_examples


def accepted_step_size(target: Target) -> float:
    """Return the largest ε of the grid with which MALA accepts, by 8 chains of 100 full-data steps."""
    kernel = blackjax.mala.build_kernel()

    def log_density(w: jax.Array) -> jax.Array:
        return target.log_density(w, target.data)

    @jax.jit
    def acceptance(step_size: jax.Array) -> jax.Array:
        def step(state: Any, key: jax.Array) -> tuple:
            state, info = kernel(key, state, log_density, step_size / 2)
            return state, info.acceptance_rate

        keys = jax.random.split(jax.random.key(0), (NUM_CHAINS, 100))
        start = blackjax.mala.init(target.center, log_density)
        return jax.vmap(lambda keys: jax.lax.scan(step, start, keys)[1])(keys).mean()

    best = STEP_SIZES[0]
    for step_size in STEP_SIZES:
        if not acceptance(jnp.float32(step_size)) >= ACCEPTANCE:
            break
        best = step_size
    return best


def measure(job: Job) -> Iterator[dict]:
    """Yield the rows of one job."""
    target = build(job)
    accepted = accepted_step_size(target)
    plain = {step_size: clock(partial(run_sgld, job, target, step_size)) for step_size in STEP_SIZES}
    hindsight = min(plain, key=lambda step_size: misfit(job, plain[step_size][0]))
    runs = [
        (f"BlackJAX SGLD{rule}", f", step {step_size:.2g}", plain[step_size])
        for rule, step_size in (("", accepted), (" best step in hindsight", hindsight))
    ]
    if not job.full_batch:
        anchored = clock(lambda: run_sgld(job, target, accepted, anchored=True))
        runs.append(("BlackJAX SGLD, control variates", f", step {accepted:.2g}", anchored))
    if job.gradients / job.problem.num_examples >= FEWEST_PASSES:
        runs.append(("full-batch MALA", "", clock(lambda: run_mala(job, target))))
        runs.append(("NUTS", "", clock(lambda: run_nuts(job, target))))
    for method, note, (chains, gradients, seconds) in runs:
        yield row(job, method, chains, gradients=gradients, seconds=seconds, note=note)


def clock(run: Callable[[], tuple[np.ndarray, int]]) -> tuple[np.ndarray, int, float]:
    """Add the seconds taken to what `run` returns."""
    began = time.perf_counter()
    chains, gradients = run()
    return chains, gradients, time.perf_counter() - began


if __name__ == "__main__":
    main(__doc__ or "", measure)
