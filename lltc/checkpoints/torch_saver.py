"""Saving PyTorch modules while they train: by a call after each step, in Lightning, in the Trainer."""

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np

from lltc.checkpoints.formats.safetensors import write_arrays
from lltc.checkpoints.saver import as_step, where_and_when
from lltc.errors import InputError

_WRAPPERS = ("DataParallel", "DistributedDataParallel")
_SHARDED = ("FullyShardedDataParallel", "FSDPModule")


@dataclass(frozen=True)
class TorchSaver:
    """Saves a module's `state_dict` as safetensors: call `saver(step, module)` after every step.

    The files hold tensors by their names and no pickle; `lltc.find_checkpoints` reads them, and so does
    `safetensors.torch.load_file`. A file is written under a temporary name and renamed, so that a run that
    is killed leaves no half of one; where several processes train, the first writes. What `torch.compile`,
    `DataParallel` and `DistributedDataParallel` put around a module is left out of the names.

    In Lightning it is `Trainer(callbacks=[saver.lightning()])`, in Transformers
    `Trainer(…, callbacks=[saver.trainer()])`; both count optimizer steps.

    Attributes:
        folder: where the files go, a local folder that is made where it is missing.
        steps: the steps to save, as `log_spaced_steps(num_steps, num_checkpoints)` spaces them; step 0 is the
            initialisation, step n what n updates made of it.

    Raises:
        InputError: `steps` is empty or holds what is no step, or `folder` is remote.

    Example:
        >>> import tempfile, numpy as np
        >>> from lltc.checkpoints import TorchSaver, find_checkpoints, log_spaced_steps
        >>> saver = TorchSaver(tempfile.mkdtemp(), log_spaced_steps(100, 3))
        >>> for step in range(101):
        ...     path = saver(step, {"layer.weight": np.full(2, step)})  # or the module
        >>> [(each.step, each.load()["layer"]["weight"].tolist()) for each in find_checkpoints(saver.folder)]
        [(0, [0, 0]), (1, [1, 1]), (100, [100, 100])]
    """

    folder: str | PathLike[str]
    steps: Collection[int]

    def __post_init__(self):
        folder, steps = where_and_when("TorchSaver", self.folder, self.steps)
        object.__setattr__(self, "folder", folder)
        object.__setattr__(self, "steps", steps)

    def __call__(self, step: SupportsIndex, module: Any) -> Path | None:
        """Save `module`, or a state_dict, if `step` is one to save; return the file, else None.

        Raises:
            InputError: `step` is no integer, or `module` is neither, or its weights lie in shards.
        """
        number = as_step(step, "step is")
        if number not in self.steps:
            return None
        # Gathering shards takes all processes, so that each refuses, not the first alone.
        _refuse_shards(module)
        if not _is_first():
            return None
        arrays = {name: tensor_to_numpy(tensor) for name, tensor in _state(module).items()}
        path = Path(self.folder) / f"step_{number}.safetensors"
        return write_arrays(path, arrays, {"format": "pt"})

    def lightning(self) -> Any:
        """Return a callback for Lightning's Trainer."""
        try:
            from lightning.pytorch.callbacks import Callback
        except ImportError:
            Callback = _import("pytorch_lightning.callbacks", "Callback", "lightning")
        saver = self

        class LightningSaver(Callback):
            last = -1

            def on_train_start(self, trainer: Any, pl_module: Any) -> None:
                self.save(trainer.global_step, pl_module)

            def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
                self.save(trainer.global_step, pl_module)

            def save(self, step: int, module: Any) -> None:
                # Batches whose gradients are accumulated end without a step.
                if step != self.last:
                    saver(step, module)
                    self.last = step

        return LightningSaver()

    def trainer(self) -> Any:
        """Return a callback for the Trainer of Transformers."""
        TrainerCallback = _import("transformers", "TrainerCallback", "transformers")
        saver = self

        class TrainerSaver(TrainerCallback):
            def on_train_begin(
                self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
            ) -> None:
                del args, control
                saver(state.global_step, model)

            def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
                del args, control
                saver(state.global_step, model)

        return TrainerSaver()


def _import(module: str, name: str, package: str) -> Any:
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise InputError(f"{package} is not installed; install it with: pip install {package}") from error


def _is_first() -> bool:
    """True in the process that writes: the only one, or the first of those that train together."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return True
    return distributed.get_rank() == 0


def _refuse_shards(module: Any) -> None:
    """Refuse a module, or a state_dict, of which a process holds a part alone, as FSDP's and ZeRO-3's do."""
    parts = module.modules() if hasattr(module, "modules") else ()
    if isinstance(module, Mapping):
        tensors = module.values()
    else:
        tensors = module.parameters() if hasattr(module, "parameters") else ()
    sharded = any(_kinds(part).intersection(_SHARDED) for part in (module, *parts))
    if sharded or any("DTensor" in _kinds(tensor) or hasattr(tensor, "ds_id") for tensor in tensors):
        raise InputError(
            f"module is a {type(module).__name__} whose weights lie in shards; gather them and pass the "
            "full state_dict instead."
        )


def _kinds(thing: Any) -> set[str]:
    return {kind.__name__ for kind in type(thing).__mro__}


def _state(module: Any) -> Mapping[str, Any]:
    kinds = _kinds(module)
    if hasattr(module, "_orig_mod"):
        return _state(module._orig_mod)
    if kinds.intersection(_WRAPPERS):
        return _state(module.module)
    state = module.state_dict() if hasattr(module, "state_dict") else module
    if not isinstance(state, Mapping):
        raise InputError(
            f"module is a {type(module).__name__}, but must be a torch.nn.Module or its state_dict; pass one."
        )
    # Modules may add what is no tensor, such as the state of a quantizer.
    return {name.replace("_orig_mod.", ""): value for name, value in state.items() if hasattr(value, "dtype")}


def tensor_to_numpy(tensor: Any) -> np.ndarray:
    """Return a tensor as NumPy has it, in the same memory where that can be; an array stays as it is."""
    if not hasattr(tensor, "detach"):
        return np.asarray(tensor)
    tensor = tensor.detach().cpu().contiguous()
    name = str(tensor.dtype).removeprefix("torch.")
    if name == "bfloat16" or name.startswith("float8"):
        import ml_dtypes
        import torch

        raw = torch.uint8 if tensor.element_size() == 1 else torch.int16
        return tensor.view(raw).numpy().view(getattr(ml_dtypes, name))
    return tensor.resolve_conj().resolve_neg().numpy()
