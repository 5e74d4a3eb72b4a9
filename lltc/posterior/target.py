"""The local posterior: model, checkpoint, data, inverse temperature and localization."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lltc.compilation import broadcasting
from lltc.posterior.checks import (
    check_at_once,
    check_batch_size,
    check_callable,
    check_finite_params,
    check_flag,
    check_gradient,
    check_model,
    check_positive,
    check_weight_decay,
    comparison,
    default_nbeta,
    hashable,
)
from lltc.posterior.components import Restriction
from lltc.posterior.data import Data, as_data
from lltc.posterior.layout import (
    Center,
    Layout,
    as_params,
    assemble,
    center_leaves,
    count_moved,
    locate,
    moved_leaves,
)
from lltc.posterior.localization import default_localization
from lltc.posterior.sharding import Placement, check_divides, make_placement, spread_params
from lltc.posterior.tokens import example_losses, is_pair
from lltc.posterior.turns import Turns, cut, joined
from lltc.posterior.weighing import weigh
from lltc.types import LossFn, PyTree


@dataclass(frozen=True)
class Target:
    """The loss as chains see it: `losses(center, position (d,), batch) -> (m,)`; hashable.

    A position is w - w*, so that small steps are not rounded away beside large weights.
    `linear` False takes ∇L_n(w*)·(w - w*) out of the loss the chains move in. `chain_batch` is how many
    chains are evaluated at once, `micro_batch` how many examples of a batch, None for all; `weight_decay` c
    adds (c/2)(‖w‖² - ‖w*‖²) over the leaves that move; `placement` says on which devices.
    """

    model: LossFn
    layout: Layout
    per_example: bool
    linear: bool = True
    chain_batch: int | None = None
    micro_batch: int | None = None
    weight_decay: float = 0.0
    placement: Placement | None = None

    @property
    def relative(self) -> bool:
        """True when the loss compares with the checkpoint's own outputs, hence is zero and flat at w*."""
        return comparison(self.model) is not None

    def each_chain(self, function: Callable[[jax.Array], Any], positions: jax.Array) -> Any:
        """Return `function` of each of `positions` `(chain, d)`, `chain_batch` in flight on a device."""
        count = len(positions)
        if self.chain_batch is None:
            return jax.vmap(function)(positions)
        groups = self.placement.size("chain") if self.placement else 1
        if groups == 1 or count % groups:
            return jax.lax.map(function, positions, batch_size=self.chain_batch)
        # The loop goes over the chains of each device, all devices side by side.
        turns = positions.reshape(groups, count // groups, -1).swapaxes(0, 1)
        results = jax.lax.map(jax.vmap(function), turns, batch_size=self.chain_batch)
        return jax.tree.map(lambda a: a.swapaxes(0, 1).reshape(count, *a.shape[2:]), results)

    def losses(self, center: Center, position: jax.Array, batch: PyTree) -> jax.Array:
        """Return the losses `(batch,)`, or `(2,)` half-batch means of a model that returns means."""
        return self.losses_of(center, moved_leaves(self.layout, center, position), batch)

    def losses_at_center(self, center: Center, batch: PyTree) -> jax.Array:
        """Return the losses at w*, as `losses` does at the position 0."""
        return self.losses_of(center, center_leaves(self.layout, center), batch)

    def losses_of(self, center: Center, moved: tuple[jax.Array, ...], batch: PyTree) -> jax.Array:
        """Return the losses of `batch` with the moved leaves given."""
        if self.placement:
            moved = self.placement.params(moved, self.layout.moved)
            batch = self.placement.batch(batch)
        params = assemble(self.layout, center, moved)
        turns = self.turns(batch)
        if turns is None:
            return self._decayed(center, moved, self._losses(center, params, batch))
        count = jax.tree.leaves(batch)[0].shape[0]
        losses = jax.lax.map(partial(self._losses, center, params), turns.rows)
        return self._decayed(center, moved, joined(losses, count, per_example=self.per_example))

    def turns(self, batch: PyTree) -> Turns | None:
        """Return `batch` in turns of `micro_batch` examples, or None where one is enough."""
        return cut(batch, self.micro_batch, per_example=self.per_example)

    def returned(self, center: Center, position: jax.Array, batch: PyTree) -> jax.Array:
        """Return what the model gives at `position` `(d,)`, `(batch,)` or `()`, all of the batch at once."""
        moved = moved_leaves(self.layout, center, position)
        if self.placement:
            moved = self.placement.params(moved, self.layout.moved)
        losses = self._called(center, assemble(self.layout, center, moved), batch)
        return self._decayed(center, moved, example_losses(losses).astype(self.layout.dtype))

    def _decayed(self, center: Center, moved: tuple[jax.Array, ...], losses: jax.Array) -> jax.Array:
        """Return losses with what weight decay adds to each of them above w*."""
        if not self.weight_decay:
            return losses
        pairs = zip(moved, center_leaves(self.layout, center), strict=True)
        rise = sum(((leaf - base) * (leaf + base)).sum() for leaf, base in pairs)
        return losses + 0.5 * self.weight_decay * rise

    def _losses(self, center: Center, params: PyTree, batch: PyTree) -> jax.Array:
        """Return the losses of a batch evaluated at once."""
        if self.per_example:
            losses = example_losses(self._called(center, params, batch))
        else:
            losses = jax.vmap(partial(self._called, center, params))(_halves(batch))
        return losses.astype(self.layout.dtype)

    def gives_tokens(self, center: Center, batch: PyTree) -> bool:
        """True when the model gives losses of tokens, whose mean an example's loss is."""
        params = assemble(self.layout, center, center_leaves(self.layout, center))
        return is_pair(jax.eval_shape(partial(self._called, center), params, batch))

    def token_losses(self, center: Center, position: jax.Array, batch: PyTree) -> tuple[jax.Array, jax.Array]:
        """Return the losses `(batch, tokens)` and where they count; of a model of examples one token each."""
        params = assemble(self.layout, center, moved_leaves(self.layout, center, position))
        losses = self._called(center, params, batch)
        values, mask = losses if is_pair(losses) else (losses[:, None], jnp.ones((len(losses), 1), bool))
        return jnp.where(mask, values, 0).astype(self.layout.dtype), mask

    def _called(self, center: Center, params: PyTree, batch: PyTree) -> Any:
        if against := comparison(self.model):
            return against(params, jax.tree.unflatten(self.layout.treedef, center.leaves), batch)
        return self.model(params, batch)


@dataclass(frozen=True)
class LocalPosterior:
    """p(w) ∝ exp(-nβ L_n(w) - (γ/2)‖w - w*‖²) around one checkpoint.

    `L_n` is the mean over the examples of the loss in nats, Σ wᵢ ℓᵢ / Σ wᵢ where they have weights, `nbeta`
    is nβ, `localization` is γ, and only the `num_params` selected parameters move.
    """

    target: Target
    center: Center
    data: Data
    nbeta: float
    localization: float
    batch_size: int

    @property
    def dtype(self) -> Any:
        """The floating-point type that chains move in."""
        return self.target.layout.dtype

    @property
    def block(self) -> int:
        """How many examples are evaluated at once where all of the data are gone through."""
        return min(self.batch_size, self.target.micro_batch or self.batch_size)

    @property
    def num_params(self) -> int:
        """The number of parameters that move."""
        return count_moved(self.target.layout, self.center)

    @property
    def params(self) -> PyTree:
        """The checkpoint w*."""
        return jax.tree.unflatten(self.target.layout.treedef, self.center.leaves)

    @property
    def full_batch(self) -> bool:
        """True when every step sees all the data, so that gradients carry no minibatch noise."""
        return self.data.in_memory and self.batch_size >= self.data.size


@broadcasting
def local_posterior(
    model: LossFn,
    params: PyTree,
    data: PyTree | Data,
    *,
    nbeta: float | None = None,
    localization: float | None = None,
    batch_size: int | None = None,
    restrict: Restriction | None = None,
    linear: bool = True,
    chain_batch: int | None = None,
    micro_batch: int | None = None,
    weights: Any = None,
    weight_decay: float | None = None,
    tie: Mapping[str, str] | None = None,
    mesh: Mesh | None = None,
) -> LocalPosterior:
    """Check the arguments and return the local posterior with its defaults filled in.

    Defaults: `nbeta = n / ln n` with n the number of examples in `data`, or the sum of their `weights`;
    `localization = d / (½‖w*‖)²` over the d moved parameters (the prior's typical radius is half the norm of
    w*), 1 where w* = 0; `batch_size` 512, or all of up to 1024 examples; the others as in `lltc.Options`.
    Raises `InputError` with one sentence for anything that does not fit.

    Example:
        >>> posterior = local_posterior(lambda w, x: (w - x) ** 2, jnp.float32(2.0), jnp.zeros(100))
        >>> round(posterior.nbeta, 2), posterior.localization
        (21.71, 1.0)
    """
    check_callable(model)
    data, params = as_data(data), spread_params(mesh, as_params(params))
    if weights is not None:
        model, data = weigh(model, data, weights)
    check_finite_params(params)
    layout, center = locate(params, restrict, tie)
    placement = make_placement(params, count_moved(layout, center)) if mesh is not None else None
    data = replace(data, arrays=placement.whole(data.arrays)) if placement else data
    nbeta = check_positive("nbeta", default_nbeta(data.count) if nbeta is None else nbeta)
    gamma = check_positive(
        "localization",
        default_localization(layout, center) if localization is None else localization,
        zero=True,
    )
    batch_size = check_batch_size(batch_size, data)
    check_at_once("chain_batch", "chains", chain_batch)
    check_at_once("micro_batch", "examples", micro_batch)
    linear = check_flag("linear", linear)
    model = hashable(model)
    per_example = check_model(model, params, data, batch_size)
    decay = check_weight_decay(weight_decay, model)
    target = Target(model, layout, per_example, linear, chain_batch, micro_batch, decay, placement)
    posterior = LocalPosterior(target, center, data, nbeta, gamma, batch_size)
    check_gradient(
        partial(_mean_loss, target, center), center_leaves(layout, center), data.batch(np.arange(1))
    )
    return _placed(posterior, placement) if placement else posterior


def _mean_loss(target: Target, center: Center, moved: tuple[jax.Array, ...], batch: PyTree) -> jax.Array:
    return target.losses_of(center, moved, batch).mean()


def restricted(posterior: LocalPosterior, restrict: Restriction) -> LocalPosterior:
    """Return the posterior of which only `restrict` moves, the rest held at w*; nβ, γ and batches stay."""
    target = posterior.target
    return local_posterior(
        target.model,
        posterior.params,
        posterior.data,
        nbeta=posterior.nbeta,
        localization=posterior.localization,
        batch_size=posterior.batch_size,
        restrict=restrict,
        linear=target.linear,
        chain_batch=target.chain_batch,
        micro_batch=target.micro_batch,
        weight_decay=target.weight_decay,
        tie=target.layout.tie,
        mesh=target.placement.mesh if target.placement else None,
    )


def _placed(posterior: LocalPosterior, placement: Placement) -> LocalPosterior:
    if not posterior.full_batch:
        check_divides(placement, "data", "batch_size", posterior.batch_size)
    leaves, chosen = posterior.center
    return replace(posterior, center=Center(placement.params(leaves), placement.whole(chosen)))


def _halves(batch: PyTree) -> PyTree:
    """Return `batch` as two halves stacked; a batch that cannot be halved is given twice."""
    size = jax.tree.leaves(batch)[0].shape[0]
    if size % 2:
        return jax.tree.map(lambda a: jnp.stack([a, a]), batch)
    return jax.tree.map(lambda a: a.reshape(2, size // 2, *a.shape[1:]), batch)
