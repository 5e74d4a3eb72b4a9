"""How many examples and chains are evaluated at once: quickly on this machine, and within its memory."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax

from lltc.chains.cost import Footprint, measure_footprint
from lltc.chains.curvature import trace_probe
from lltc.errors import InputError
from lltc.posterior.target import LocalPosterior

LEAST_AT_ONCE = 8
REUSE = 8
CACHED, OVERHEAD = 64e6, 100


def within_memory[T](
    posterior: LocalPosterior,
    num_chains: int,
    budget: int,
    draw: Callable[[LocalPosterior], T],
    *,
    retries: int = 1,
) -> T:
    """Return `draw(plan)` in the plan that fits, or in a smaller one where memory ends all the same.

    Raises `InputError` with the setting that would fit where no retry is left.
    """
    return _attempt(fit(posterior, num_chains, budget), posterior, num_chains, draw, retries)


def _attempt[T](
    plan: LocalPosterior,
    given: LocalPosterior,
    num_chains: int,
    draw: Callable[[LocalPosterior], T],
    retries: int,
) -> T:
    try:
        return draw(plan)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        smaller = next(smaller_plans(plan, num_chains, given), None)
        if smaller is None or not retries:
            raise InputError(explain_out_of_memory(plan, num_chains, smaller)) from error
    return _attempt(smaller, given, num_chains, draw, retries - 1)


def fit(posterior: LocalPosterior, num_chains: int, budget: int) -> LocalPosterior:
    """Return the posterior with `micro_batch` and `chain_batch` such that no program needs over `budget`.

    The greediest program is the probe of warm-up: a Hessian-vector product of every chain. What its values
    take together bounds its memory; where that is too much, XLA's own account decides (`memory_analysis`):
    of ever fewer examples at once, and of fewer chains where eight examples are still too many. On a CPU
    examples are divided besides where that is quicker. What the user set stays, and so does what lies on a
    mesh.

    Raises `InputError` where even one example of one chain does not fit.
    """
    if posterior.target.placement is not None:
        return posterior
    footprint = measure_footprint(posterior)
    quick = quick_plan(posterior, num_chains, footprint)
    needed = 0
    for plan in itertools.chain([quick], smaller_plans(quick, num_chains, posterior)):
        bound = footprint.total(min(plan.target.chain_batch or num_chains, num_chains), plan.block)
        if bound <= budget:
            return plan
        # What is far too large need not be compiled.
        if bound <= REUSE * budget or plan.block == 1:
            needed = account(plan, num_chains)
            if needed <= budget:
                return plan
    if not needed:
        # What the user pins is never divided, and may not have been accounted for.
        needed = account(quick, num_chains)
        if needed <= budget:
            return quick
    raise InputError(too_little(posterior, num_chains, needed, budget))


def quick_plan(posterior: LocalPosterior, num_chains: int, footprint: Footprint) -> LocalPosterior:
    """Return the posterior with so few examples at once that a CPU's cache holds what they need.

    But so many that adding up a gradient of all parameters at every turn costs little beside.
    """
    target = posterior.target
    if target.micro_batch is not None or jax.default_backend() != "cpu" or not footprint.example:
        return posterior
    chains = min(target.chain_batch or num_chains, num_chains)
    cached = CACHED / ((chains + 1) * footprint.example)
    worthwhile = OVERHEAD * 4 * posterior.num_params / footprint.example
    micro = 1 << max(int(max(cached, worthwhile)) - 1, 1).bit_length()
    return _divided(
        posterior, micro if 2 * micro <= posterior.block else posterior.batch_size, chains, num_chains
    )


def smaller_plans(posterior: LocalPosterior, num_chains: int, given: LocalPosterior) -> Iterator[Any]:
    """Yield `posterior` with ever fewer examples, then chains, then examples evaluated at once.

    What the user gave stays.
    """
    micro, chains = posterior.block, posterior.target.chain_batch or num_chains
    divisible = given.target.micro_batch is None
    while divisible and micro > LEAST_AT_ONCE:
        micro = max(1 << ((micro - 1).bit_length() - 1), LEAST_AT_ONCE)
        yield _divided(posterior, micro, chains, num_chains)
    while given.target.chain_batch is None and chains > 1:
        chains = -(-chains // 2)
        yield _divided(posterior, micro, chains, num_chains)
    while divisible and micro > 1:
        micro //= 2
        yield _divided(posterior, micro, chains, num_chains)


def _divided(posterior: LocalPosterior, micro: int, chains: int, num_chains: int) -> LocalPosterior:
    """Return the posterior with so many examples and chains evaluated at once."""
    target = replace(
        posterior.target,
        micro_batch=None if micro >= posterior.batch_size else micro,
        chain_batch=None if chains >= num_chains else chains,
    )
    return replace(posterior, target=target)


def account(posterior: LocalPosterior, num_chains: int) -> int:
    """Return how many bytes the probe takes by XLA's account."""
    stats = trace_probe(posterior, num_chains, posterior.batch_size).lower().compile().memory_analysis()
    return int(stats.temp_size_in_bytes + stats.output_size_in_bytes + stats.argument_size_in_bytes)


def too_little(posterior: LocalPosterior, num_chains: int, needed: int, budget: int) -> str:
    """Return the sentence for a run that cannot be made small enough."""
    pinned = [name for name in ("micro_batch", "chain_batch") if getattr(posterior.target, name) is not None]
    at_once = "with one example of one chain at a time"
    remedy = "pass fewer num_chains" if num_chains > 2 else "pass restrict"
    if pinned:
        given = " and ".join(f"{name}={getattr(posterior.target, name)}" for name in pinned)
        at_once, remedy = f"with {given}", f"leave {' and '.join(pinned)} out"
    return (
        f"memory is {budget / 1e9:.3g} GB, but {posterior.num_params:,} parameters on {num_chains} chains "
        f"need {needed / 1e9:.3g} GB {at_once}; raise memory, or {remedy}."
    )


def is_out_of_memory(error: BaseException) -> bool:
    """True for what NumPy and XLA raise where memory ends."""
    return isinstance(error, MemoryError) or (
        isinstance(error, jax.errors.JaxRuntimeError)
        and ("RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower())
    )


def explain_out_of_memory(posterior: LocalPosterior, num_chains: int, smaller: LocalPosterior | None) -> str:
    """Return the sentence for a run that ended for want of memory, with the settings of a `smaller` one."""
    now, less = posterior.target, smaller.target if smaller else None
    settings = ("micro_batch", "chain_batch")
    changed = [name for name in settings if less and getattr(less, name) != getattr(now, name)]
    advice = ", ".join(f"{name}={getattr(less, name)}" for name in changed) or "num_chains=2 or restrict"
    return (
        f"memory ran out with batch_size={posterior.batch_size}, micro_batch={now.micro_batch}, "
        f"chain_batch={now.chain_batch} and {num_chains} chains of {posterior.num_params:,} parameters; pass "
        f"{advice}, or a lower memory, by which a run divides itself."
    )
