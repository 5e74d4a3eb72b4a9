"""One look at the loss around w*, before any chain: whether it can be sampled as it is given."""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.gradients import gradient_at
from lltc.chains.loop import Run
from lltc.chains.streams import RandomStream, substream
from lltc.diagnostics.status import Status
from lltc.posterior.layout import Center
from lltc.posterior.sharding import to_host
from lltc.posterior.target import Target
from lltc.types import PyTree

EXAMPLES = 64
DIRECTIONS, GROUPS = 8, 32
FEW_EXAMPLES, FEW_GROUPS = 16, 8
HALVINGS = 24
MISMATCH, MISMATCH_OF_A_GROUP = 0.1, 0.5
APART = 1e-3
ROUNDINGS = 64
COARSE = {
    "bf16": jnp.bfloat16,
    "f16": jnp.float16,
    "f8_e4m3fn": jnp.float8_e4m3fn,
    "f8_e5m2": jnp.float8_e5m2,
}
NODES, WEIGHTS = np.polynomial.legendre.leggauss(5)


class Paths(NamedTuple):
    """Straight ways from w*, `(path,)` each.

    `rise` is that of the mean loss, `work` what its gradient adds up to on the way, `variation` the same
    without signs, `size` the mean size of the losses at the end.
    """

    rise: np.ndarray
    work: np.ndarray
    variation: np.ndarray
    size: np.ndarray


def inspect(run: Run, *, thorough: bool = True) -> Status | None:
    """Return what is wrong with the loss, `coupled`, `unused` or `wrong_gradient`, or None.

    On up to 64 examples: the loss of an example must be the same in any batch; the loss must depend on the
    parameters that move; and along straight ways from w*, as far as the posterior reaches, ∫ ∇L(w)·dw must be
    the rise of L, in eight random directions and in up to 32 groups of coordinates, leaves or parts of them.
    Not `thorough`, where examples cost much, it is 16 examples and 8 groups.
    """
    posterior = run.posterior
    target, center = posterior.target, posterior.center
    size = min(EXAMPLES if thorough else FEW_EXAMPLES, posterior.batch_size)
    size -= size % 4
    if size < 4:
        return None
    key = substream(run.key, RandomStream.inspection)
    rows = np.asarray(jax.random.choice(key, posterior.data.size, (size,), replace=False))
    batch = jax.tree.map(jnp.asarray, posterior.data.batch(rows))
    directions = _directions(run, key, GROUPS if thorough else FEW_GROUPS)
    reach, rises = _reach(run, directions[:DIRECTIONS], batch)
    if not np.isfinite(rises).all():
        return None
    eps = _coarsest(target, center, batch)
    if _is_coupled(target, center, reach * directions[0], batch, eps):
        return Status.coupled
    ways = reach * directions
    paths = Paths(*(to_host(a).astype(np.float64) for a in _along(target, center, ways, batch)))
    if not paths.rise.any() and not paths.variation.any():
        return Status.unused
    return Status.wrong_gradient if _disagree(paths, eps / np.sqrt(size)) else None


def _disagree(paths: Paths, eps: float) -> bool:
    """True where rises are not what the gradients on the way add up to, beyond rounding.

    The eight ways of all that moves are judged together, by their root mean square: kinks of the loss between
    the five places where its gradient is taken average out. A group of coordinates is judged coarsely.
    """
    resolution = ROUNDINGS * eps * paths.size.max()
    gap = np.maximum(np.abs(paths.rise - paths.work) - resolution, 0)
    scale = np.maximum(np.abs(paths.rise), paths.variation)
    together = np.sum(gap[:DIRECTIONS] ** 2) > MISMATCH**2 * np.sum(scale[:DIRECTIONS] ** 2)
    return bool(together or np.any(gap[DIRECTIONS:] > MISMATCH_OF_A_GROUP * scale[DIRECTIONS:]))


def _directions(run: Run, key: jax.Array, count: int) -> jax.Array:
    """Return random directions `(path, d)`: eight of all that moves, then one of each group."""
    layout, center = run.posterior.target.layout, run.posterior.center
    sizes = [int(np.prod(shape)) for shape, moves in zip(layout.shapes, layout.moved, strict=True) if moves]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    owner = owner if center.chosen is None else owner[np.asarray(center.chosen)]
    groups = _split(np.flatnonzero(np.diff(owner, prepend=-1)).tolist(), len(owner), count)
    every = jax.random.normal(key, (DIRECTIONS + len(groups), len(owner)), layout.dtype)
    masks = np.zeros(every.shape, bool)
    masks[:DIRECTIONS] = True
    for row, (low, high) in enumerate(groups, DIRECTIONS):
        masks[row, low:high] = True
    return jnp.where(masks, every, 0.0)


def _split(starts: list[int], length: int, count: int) -> list[tuple[int, int]]:
    """Return at most `count` ranges of coordinates: leaves, the longest halved while there are fewer.

    Example:
        >>> _split([0, 1], 4, 32)
        [(0, 1), (1, 2), (2, 3), (3, 4)]
    """
    bounds = [*starts, length]
    every = len(starts) / count
    groups = list(pairwise(bounds))
    if every > 1:
        return [groups[int(place * every)] for place in range(count)]
    while len(groups) < min(count, length):
        low, high = longest = max(groups, key=lambda group: group[1] - group[0])
        groups.remove(longest)
        groups += [(low, (low + high) // 2), ((low + high) // 2, high)]
    return sorted(groups)


def _reach(run: Run, directions: jax.Array, batch: PyTree) -> tuple[float, np.ndarray]:
    """Return how far to go, and the rises there: nβ ΔL is d/2, or it is the prior's radius a coordinate."""
    posterior = run.posterior
    gamma = posterior.localization
    reach = 1 / np.sqrt(gamma) if gamma > 0 else 1.0
    rises = np.full(len(directions), np.nan)
    for _ in range(HALVINGS):
        rises = to_host(_rises(posterior.target, posterior.center, reach * directions, batch))
        if np.isfinite(rises).all() and posterior.nbeta * np.abs(rises).max() <= posterior.num_params:
            break
        reach *= 0.5
    return float(reach), rises


def _is_coupled(target: Target, center: Center, position: jax.Array, batch: PyTree, eps: float) -> bool:
    """True where half a batch by itself has other losses, or another mean, than as half of the whole."""
    half = jax.tree.leaves(batch)[0].shape[0] // 2
    first = jax.tree.map(lambda a: a[:half], batch)
    whole, alone = (to_host(_losses(target, center, position, part)) for part in (batch, first))
    together = whole[:half] if target.per_example else whole[:1]
    apart = alone if target.per_example else alone.mean(keepdims=True)
    allowed = APART * np.std(whole) + ROUNDINGS * eps * np.abs(whole).max()
    return bool(np.abs(together - apart).max() > allowed)


def _coarsest(target: Target, center: Center, batch: PyTree) -> float:
    """Return the relative rounding of the coarsest floating-point numbers that the loss computes with."""
    program = str(jax.make_jaxpr(partial(target.losses_at_center, center))(batch))
    coarse = [dtype for name, dtype in COARSE.items() if f"{name}[" in program]
    return max(float(jnp.finfo(dtype).eps) for dtype in [target.layout.dtype, *coarse])


@partial(jax.jit, static_argnums=0)
def _losses(target: Target, center: Center, position: jax.Array, batch: PyTree) -> jax.Array:
    return target.losses(center, position, batch)


@partial(jax.jit, static_argnums=0)
def _rises(target: Target, center: Center, ways: jax.Array, batch: PyTree) -> jax.Array:
    """Return the rise of the mean loss at the end of each way `(path,)`."""
    base = target.losses_at_center(center, batch)
    return jax.lax.map(lambda way: (target.losses(center, way, batch) - base).mean(), ways)


@partial(jax.jit, static_argnums=0)
def _along(target: Target, center: Center, ways: jax.Array, batch: PyTree) -> tuple[jax.Array, ...]:
    """Return of each way `(path,)` what `Paths` tells."""
    base = target.losses_at_center(center, batch)

    def work_at(way: jax.Array, node: jax.Array) -> jax.Array:
        return gradient_at(target, center, node * way, batch)[1] @ way

    def one(way: jax.Array) -> tuple[jax.Array, ...]:
        losses = target.losses(center, way, batch)
        work = jax.lax.map(partial(work_at, way), jnp.asarray((1 + NODES) / 2, way.dtype))
        weights = jnp.asarray(WEIGHTS / 2, way.dtype)
        return (losses - base).mean(), work @ weights, jnp.abs(work) @ weights, jnp.abs(losses).mean()

    return jax.lax.map(one, ways)
