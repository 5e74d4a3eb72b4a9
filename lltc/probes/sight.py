"""What a probe sees along one checkpoint's chains: variances by direction and by example."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.fluctuations import Stream
from lltc.posterior import LocalPosterior
from lltc.readings import held_batches, rises

LEAST_READINGS = 8


class Sight:
    """Watches chains at every 16th draw, keeping sums only.

    `directions` `(d, k)` are those whose variances are kept, `rows` the examples whose losses' are, and
    `masks` `(component, d)` the components whose ‖w - w*‖² is.
    """

    def __init__(
        self, posterior: LocalPosterior, directions: np.ndarray, rows: np.ndarray, masks: np.ndarray
    ):
        self.posterior = posterior
        self.directions, self.masks = jnp.asarray(directions, jnp.float32), jnp.asarray(masks, bool)
        self.held = held_batches(posterior, posterior.data, rows) if posterior.target.per_example else ()
        self.along: Stream | None = None
        self.each: Stream | None = None
        self.apart: Stream | None = None

    def __call__(self, positions: jax.Array) -> None:
        """Read the chains at `positions` `(chain, d)`."""
        target, center = self.posterior.target, self.posterior.center
        along, distance = _look(self.directions, self.masks, positions - center.position)
        self.along, self.apart = _add(self.along, along), _add(self.apart, distance)
        if self.held:
            read = partial(rises, target, center, positions)
            self.each = _add(self.each, np.concatenate([np.asarray(read(batch)) for batch in self.held], -1))

    @property
    def enough(self) -> bool:
        """True when the chains were read often enough to say anything."""
        return self.along is not None and self.along.count >= LEAST_READINGS

    @property
    def distance(self) -> np.ndarray:
        """The mean ‖w_C - w*_C‖² of each chain and component `(chain, component)`."""
        assert self.apart is not None
        return self.apart.single / self.apart.count


def _add(stream: Stream | None, values: Any) -> Stream:
    """Take values `(chain, ·)` in, into a new stream where there is none."""
    read = np.asarray(values, np.float64)
    stream = stream or Stream(0, *read.shape)
    stream.add(read, np.zeros((0, len(read))))
    return stream


@jax.jit
def _look(directions: jax.Array, masks: jax.Array, displacement: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the coordinates along the directions `(chain, k)` and ‖u_C‖² `(chain, component)`."""
    squares = displacement**2
    apart = jax.lax.map(lambda mask: jnp.where(mask, squares, 0.0).sum(-1), masks)
    return displacement @ directions, apart.T
