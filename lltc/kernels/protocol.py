"""What every sampler is: a pair of pure functions over all chains at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

State = Any
Potential = Callable[[jax.Array], tuple[jax.Array, Any]]


class Info(NamedTuple):
    """Where the draw lies, `position` `(chain, d)`, and what `potential` said of it beside the gradient."""

    position: jax.Array
    aux: Any


class Tuning(NamedTuple):
    """What warm-up measured and froze: the step size ε, and c, the share of its velocity a kernel keeps."""

    step_size: jax.Array
    memory: jax.Array


class Kernel(NamedTuple):
    """A sampler of exp(-U).

    `init(key, position (chain, d)) -> state`, where `state.position` is the next point; `step(key, state,
    potential, tuning) -> (state, info)`, where `potential(position) -> (∇U (chain, d), aux)` is evaluated
    once and `info` describes one draw. Factories are cached, so that equal arguments give the same kernel and
    the same compiled program. Conventions: U = nβ L + (γ/2)‖w - w*‖², and the Langevin move is w ← w -
    (ε/2)∇U + √ε·noise with ε = `tuning.step_size`.
    """

    init: Callable[[jax.Array, jax.Array], State]
    step: Callable[[jax.Array, State, Potential, Tuning], tuple[State, Info]]
