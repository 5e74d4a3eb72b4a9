"""Any kernel under a step-size schedule of Optax."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lltc.kernels.protocol import Info, Kernel, Potential, Tuning


class ScheduledState(NamedTuple):
    """The wrapped kernel's state and the number of steps taken, ()."""

    inner: Any
    steps: jax.Array

    @property
    def position(self) -> jax.Array:
        """Where the chains are, `(chain, d)`."""
        return self.inner.position


@cache
def scheduled(kernel: Kernel, schedule: Callable[[Any], Any]) -> Kernel:
    """Return `kernel` with ε multiplied by `schedule(count)`, count = 0, 1, … steps, warm-up's among them.

    `schedule` is any schedule of Optax. Draws made at different ε carry different bias and count alike in
    plain averages; a schedule that ends in a constant, drawn from after it has ended, avoids that.
    Source: Welling & Teh (2011), section 3, for steps that decrease.

    Example:
        >>> import optax
        >>> from lltc.kernels import euler
        >>> kernel = scheduled(euler(), optax.polynomial_schedule(1.0, 0.1, 0.33, 1000))
        >>> int(kernel.init(jax.random.key(0), jnp.zeros((4, 2)), lambda w: (w.sum(-1), w, None)).steps)
        0
    """

    def init(key: jax.Array, position: jax.Array, potential: Potential) -> ScheduledState:
        return ScheduledState(kernel.init(key, position, potential), jnp.int32(0))

    def step(
        key: jax.Array, state: ScheduledState, potential: Potential, tuning: Tuning
    ) -> tuple[ScheduledState, Info]:
        step_size = tuning.step_size * jnp.asarray(schedule(state.steps), tuning.step_size.dtype)
        inner, info = kernel.step(key, state.inner, potential, tuning._replace(step_size=step_size))
        return ScheduledState(inner, state.steps + 1), info

    return kernel._replace(init=init, step=step, name=f"scheduled {kernel.name}", schedule=schedule)
