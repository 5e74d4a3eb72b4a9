"""What the estimators accept: each argument checked, and refused in one sentence."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.posterior.arrays import as_array
from lltc.posterior.components import path_name
from lltc.posterior.data import Data
from lltc.types import LossFn, PyTree


def default_nbeta(size: int) -> float:
    """Return n/ln n."""
    if size < 3:
        raise InputError(
            f"nbeta is not given and its default n/ln n needs at least 3 examples, but data holds {size}; "
            "pass nbeta."
        )
    return size / math.log(size)


def check_positive(name: str, value: float, *, zero: bool = False) -> float:
    """Return `value` as a positive, finite float, or refuse it."""
    allowed = "a finite number ≥ 0" if zero else "a finite number > 0"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(
            f"{name} must be {allowed}, but {value!r} was given; pass such a number or None."
        ) from None
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise InputError(
            f"{name} must be {allowed}, but {number:g} was given; pass such a number or None for the default."
        )
    return number


def check_batch_size(batch_size: int | None, data: Data) -> int:
    """Return the batch size as an even number, or all examples."""
    if batch_size is None:
        batch_size = data.size if data.size <= 1024 else 512
    if not isinstance(batch_size, int | np.integer) or (batch_size < 2 and data.size > 1):
        raise InputError(
            "batch_size must be an integer of at least 2 (its two halves measure the noise), but "
            f"{batch_size!r} was given; "
            "pass such a number or None."
        )
    if batch_size >= data.size:
        return data.size
    return int(batch_size) - int(batch_size) % 2


def check_at_once(name: str, things: str, count: int | None) -> None:
    """Refuse a number of chains or examples in flight that is none."""
    whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
    if count is not None and not (whole and count >= 1):
        raise InputError(
            f"{name} must be an integer ≥ 1, but {count!r} was given; pass how many {things} may be "
            "evaluated at once, or None for all."
        )


def check_finite_params(params: PyTree) -> None:
    """Refuse params that hold NaN or infinity."""
    leaves = [
        (path, jnp.asarray(as_array(path_name(path) or "params", leaf)))
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]
    floats = [(path, leaf) for path, leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]
    for (path, _), finite in zip(floats, _are_finite([leaf for _, leaf in floats]), strict=True):
        if not finite:
            raise InputError(
                f"params has non-finite values in {path_name(path) or 'its only leaf'}, but a checkpoint "
                "must be finite; "
                "check that training did not diverge before this checkpoint."
            )


@jax.jit
def _are_finite(leaves: list[jax.Array]) -> list[jax.Array]:
    return [jnp.isfinite(leaf).all() for leaf in leaves]


def comparison(model: LossFn) -> Callable[..., jax.Array] | None:
    """Return how `model` compares params with the checkpoint's own outputs; None for a common loss."""
    return getattr(model, "against", None)


def check_callable(model: LossFn) -> None:
    """Refuse a model that is no function."""
    if not callable(model):
        raise InputError(
            f"model must be a function (params, batch) -> losses, but a {type(model).__name__} was given; "
            "pass the loss of a network, such as lltc.models makes."
        )


def check_model(model: LossFn, params: PyTree, data: Data, batch_size: int) -> bool:
    """Trace the model once and return whether it gives one loss an example (else one mean)."""
    batch = data.batch(np.arange(min(batch_size, data.size)))
    count = min(batch_size, data.size)
    against = comparison(model)
    call = (lambda params, batch: against(params, params, batch)) if against else model
    try:
        losses = jax.eval_shape(call, params, batch)
    except InputError:
        raise
    except Exception as error:  # A model is the user's: it may fail in any way.
        raise InputError(_explain(error, params)) from error
    if not hasattr(losses, "shape") or not jnp.issubdtype(losses.dtype, jnp.floating):
        raise InputError(
            f"model must return floating-point losses of shape (batch,), but it returned {losses}; return "
            "one loss an example."
        )
    if losses.shape not in ((count,), ()):
        raise InputError(
            f"model returned losses of shape {losses.shape} for a batch of {count}, but ({count},) (one "
            "loss an example, in "
            "nats) or () (their mean) is allowed; reduce every axis but the first."
        )
    return losses.shape != ()


def _explain(error: Exception, params: PyTree) -> str:
    first = str(error).strip().split("\n")[0][:300]
    if isinstance(error, jax.errors.JAXTypeError):
        return (
            "model could not be traced by JAX because it turns params or batch into a concrete value or "
            "closes over one that is "
            f"not JAX's ({type(error).__name__}: {first}); write it with jax.numpy only and without "
            "float(), if or numpy on params."
        )
    shapes = ", ".join(
        f"{path_name(path) or 'params'} {np.shape(leaf)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)[:8]
    )
    return (
        f"model failed on params ({shapes}) and one batch of data ({type(error).__name__}: {first}); check "
        "that params fit "
        "the model and that it takes (params, batch) with JAX arrays inside."
    )


def is_hashable(model: LossFn) -> bool:
    """True when `model` can key a cache of compiled programs."""
    try:
        hash(model)
    except TypeError:
        return False
    return True


def check_counts(
    *, num_chains: int, num_draws: int | None, num_warmup: int | None, target_rel_se: float
) -> None:
    """Refuse counts that no run can be made of."""
    for name, value, least in (
        ("num_chains", num_chains, 2),
        ("num_draws", num_draws, 8),
        ("num_warmup", num_warmup, 8),
    ):
        if value is None and name != "num_chains":
            continue
        if not isinstance(value, int | np.integer) or value < least:
            raise InputError(
                f"{name} must be an integer of at least {least}, but {value!r} was given; raise it."
            )
    if not target_rel_se > 0:
        raise InputError(
            f"target_rel_se must be a number > 0, but {target_rel_se!r} was given; .02 asks for two percent."
        )


def check_step_size(step_size: float | None) -> float | None:
    """Return `step_size` as a positive float, or None where it is to be measured."""
    if step_size is None:
        return None
    if not np.isfinite(step_size) or step_size <= 0:
        raise InputError(
            f"step_size must be a finite number > 0, but {step_size!r} was given; pass such a number, or "
            "None to have it measured."
        )
    return float(step_size)


def check_ladder(nbeta: Any) -> np.ndarray:
    """Return inverse temperatures in rising order, or refuse them."""
    try:
        rungs = np.sort(np.asarray(nbeta, dtype=float))
    except (TypeError, ValueError):
        rungs = np.zeros(0)
    if rungs.ndim != 1 or len(np.unique(rungs)) < max(2, rungs.size) or not np.isfinite(rungs).all():
        raise InputError(
            f"nbeta must be a sequence of two or more different numbers > 0, but {nbeta!r} was given; "
            "pass such as [50, 100, 200], or use estimate_llc for one temperature."
        )
    for rung in rungs:
        check_positive("nbeta", float(rung))
    return rungs


def check_anchor_examples(count: int | None) -> None:
    """Refuse a count of examples that cannot be halved."""
    whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
    if count is not None and not (whole and count >= 2):
        raise InputError(
            f"anchor_examples must be an integer ≥ 2, but {count!r} was given; pass such a number, or None "
            "for all the data."
        )
