"""Measuring what limits the step size: posterior scale, curvature along the chains, minibatch noise."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.derivatives import with_derivative
from lltc.chains.gradients import Anchor, losses_and_gradient
from lltc.chains.loop import Run
from lltc.chains.rotation import PLAIN, Frame, Rotation, turn, turn_back
from lltc.chains.rungs import Ladder
from lltc.posterior.layout import Center, center_vector
from lltc.posterior.target import LocalPosterior, Target
from lltc.types import PyTree

SCALES = 24
PROBED = 512


class Surroundings(NamedTuple):
    """The loss around each chain, seen through one batch anchored at w*.

    `rise` `(chain,)` is L(w) - L(w*), `gradient` `(chain, d)` its gradient, `noise` `(chain,)` the variance
    tr C of the scaled gradient. With S the scale, H the Hessian and v the vector given, `force` is ‖S∇L‖² by
    disjoint half batches, `pull` is (w - w*)·S²∇L, `bend` is v·SHSv, `curvature` is ‖SHSv‖ and `direction`
    is SHSv normalised, all in rotated coordinates where there is a rotation.
    """

    rise: jax.Array
    gradient: jax.Array
    noise: jax.Array
    force: jax.Array
    pull: jax.Array
    bend: jax.Array
    curvature: jax.Array
    direction: jax.Array


class Prober(NamedTuple):
    """What stays the same while chains are probed: a posterior, the anchor, a batch."""

    posterior: LocalPosterior
    anchor: Anchor
    batch: PyTree

    def __call__(
        self,
        positions: jax.Array,
        vectors: jax.Array,
        frame: Frame = PLAIN,
    ) -> Surroundings:
        """Return the `Surroundings` at `positions` `(chain, d)`."""
        posterior = self.posterior
        surroundings = _probe(
            posterior.target,
            posterior.full_batch,
            posterior.center,
            self.anchor.gradient,
            positions,
            self.batch,
            vectors,
            jnp.asarray(frame.scale, posterior.dtype),
            frame.rotation,
        )
        size = jax.tree.leaves(self.batch)[0].shape[0]
        share = 1.0 if posterior.full_batch else size / posterior.batch_size
        return surroundings._replace(noise=share * surroundings.noise)

    def gradient(self, positions: jax.Array) -> jax.Array:
        """Return the gradient `(chain, d)` alone, that of `Surroundings` at a third of the cost."""
        posterior = self.posterior
        return _anchored(
            posterior.target,
            posterior.full_batch,
            posterior.center,
            self.anchor.gradient,
            positions,
            self.batch,
        )


def make_prober(posterior: LocalPosterior, anchor: Anchor, key: jax.Array) -> Prober:
    """Return a prober on the whole data when steps see all of it, else on up to 512 random examples."""
    if posterior.full_batch:
        return Prober(posterior, anchor, posterior.data.arrays)
    rows = jax.random.randint(key, (min(posterior.batch_size, PROBED),), 0, posterior.data.size, jnp.int32)
    return Prober(posterior, anchor, jax.tree.map(jnp.asarray, posterior.data.batch(np.asarray(rows))))


def initial_scale(prober: Prober, key: jax.Array, *, num_chains: int) -> float:
    """Return the random perturbation per coordinate at which nβ(L - L(w*)) reaches d/2, or the prior's.

    Needed where the Hessian at w* says nothing, such as x⁴. Scales halve down from the prior's radius 1/√γ.
    """
    posterior = prober.posterior
    gamma = posterior.localization
    shakes = jax.random.normal(key, (num_chains, posterior.num_params), posterior.dtype)
    scale = 1.0 / np.sqrt(gamma) if gamma > 0 else 1.0
    for _ in range(SCALES):
        rise = float(prober(scale * shakes, shakes).rise.mean())
        if np.isfinite(rise) and posterior.nbeta * rise <= 0.5 * posterior.num_params:
            break
        scale *= 0.5
    return float(scale)


@partial(jax.jit, static_argnums=(1, 2))
def random_directions(key: jax.Array, shape: tuple[int, int], dtype: Any) -> jax.Array:
    """Return random unit vectors `(chain, d)` from which the curvature's power iteration starts."""
    vectors = jax.random.normal(key, shape, dtype)
    return vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)


def largest_curvature(
    prober: Prober,
    positions: jax.Array,
    vectors: jax.Array,
    *,
    rounds: int,
    frame: Frame = PLAIN,
) -> Surroundings:
    """Return the last probe of a power iteration warm-started from `vectors`, one product a round.

    ‖SHSv‖ bounds the largest eigenvalue from below; the largest over chains is what stability is judged by.
    """
    surroundings = prober(positions, vectors, frame)
    for _ in range(rounds - 1):
        surroundings = prober(positions, surroundings.direction, frame)
    return surroundings


def trace_probe(posterior: LocalPosterior, num_chains: int, size: int) -> Any:
    """Return the probe of `num_chains` chains on a batch of `size` as JAX traces it, without any array."""
    dtype, dimension = posterior.dtype, posterior.num_params
    one = posterior.data.arrays if posterior.data.in_memory else posterior.data.batch(np.arange(1))
    typed = lambda a: jax.ShapeDtypeStruct((size, *a.shape[1:]), jax.dtypes.canonicalize_dtype(a.dtype))
    batch = jax.tree.map(typed, one)
    chains = jax.ShapeDtypeStruct((num_chains, dimension), dtype)
    slope, scale = jax.ShapeDtypeStruct((dimension,), dtype), jax.ShapeDtypeStruct((), dtype)
    target, center = posterior.target, posterior.center
    return _probe.trace(target, posterior.full_batch, center, slope, chains, batch, chains, scale, None)


@partial(jax.jit, static_argnums=(0, 1))
def _probe(
    target: Target,
    full_batch: bool,
    center: Center,
    anchor_gradient: jax.Array,
    positions: jax.Array,
    batch: PyTree,
    vectors: jax.Array,
    scale: jax.Array,
    rotation: Rotation | None,
) -> Surroundings:
    chains, sides = len(positions), halves_of(batch, whole=full_batch)
    norm = jnp.linalg.norm(center_vector(target.layout, center))
    nothing = jnp.zeros_like(positions[:1])
    points = jnp.concatenate([positions, nothing])
    tangents = jnp.concatenate([turn(rotation, scale * vectors), nothing])
    turned = partial(turn_back, rotation)

    def look(at: jax.Array) -> tuple[jax.Array, jax.Array]:
        evaluated = [losses_and_gradient(target, center, at, side) for side in sides]
        losses, gradients = zip(*evaluated, strict=True)
        return jnp.stack(gradients), jnp.stack([loss - loss[-1] for loss in losses]).mean((0, 2))

    (gradients, rises), products = with_derivative(look, points, tangents, norm)
    slope = anchor_gradient if target.linear else jnp.zeros_like(anchor_gradient)
    moved = gradients[:, :chains] - gradients[:, -1:]
    anchored = moved + slope
    gradient = anchored.mean(0)
    product = scale * turned(products[:, :chains].mean(0))
    norm = jnp.linalg.norm(product, axis=-1)
    direction = jnp.where(norm[:, None] > 0, product / jnp.where(norm > 0, norm, 1.0)[:, None], vectors)
    return Surroundings(
        rise=rises[:chains] + positions @ (slope - gradients[:, -1].mean(0)),
        gradient=gradient,
        noise=jnp.sum((scale * turned(moved[0] - moved[-1])) ** 2, -1) / 4,
        force=jnp.sum(scale**2 * turned(anchored[0]) * turned(anchored[-1]), -1),
        pull=jnp.sum(scale**2 * turned(positions) * turned(gradient), -1),
        bend=jnp.sum(vectors * product, -1),
        curvature=norm,
        direction=direction,
    )


@partial(jax.jit, static_argnums=(0, 1))
def _anchored(
    target: Target,
    full_batch: bool,
    center: Center,
    anchor_gradient: jax.Array,
    positions: jax.Array,
    batch: PyTree,
) -> jax.Array:
    points = jnp.concatenate([positions, jnp.zeros_like(positions[:1])])
    sides = halves_of(batch, whole=full_batch)
    gradients = jnp.stack([losses_and_gradient(target, center, points, side)[1] for side in sides]).mean(0)
    moved = gradients[:-1] - gradients[-1:]
    return moved + anchor_gradient if target.linear else moved


def halves_of(batch: PyTree, *, whole: bool) -> list[PyTree]:
    """Return the two halves of a batch, which share no noise; of the `whole` data, which has none, itself."""
    if whole:
        return [batch]
    size = jax.tree.leaves(batch)[0].shape[0]
    half = (size + 1) // 2
    rows = (slice(half), slice(size - half, size))
    return [jax.tree.map(lambda a, side=side: a[side], batch) for side in rows]


@dataclass(frozen=True)
class Gauge:
    """What one round measures: largest curvature `(rung,)`, tr C `(rung,)`, the curvature's vectors."""

    curvature: np.ndarray
    noise: np.ndarray
    vectors: jax.Array


def measure(
    run: Run,
    ladder: Ladder,
    positions: jax.Array,
    vectors: jax.Array,
    key: jax.Array,
    *,
    rounds: int,
    floor: Gauge | None = None,
    frame: Frame = PLAIN,
) -> Gauge:
    """Return the largest curvature over chains, at least half of `floor`'s, and the mean gradient noise."""
    prober = make_prober(run.posterior, run.anchor, key)
    surroundings = largest_curvature(prober, positions, vectors, rounds=rounds, frame=frame)
    curvature = np.fmax.reduce(ladder.split(surroundings.curvature), axis=1)
    curvature = np.maximum(curvature, 0.5 * floor.curvature) if floor else curvature
    return Gauge(curvature, ladder.split(surroundings.noise).mean(1), surroundings.direction)
