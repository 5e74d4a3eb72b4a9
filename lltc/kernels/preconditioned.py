"""A diagonal preconditioner: adapted along the warm-up by an Optax transformation, then frozen."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lltc.kernels.protocol import Info, Kernel, Potential, Tuning


class MeasuringState(NamedTuple):
    """The wrapped kernel's state, and the Optax transformation's after the gradients seen so far."""

    inner: Any
    seen: Any

    @property
    def position(self) -> jax.Array:
        """Where the chains are, `(chain, d)`."""
        return self.inner.position


@cache
def measuring(kernel: Kernel, transformation: Any) -> Kernel:
    """Return `kernel`, every step's root mean square gradient over chains `(d,)` shown to `transformation`.

    The moves are those of `kernel` under the tuning given. `scale_of(state.seen)` is the preconditioner so
    measured: as `tuning.scale`, held fixed while drawing, it leaves the density as it is.

    Example:
        >>> import optax
        >>> from lltc.kernels import baoab
        >>> kernel = measuring(baoab(), optax.scale_by_rms(0.99))
        >>> state = kernel.init(jax.random.key(0), jnp.zeros((4, 2)), lambda w: (w.sum(-1), w, ()))
        >>> state.position.shape
        (4, 2)
    """

    def showing(potential: Potential) -> Potential:
        def with_gradient(position: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
            energy, gradient, aux = potential(position)
            return energy, gradient, (aux, gradient)

        return with_gradient

    def init(key: jax.Array, position: jax.Array, potential: Potential) -> MeasuringState:
        statistics = transformation.init(jnp.zeros_like(position[0]))
        return MeasuringState(kernel.init(key, position, showing(potential)), statistics)

    def step(
        key: jax.Array, state: MeasuringState, potential: Potential, tuning: Tuning
    ) -> tuple[MeasuringState, Info]:
        inner, info = kernel.step(key, state.inner, showing(potential), tuning)
        aux, gradient = info.aux
        _, statistics = transformation.update(jnp.sqrt((gradient**2).mean(0)), state.seen)
        return MeasuringState(inner, statistics), info._replace(aux=aux)

    return kernel._replace(init=init, step=step)
