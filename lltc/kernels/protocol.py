"""What every sampler is: a pair of pure functions over all chains at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

State = Any
Potential = Callable[[jax.Array], tuple[jax.Array, jax.Array, Any]]


class Info(NamedTuple):
    """Where the draw lies `(chain, d)`, what was recorded there, which moves were accepted `(chain,)`."""

    position: jax.Array
    aux: Any
    accepted: jax.Array


class Tuning(NamedTuple):
    """What warm-up measured and froze: step size ε, the share c of its velocity kept, a diagonal scale.

    `scale`, () or `(d,)`, multiplies √ε coordinate by coordinate: the square root of a diagonal
    preconditioner.
    """

    step_size: jax.Array
    memory: jax.Array
    scale: jax.Array


class Kernel(NamedTuple):
    """A sampler of exp(-U), its `name`, and what warm-up has to know to tune it.

    `init(key, position (chain, d), potential) -> state` and `step(key, state, potential, tuning) -> (state,
    info)`, where `potential(position) -> (U - U(w*) (chain,), ∇U (chain, d), record)` is evaluated once a
    step and `info` describes one draw. Factories are cached, so that equal arguments give the same kernel and
    the same compiled program.

    `acceptance` is the share of accepted moves to aim at, None where every move is made; `inertial` kernels
    use `tuning.memory`; the step size of a kernel that is not `tunable` cannot be measured; `heated` ones
    keep the heat of minibatch noise, which is then predicted and subtracted; `schedule` multiplies ε at each
    step, None by 1; chains of an `exchanging` one trade places.

    Conventions: U = nβ L + (γ/2)‖w - w*‖², and the Langevin move is w ← w -
    (ε/2)∇U + √ε·noise with ε = `tuning.step_size`.
    """

    init: Callable[[jax.Array, jax.Array, Potential], State]
    step: Callable[[jax.Array, State, Potential, Tuning], tuple[State, Info]]
    name: str
    acceptance: float | None = None
    inertial: bool = False
    tunable: bool = True
    heated: bool = True
    schedule: Callable[[Any], Any] | None = None
    exchanging: bool = False

    @property
    def exact(self) -> bool:
        """True when moves are accepted or refused, so that the step size brings no bias."""
        return self.acceptance is not None
