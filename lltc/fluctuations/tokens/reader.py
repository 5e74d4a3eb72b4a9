"""Which tokens count, and their losses at the chains' positions, the whole moving or one component alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.posterior.arrays import as_indices
from lltc.posterior.layout import Center, count_moved
from lltc.posterior.target import LocalPosterior, Target
from lltc.types import PyTree


class Tokens(NamedTuple):
    """The tokens read, in the order of their examples, `(token,)` each.

    `example` is an index into the data and `position` one into the example; `weight` is what the token's loss
    weighs in L_n, 1/n over the number of tokens of its example that count; `loss` is that at w*.
    """

    example: np.ndarray
    position: np.ndarray
    weight: np.ndarray
    loss: np.ndarray


@dataclass(frozen=True)
class TokenReader:
    """Reads the losses of tokens above those at w*, with only what each of `masks` `(mask, d)` names moved.

    `weights` `(example, token)` says what every token weighs in the mean, 0 where it does not count, and
    `kept` which are kept one by one. `tokens` False reads examples' losses alone. `averaged` says that some
    of these are means over several tokens.
    """

    posterior: LocalPosterior
    masks: jax.Array
    weights: np.ndarray
    kept: np.ndarray
    tokens: bool
    averaged: bool

    def __call__(self, positions: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        """Return losses `(chain, mask, token)` of the tokens kept and means `(chain, mask)` over all."""
        posterior = self.posterior
        single, mean = [], np.zeros((len(self.masks), len(positions)))
        for number, batch in enumerate(_blocks(posterior)):
            block = slice(number * posterior.block, (number + 1) * posterior.block)
            weights, wanted = self.weights[block], self.kept[block]
            read = _rises(posterior.target, self.tokens, posterior.center, self.masks, positions, batch)
            rises = np.asarray(read)
            counting = weights > 0
            mean += rises[..., counting].astype(np.float64) @ weights[counting]
            single.append(rises[..., wanted])
        return np.concatenate(single, -1).swapaxes(0, 1), mean.T


def make_reader(
    posterior: LocalPosterior, masks: Sequence[np.ndarray], rows: Sequence[int] | None, *, tokens: bool
) -> tuple[TokenReader, Tokens]:
    """Return a reader of the whole and of components `masks`, and the tokens it keeps: those of `rows`."""
    target, center, data = posterior.target, posterior.center, posterior.data
    if not target.per_example:
        raise InputError(
            "model returns the mean of its batch, but single losses are to be read; let it return losses "
            "(batch,), or losses of tokens and a mask, both (batch, tokens)."
        )
    chosen = _chosen(rows, data.size)
    parts, weights, wanted, first = [], [], [], 0
    for batch in _blocks(posterior):
        loss, mask = map(np.asarray, _at_center(target, tokens, center, batch))
        if weights and mask.shape[1] != weights[0].shape[1]:
            raise InputError(
                f"examples of data have {weights[0].shape[1]} tokens in one batch and {mask.shape[1]} in "
                "another, but each token has a place of its own; pad all examples to one length."
            )
        counts = mask.sum(-1, keepdims=True)
        _check(counts[:, 0], np.where(mask, loss, 0), first)
        weights.append(mask / (data.size * np.maximum(counts, 1)))
        wanted.append(mask & chosen[first : first + len(mask), None])
        example, position = np.nonzero(wanted[-1])
        parts.append((first + example, position, weights[-1][wanted[-1]], loss[wanted[-1]]))
        first += len(mask)
    whole = np.ones((1, posterior.num_params), bool)
    stacked = np.concatenate([whole, np.reshape(masks, (len(masks), posterior.num_params)).astype(bool)])
    weight = np.concatenate(weights)
    averaged = np.count_nonzero(weight) > data.size
    averaged |= not tokens and target.gives_tokens(center, data.batch(np.arange(1)))
    reader = TokenReader(
        posterior, jnp.asarray(stacked), weight, np.concatenate(wanted), tokens, bool(averaged)
    )
    return reader, Tokens(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _blocks(posterior: LocalPosterior) -> Iterable[PyTree]:
    """Return all examples in blocks; data that are one block need not be gathered."""
    data = posterior.data
    whole = data.in_memory and posterior.block >= data.size
    return [data.arrays] if whole else data.blocks(posterior.block)


def _chosen(rows: Sequence[int] | None, size: int) -> np.ndarray:
    """Return which examples' tokens are kept `(example,)`."""
    if rows is None:
        return np.ones(size, bool)
    return np.isin(np.arange(size), as_indices("rows", rows, size, "data"))


def _check(counts: np.ndarray, losses: np.ndarray, first: int) -> None:
    """Refuse an example without a token that counts, or with a loss that is no number."""
    if not counts.all():
        raise InputError(
            f"example {first + int(np.argmin(counts))} of data has no token that counts, but its loss is the "
            "mean over those that do; leave it out, or mend the mask."
        )
    if not np.isfinite(losses).all():
        example, position = np.argwhere(~np.isfinite(losses))[0]
        raise InputError(
            f"token {position} of example {first + example} has the loss {losses[example, position]} at "
            "params and counts, but losses must be finite; mask it, or mend its label."
        )


def _losses(
    target: Target, tokens: bool, center: Center, position: jax.Array, batch: PyTree
) -> tuple[jax.Array, jax.Array]:
    """Return losses and where they count, `(batch, token)` both."""
    if tokens:
        return target.token_losses(center, position, batch)
    losses = target.losses(center, position, batch)[:, None]
    return losses, jnp.ones(losses.shape, bool)


@partial(jax.jit, static_argnums=(0, 1))
def _at_center(target: Target, tokens: bool, center: Center, batch: PyTree) -> tuple[jax.Array, jax.Array]:
    origin = jnp.zeros(count_moved(target.layout, center), target.layout.dtype)
    return _losses(target, tokens, center, origin, batch)


@partial(jax.jit, static_argnums=(0, 1))
def _rises(
    target: Target, tokens: bool, center: Center, masks: jax.Array, positions: jax.Array, batch: PyTree
) -> jax.Array:
    """Return the losses above those at w* `(mask, chain, batch, token)`, each mask alone moved."""
    base, _ = _losses(target, tokens, center, jnp.zeros(positions.shape[1:], positions.dtype), batch)
    one = lambda position: _losses(target, tokens, center, position, batch)[0] - base
    return jax.lax.map(lambda mask: target.each_chain(one, jnp.where(mask, positions, 0.0)), masks)
