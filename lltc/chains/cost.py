"""What a step costs, told without running anything, and what follows from it where it is much."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax

from lltc.chains.curvature import trace_probe
from lltc.posterior.target import LocalPosterior

AFFORDABLE = 4e9
COSTLY = 1e9
LEAST_BATCH = 16


class Footprint(NamedTuple):
    """The bytes of all values that the probe computes: of each chain, and of each example of each chain.

    XLA holds a tenth or less of them at a time, so that they bound what a program needs.
    """

    chain: float
    example: float

    def total(self, num_chains: int, examples: int) -> float:
        """Return the bytes of so many examples of so many chains, and of w* beside them."""
        return (num_chains + 1) * (self.chain + examples * self.example)


def measure_footprint(posterior: LocalPosterior) -> Footprint:
    """Return the footprint of a network, without compiling or running anything."""
    whole = replace(posterior, target=replace(posterior.target, micro_batch=None, chain_batch=None))
    few, more = (_values(trace_probe(whole, 1, size).jaxpr.jaxpr) / 2 for size in (2, 4))
    return Footprint(few - (more - few), (more - few) / 2)


def is_costly(posterior: LocalPosterior, num_chains: int) -> bool:
    """True where a step computes more than a gigabyte of values: there a run begins with few of them."""
    return measure_footprint(posterior).total(num_chains, posterior.batch_size) > COSTLY


def with_affordable_batch(posterior: LocalPosterior, num_chains: int) -> LocalPosterior:
    """Return the posterior with a default batch that a step can afford: halved down to 16 where need be.

    Minibatch noise bounds how far a step may move the slow directions: that reach, and the information in a
    draw, grow with the batch until the noise no longer matters, so that below it gradients are spent as well
    on more steps as on larger batches. Batches on a mesh stay.
    """
    if posterior.target.placement is not None:
        return posterior
    example = (num_chains + 1) * measure_footprint(posterior).example
    batch_size = posterior.batch_size
    while batch_size * example > AFFORDABLE and batch_size > LEAST_BATCH:
        batch_size = max(1 << ((batch_size - 1).bit_length() - 1), LEAST_BATCH)
    return replace(posterior, batch_size=batch_size)


def _values(program: Any) -> int:
    """Return the bytes of everything a traced program computes, loops counted once."""
    total = 0
    for equation in program.eqns:
        total += sum(_bytes(out.aval) for out in equation.outvars)
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
            total += _values(getattr(value, "jaxpr", value)) if _is_program(value) else 0
    return total


def _is_program(value: Any) -> bool:
    return hasattr(value, "eqns")


def _bytes(aval: Any) -> int:
    return int(getattr(aval, "size", 0)) * getattr(getattr(aval, "dtype", None), "itemsize", 0)
