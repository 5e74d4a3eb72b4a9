"""Examples that count by a weight each: L_n = Σ wᵢ ℓᵢ / n with n = Σ wᵢ."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.posterior.arrays import as_array
from lltc.posterior.data import Data, fetch
from lltc.posterior.tables import ArrowRows
from lltc.posterior.tokens import example_losses
from lltc.types import LossFn, PyTree


class Weighed(NamedTuple):
    """Examples `(batch, …)` and what each loss of theirs is multiplied with `(batch,)`, of mean 1."""

    examples: PyTree
    weights: Any


@dataclass(frozen=True)
class WeighedRows:
    """A source of rows, and their weights `(n,)`."""

    rows: Any
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Weighed:
        """Return rows with their weights."""
        return Weighed(fetch(self.rows, np.asarray(indices)), self.weights[indices])


@dataclass(frozen=True)
class WeightedLoss:
    """A loss whose value at an example is multiplied with the weight that comes with it, where one does."""

    model: LossFn

    def __call__(self, params: PyTree, batch: PyTree) -> jax.Array:
        """Return losses `(batch,)`."""
        return _weighted(batch, lambda examples: self.model(params, examples))

    @property
    def against(self) -> Any:
        """How a behavioral loss compares with the checkpoint, weighted; absent where the model's is."""
        compare = self.model.against  # pyright: ignore[reportFunctionMemberAccess]
        return lambda params, anchor, batch: _weighted(batch, lambda rows: compare(params, anchor, rows))

    @property
    def loss(self) -> Any:
        """The task's loss that is reported, weighted; absent where the model's is."""
        task = self.model.loss  # pyright: ignore[reportFunctionMemberAccess]
        return None if task is None else WeightedLoss(task)


def _weighted(batch: PyTree, losses_of: Any) -> jax.Array:
    if not isinstance(batch, Weighed):
        return losses_of(batch)
    losses = example_losses(losses_of(batch.examples))
    if jnp.ndim(losses) != 1:
        raise InputError(
            f"weights need one loss an example, but model returned losses of shape {jnp.shape(losses)}; let "
            "it return them before any mean is taken."
        )
    return batch.weights.astype(losses.dtype) * losses


def rows_that_count(data: Data) -> np.ndarray | None:
    """Return the examples whose weight is not zero, None where all are or none has a weight."""
    held = data.arrays if data.arrays is not None else data.rows
    weights = np.asarray(held.weights) if isinstance(held, Weighed | WeighedRows) else np.ones(1)
    return None if weights.all() else np.flatnonzero(weights)


def weights_of(batch: PyTree, count: int) -> np.ndarray:
    """Return what each of the first `count` examples of a batch weighs, 1 where none has a weight."""
    return np.asarray(batch.weights[:count]) if isinstance(batch, Weighed) else np.ones(count)


def weigh(model: LossFn, data: Data, weights: Any) -> tuple[LossFn, Data]:
    """Return the model and data of the weighted loss; `weights` `(n,)`, or the key of an array of the data.

    Example:
        >>> from lltc.posterior.data import as_data
        >>> model, data = weigh(lambda w, x: w * x, as_data(np.ones(3)), np.array([1, 2, 3]))
        >>> data.count, model(2.0, data.batch(np.arange(3))).tolist()
        (6.0, [1.0, 2.0, 3.0])
    """
    if isinstance(weights, str):
        weights = _column(data, weights)
    given = np.asarray(as_array("weights", weights))
    if given.shape != (data.size,) or given.dtype.kind not in "biuf":
        raise InputError(
            f"weights must be {data.size} numbers, one an example, but an array of shape {given.shape} and "
            f"type {given.dtype} was given; pass such an array, or the key of one in data."
        )
    total = float(given.sum(dtype=float))
    if not (np.isfinite(total) and total > 0 and given.min() >= 0):
        raise InputError(
            f"weights must be finite numbers ≥ 0 with a sum > 0, but they go from {given.min():g} to "
            f"{given.max():g}; mend them."
        )
    scaled = (given * (data.size / total)).astype(np.float64 if given.dtype == np.float64 else np.float32)
    if data.arrays is not None:
        weighed = replace(data, arrays=Weighed(data.arrays, jnp.asarray(scaled)), total=total)
    elif isinstance(data.rows, dict | list | tuple | np.memmap):
        weighed = replace(data, rows=Weighed(data.rows, scaled), total=total)
    else:
        weighed = replace(data, rows=WeighedRows(data.rows, scaled), total=total)
    return WeightedLoss(model), weighed


def _column(data: Data, key: str) -> Any:
    examples = data.rows if data.arrays is None else data.arrays
    if isinstance(examples, dict) and key in examples:
        return examples[key]
    if isinstance(examples, ArrowRows) and key in examples.dataset.column_names:
        return examples[np.arange(data.size)][key]
    keys = ", ".join(map(repr, examples)) if isinstance(examples, dict) else "no keys"
    raise InputError(
        f"weights={key!r} must be a key of data, which has {keys}; pass one of them, or an array of one "
        "weight an example."
    )
