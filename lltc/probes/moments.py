"""What a probe sees along one checkpoint's chains: variances by direction and by example."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.gradients import measure_anchor
from lltc.diagnostics.covariances import Stream
from lltc.estimates.estimator import LEAST_READINGS
from lltc.posterior.examples import held_batches, rises, tells_single
from lltc.posterior.target import LocalPosterior


class Sight:
    """Watches chains at every 16th draw, keeping sums only.

    `directions` `(d, k)` are those whose variances are kept, `rows` the examples whose losses' are, and
    `masks` `(component, d)` the components whose ‖w - w*‖² and (w - w*)·∇L_n(w*) are.
    """

    def __init__(
        self, posterior: LocalPosterior, directions: np.ndarray, rows: np.ndarray, masks: np.ndarray
    ):
        self.posterior = posterior
        self.directions, self.masks = jnp.asarray(directions, posterior.dtype), jnp.asarray(masks, bool)
        self.held = held_batches(posterior, posterior.data, rows) if tells_single(posterior.target) else ()
        self.along: Stream | None = None
        self.each: Stream | None = None
        self.apart: Stream | None = None
        flat = posterior.target.relative or not posterior.target.linear
        self.gradient = (
            jnp.zeros(posterior.num_params, posterior.dtype) if flat else measure_anchor(posterior).gradient
        )

    def __call__(self, positions: jax.Array) -> None:
        """Read the chains at `positions` `(chain, d)`."""
        target, center = self.posterior.target, self.posterior.center
        along, apart = _look(self.directions, self.masks, self.gradient, positions)
        self.along, self.apart = _add(self.along, along), _add(self.apart, apart)
        if self.held:
            read = partial(rises, target, center, positions)
            self.each = _add(self.each, np.concatenate([np.asarray(read(batch)) for batch in self.held], -1))

    @property
    def enough(self) -> bool:
        """True when the chains were read often enough to say anything."""
        return self.along is not None and self.along.count >= LEAST_READINGS

    @property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """The means of ‖u_C‖² and of u_C·∇_C L_n(w*), u = w - w*, of each chain `(chain, component)`."""
        assert self.apart is not None
        distance, tilt = np.split(self.apart.single / self.apart.count, 2, axis=1)
        return distance, tilt


def _add(stream: Stream | None, values: Any) -> Stream:
    """Take values `(chain, ·)` in, into a new stream where there is none."""
    read = np.asarray(values, np.float64)
    stream = stream or Stream(0, *read.shape)
    stream.add(read, np.zeros((0, len(read))))
    return stream


@jax.jit
def _look(
    directions: jax.Array, masks: jax.Array, gradient: jax.Array, displacement: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the coordinates along the directions `(chain, k)`; ‖u_C‖² and u_C·g `(chain, 2·component)`."""
    both = jnp.stack([displacement**2, displacement * gradient])
    apart = jax.lax.map(lambda mask: jnp.where(mask, both, 0.0).sum(-1), masks)
    return displacement @ directions, apart.transpose(2, 1, 0).reshape(len(displacement), -1)
