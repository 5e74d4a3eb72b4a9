"""What the estimators accept: each argument checked, and refused in one sentence."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError, first_line, shown
from lltc.posterior.arrays import as_array
from lltc.posterior.components import path_name
from lltc.posterior.data import Data
from lltc.posterior.tokens import check_pair, is_pair
from lltc.types import LossFn, PyTree

LARGEST, MOST = 1e30, 10**9


def default_nbeta(size: float) -> float:
    """Return n/ln n."""
    if size < 3:
        raise InputError(
            f"nbeta is not given and its default n/ln n needs at least 3 examples, but data holds {size:g}; "
            "pass nbeta."
        )
    return size / math.log(size)


def as_number(value: Any) -> float | None:
    """Return a real number as a float; None for a truth value, a text, an array of several or no number.

    Example:
        >>> as_number(np.float32(2)), as_number(True), as_number("2"), as_number(np.ones(1))
        (2.0, None, None, None)
    """
    if isinstance(value, bool | np.bool_ | str | bytes) or np.ndim(value):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def check_positive(name: str, value: Any, *, zero: bool = False) -> float:
    """Return `value` as a positive float whose powers stay finite, or refuse it."""
    allowed = "a finite number ≥ 0" if zero else "a finite number > 0"
    number = as_number(value)
    if number is None:
        raise InputError(
            f"{name} must be {allowed}, but {shown(value)} was given; pass such a number or None."
        )
    if not 0 <= number <= LARGEST or (number == 0 and not zero):
        most = f" up to {LARGEST:g}" if LARGEST < number < math.inf else ""
        raise InputError(
            f"{name} must be {allowed}{most}, but {number:g} was given; pass such a number or None for the "
            "default."
        )
    return number


def check_flag(name: str, value: Any) -> bool:
    """Return `value` as True or False, or refuse it."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} must be True or False, but {shown(value)} was given; pass one of these.")
    return bool(value)


def check_weight_decay(weight_decay: float | None, model: LossFn) -> float:
    """Return weight decay as a number ≥ 0; refuse it for a loss that compares with the checkpoint itself."""
    decay = 0.0 if weight_decay is None else check_positive("weight_decay", weight_decay, zero=True)
    if decay and comparison(model) is not None:
        raise InputError(
            f"weight_decay={weight_decay!r} was given with a behavioral loss, which is flat at the "
            "checkpoint as it is; leave it out."
        )
    return decay


def check_batch_size(batch_size: int | None, data: Data) -> int:
    """Return the batch size as an even number, or all examples."""
    if batch_size is None:
        batch_size = data.size if data.size <= 1024 else 512
    if not isinstance(batch_size, int | np.integer) or batch_size < min(2, data.size):
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
    floats = [(path, leaf) for path, leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
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
    if is_pair(losses):
        check_pair(losses, count)
        return True
    if not hasattr(losses, "shape") or not jnp.issubdtype(losses.dtype, jnp.floating):
        raise InputError(
            f"model must return floating-point losses of shape (batch,), but it returned {losses}; return "
            "one loss an example."
        )
    if losses.shape not in ((count,), ()):
        raise InputError(
            f"model returned losses of shape {losses.shape} for a batch of {count}, but ({count},) (one "
            "loss an example, in "
            "nats) or () (their mean) is allowed; reduce every axis but the first, or return losses of "
            "tokens and a mask, a pair of arrays (batch, tokens)."
        )
    return losses.shape != ()


def check_gradient(mean_loss: Callable[..., jax.Array], moved: PyTree, batch: PyTree) -> None:
    """Refuse a mean loss that JAX cannot differentiate in reverse mode."""
    try:
        several = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape), leaf.dtype), moved)
        jax.eval_shape(jax.vmap(jax.grad(mean_loss), in_axes=(0, None)), several, batch)
    except InputError:
        raise
    except Exception as error:  # The backward pass is the user's as well.
        raise InputError(
            f"model has no gradient that JAX can take ({type(error).__name__}: {first_line(error)}), but "
            "chains follow it, many at once; give callbacks a jax.custom_vjp and a vmap_method, and use scan "
            "or fori_loop with fixed bounds for while_loop."
        ) from error


def _explain(error: Exception, params: PyTree) -> str:
    first = first_line(error)
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


class ByIdentity:
    """A function that cannot be hashed, told from others by being itself, with all that it has besides."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        """Return what the function gives."""
        return self.function(*arguments)

    def __getattr__(self, name: str) -> Any:
        if name == "function":
            raise AttributeError(name)
        return getattr(self.function, name)


def hashable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` as what can key a cache of compiled programs."""
    try:
        hash(function)
    except TypeError:
        return ByIdentity(function)
    return function


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
                f"{name} must be an integer of at least {least}, but {shown(value)} was given; pass such "
                "a number."
            )
        if value > MOST:
            raise InputError(f"{name} must be an integer up to {MOST:,}, but {value:,} was given; lower it.")
    if not (as_number(target_rel_se) or 0) > 0:
        raise InputError(
            f"target_rel_se must be a number > 0, but {shown(target_rel_se)} was given; 0.02 asks "
            "for two percent."
        )


def check_step_size(step_size: float | None) -> float | None:
    """Return `step_size` as a positive float, or None where it is to be measured."""
    return None if step_size is None else check_positive("step_size", step_size)


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
