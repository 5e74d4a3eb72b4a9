"""A few examples and a few places around w*, and the losses there: what the whole look is made from."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.loop import Run
from lltc.chains.streams import RandomStream, as_seed, substream
from lltc.posterior.data import Data
from lltc.posterior.layout import Center, center_vector
from lltc.posterior.sharding import to_host
from lltc.posterior.target import Target
from lltc.posterior.weighing import rows_that_count
from lltc.types import PyTree

EXAMPLES, FEW_EXAMPLES = 64, 16
LEAST_AT_ONCE = 4
DIRECTIONS = 8
HALVINGS = 24


class Sample(NamedTuple):
    """Examples of the data and their numbers: the first `size` are looked at, the others are company.

    `at_once` says how many may be evaluated together without their company being cut up.
    """

    pool: PyTree
    rows: np.ndarray
    size: int
    at_once: int

    @property
    def batch(self) -> PyTree:
        """The examples looked at."""
        return jax.tree.map(lambda a: a[: self.size], self.pool)


def draw_sample(run: Run, *, thorough: bool) -> Sample | None:
    """Return up to 64 examples, or 16, and half as many for company; None where there are too few."""
    posterior = run.posterior
    size = min(EXAMPLES if thorough else FEW_EXAMPLES, posterior.data.size)
    size -= size % 4 if size >= 4 else size % 2
    if size < 2:
        return None
    count = min(size + size // 2, posterior.data.size)
    # JAX would shuffle the numbers of all rows.
    rng = np.random.default_rng(as_seed(run.key, RandomStream.inspection))
    drawn = rng.choice(posterior.data.size, count, replace=False)
    extreme = extreme_rows(posterior.data)[: size // 2]
    if (counting := rows_that_count(posterior.data)) is not None:
        # Of examples without a weight nothing can be seen.
        drawn = rng.choice(counting, count, replace=len(counting) < count)
        extreme = extreme[np.isin(extreme, counting)]
    rows = np.resize(np.concatenate([extreme, drawn[~np.isin(drawn, extreme)]]), count)
    pool = jax.tree.map(jnp.asarray, posterior.data.batch(rows))
    at_once = size
    if posterior.target.micro_batch is not None:
        at_once = min(size, max(posterior.target.micro_batch, LEAST_AT_ONCE))
    return Sample(pool, rows, size, at_once - at_once % 2)


def extreme_rows(data: Data) -> np.ndarray:
    """Return in which rows the integers of the data, such as labels, are smallest and largest.

    Example:
        >>> from lltc.posterior.data import as_data
        >>> extreme_rows(as_data((np.zeros(4), np.array([0, 2, -1, 1]))))
        array([1, 2])
    """
    integers = [leaf for leaf in jax.tree.leaves(data.arrays) if jnp.issubdtype(leaf.dtype, jnp.integer)]
    ends = [find(leaf) for leaf in integers if leaf.size for find in (jnp.argmin, jnp.argmax)]
    sizes = [leaf.size // data.size for leaf in integers if leaf.size for _ in range(2)]
    return np.unique(np.asarray(ends, dtype=int) // np.asarray(sizes, dtype=int))


def reach_of(run: Run, sample: Sample, directions: jax.Array) -> tuple[float, np.ndarray]:
    """Return how far to go, and the rises there: nβ ΔL is d/2, or it is the prior's radius a coordinate."""
    posterior = run.posterior
    gamma = posterior.localization
    reach = 1 / np.sqrt(gamma) if gamma > 0 else 1.0
    rises = np.full(len(directions), np.nan)
    for _ in range(HALVINGS):
        rises = rises_along(run, sample, reach * directions)
        if np.isfinite(rises).all() and posterior.nbeta * np.abs(rises).max() <= posterior.num_params:
            break
        reach *= 0.5
    return float(reach), rises


def rises_along(run: Run, sample: Sample, ways: jax.Array) -> np.ndarray:
    """Return the rise of the mean loss at the end of each of eight ways `(8, d)`."""
    losses = losses_around(run, sample, ways)
    with np.errstate(invalid="ignore", over="ignore"):
        return (losses[1:] - losses[0]).mean(-1)


def losses_around(run: Run, sample: Sample, ways: jax.Array) -> np.ndarray:
    """Return the losses at w*, then at the end of each of eight ways `(9, m)`, or means of parts."""
    places = jnp.concatenate([jnp.zeros_like(ways[:1]), ways])
    whole = sample.size - sample.size % sample.at_once
    parts = [
        losses_at(run, sample, places, np.tile(np.arange(low, low + sample.at_once), (len(places), 1)))
        for low in range(0, whole, sample.at_once)
    ]
    return np.concatenate([part.reshape(len(places), -1) for part in parts], -1)


def losses_at(
    run: Run, sample: Sample, places: jax.Array, rows: np.ndarray, *, traced_anew: bool = False
) -> np.ndarray:
    """Return what the model gives for `rows` `(k, m)` of the pool at `places` `(k, d)`, k up to nine."""
    count = len(places)
    # All calls have one shape, so that one program serves them.
    filled = np.minimum(np.arange(DIRECTIONS + 1), count - 1)
    target, center = run.posterior.target, run.posterior.center
    program = partial(_returned, target)
    if traced_anew:
        program = jax.jit(lambda *given: _returned_impl(target, *given))
    losses = program(center, places[filled], jnp.asarray(rows[filled]), sample.pool)
    return to_host(losses)[:count].astype(float)


def nudge(run: Run, position: jax.Array, eps: float) -> jax.Array:
    """Return a displacement of every weight by about its own rounding `(d,)`."""
    weights = center_vector(run.posterior.target.layout, run.posterior.center) + position
    key = jax.random.fold_in(substream(run.key, RandomStream.inspection), 1)
    return eps * jnp.abs(weights) * jax.random.normal(key, weights.shape, weights.dtype)


def _returned_impl(
    target: Target, center: Center, places: jax.Array, rows: jax.Array, pool: PyTree
) -> jax.Array:
    def one(place: tuple[jax.Array, jax.Array]) -> jax.Array:
        position, chosen = place
        return target.returned(center, position, jax.tree.map(lambda a: a[chosen], pool))

    return jax.lax.map(one, (places, rows))


_returned = jax.jit(_returned_impl, static_argnums=0)
