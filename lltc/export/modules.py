"""What a module is before it is exported: unwrapped, in evaluation mode, its weights by name."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from lltc.errors import InputError, LLCWarning

_WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "OptimizedModule")


class Names(NamedTuple):
    """A module's weights: the tensors of its state_dict, each once, and what is known of their names.

    Attributes:
        tensors: parameters and persistent buffers by their first names.
        tied: the other names, each with the first name of its tensor.
        held: names of what training does not move: buffers and frozen parameters.
    """

    tensors: dict[str, Any]
    tied: dict[str, str]
    held: frozenset[str]


def unwrap(module: Any) -> Any:
    """Return the module inside `torch.compile`, `DataParallel` and their kind.

    Raises:
        InputError: it is no module, or its parameters are sharded over processes.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise InputError(
            f"module must be a torch.nn.Module and is a {type(module).__name__}: give the module itself, "
            "with its weights loaded."
        )
    while type(module).__name__ in _WRAPPERS:
        module = module._orig_mod if hasattr(module, "_orig_mod") else module.module
    if any(type(tensor).__name__ == "DTensor" for tensor in module.state_dict().values()):
        raise InputError(
            "the module's parameters are sharded over processes: gather them first, as by "
            "torch.distributed.checkpoint.state_dict with full_state_dict=True, and load them into the "
            "module before it is sharded."
        )
    return module


@contextmanager
def evaluation(module: Any) -> Iterator[None]:
    """Put a module in evaluation mode, without caches of keys and values, and leave it as it was."""
    modes = [(part, part.training) for part in module.modules()]
    configs = {id(part.config): part.config for part in module.modules() if hasattr(part, "config")}
    cached = [config for config in configs.values() if getattr(config, "use_cache", False) is True]
    try:
        module.eval()
        for config in cached:
            config.use_cache = False
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for config in cached:
            config.use_cache = True


def warn_of_training(module: Any) -> None:
    """Say it where a module is in training mode and that makes a difference."""
    kinds = ("Dropout", "BatchNorm", "InstanceNorm")
    for name, part in module.named_modules():
        kind = type(part).__name__
        if part.training and any(word in kind for word in kinds) and getattr(part, "p", 1):
            warnings.warn(
                f"the module is in training mode; lltc takes it in evaluation mode, in which its {kind} "
                f"({name or 'itself'}) does otherwise: call module.eval() to agree.",
                LLCWarning,
                stacklevel=4,
            )
            return


def read_names(module: Any) -> Names:
    """Return the weights of a module. One memory is one parameter, whatever the names it goes by.

    Raises:
        InputError: a weight has no numbers yet, or every parameter is frozen.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    saved = module.state_dict(keep_vars=True)
    first: dict[Any, str] = {}
    tensors, tied = {}, {}
    for name, tensor in {**parameters, **saved}.items():
        if not hasattr(tensor, "untyped_storage"):
            continue
        if tensor.is_meta or type(tensor).__name__.startswith("Uninitialized"):
            raise InputError(f"the module's '{name}' has no numbers yet: run or load the module first.")
        owner = first.setdefault(_memory(tensor), name)
        if owner == name:
            tensors[name] = tensor
        else:
            tied[name] = owner
    held = frozenset(name for name in tensors if name not in parameters or not parameters[name].requires_grad)
    if parameters and held >= set(parameters) & set(tensors):
        raise InputError(
            "every parameter of the module is frozen: call module.requires_grad_(True), or on what should "
            "move."
        )
    return Names(tensors, tied, held)


def _memory(tensor: Any) -> Any:
    if not tensor.numel() or not tensor.data_ptr():
        return id(tensor)
    return tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tuple(tensor.stride())
