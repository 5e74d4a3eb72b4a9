"""How a batch becomes a call of a module, and what of its outputs the loss takes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from lltc.errors import InputError
from lltc.models.batches import INPUT_NAMES, Selector, split_inputs

Call = tuple[tuple[Any, ...], dict[str, Any]]
# What a batch holds for the loss alone.
_TARGETS = ("label", "labels", "label_ids", "target", "targets", "y")


def as_call(batch: Any, inputs: Selector, names: Sequence[str] | None, *, whole: bool) -> Call:
    """Return the arguments of the module for a batch.

    Without `inputs`, a dict whose keys are names of the module's arguments gives those, but for labels; other
    batches give what `split_inputs` picks. What is picked is spread: a dict by name, a tuple by position.

    Args:
        batch: a pytree of arrays with the batch in front.
        inputs: what enters the module.
        names: the names of the module's arguments; None where it takes any.
        whole: all of the batch enters, labels too.
    """
    if inputs is None and isinstance(batch, Mapping):
        named = {name: batch[name] for name in batch if names is None or name in names}
        inputs_by_name = {name: item for name, item in named.items() if whole or name not in _TARGETS}
        if inputs_by_name and (
            whole or not set(INPUT_NAMES) & set(batch) or set(INPUT_NAMES) & set(inputs_by_name)
        ):
            return (), inputs_by_name
    picked = batch if whole and inputs is None else split_inputs(batch, inputs)
    if isinstance(picked, Mapping):
        return (), dict(picked)
    return (tuple(picked), {}) if isinstance(picked, list | tuple) else ((picked,), {})


def pick_output(outputs: Any, selector: Selector) -> Any:
    """Return what the loss takes: by default `logits`, else the first output of several.

    Example:
        >>> pick_output({"loss": 1, "logits": 2}, None), pick_output((3, 4), None), pick_output((3, 4), 1)
        (2, 3, 4)
    """
    if callable(selector):
        return selector(outputs)
    if selector is None:
        if isinstance(outputs, Mapping):
            return outputs["logits"] if "logits" in outputs else next(iter(outputs.values()))
        return pick_output(outputs[0], None) if isinstance(outputs, list | tuple) else outputs
    try:
        return outputs[selector]
    except (KeyError, IndexError, TypeError) as error:
        shown = f"the names {sorted(outputs)}" if isinstance(outputs, Mapping) else _count(outputs)
        raise InputError(
            f"outputs={selector!r} is not there: the module returns {shown}; give one of them, or a function "
            "of what it returns."
        ) from error


def _count(outputs: Any) -> str:
    return f"{len(outputs)} outputs" if isinstance(outputs, list | tuple) else "one array"


def pick_loss(outputs: Any, selector: Selector) -> Array:
    """Return the loss that the module itself computed: `loss`, or the one number it returns.

    Raises:
        InputError: there is none, or it is more than one number.
    """
    if selector is not None:
        loss = pick_output(outputs, selector)
    elif isinstance(outputs, Mapping):
        loss = outputs.get("loss")
    elif isinstance(outputs, list | tuple):
        loss = next((item for item in outputs if item is not None and jnp.ndim(item) == 0), None)
    else:
        loss = outputs
    if loss is None or jnp.size(loss) != 1:
        raise InputError(
            "the module returned no loss of its own: its batch must hold what it compares with, such as "
            "labels; name the output with outputs=, or give another loss."
        )
    return jnp.reshape(loss, ())


def one_by_one(run: Callable[[Any, Any], Array]) -> Callable[[Any, Any], Array]:
    """Return a loss of whole batches as one of their examples, each a batch of its own."""

    def losses(params: Any, batch: Any) -> Array:
        alone = lambda example: run(params, jax.tree.map(lambda leaf: leaf[None], example))
        return jax.vmap(alone)(jax.tree.map(jnp.asarray, batch))

    return losses
