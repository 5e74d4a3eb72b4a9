"""Saving while training: a folder of checkpoints appears by itself, at the steps wanted and no others."""

from collections.abc import Collection
from dataclasses import dataclass
from operator import index
from os import PathLike
from pathlib import Path
from typing import Any, Literal, SupportsIndex

from lltc.checkpoints.formats.npz import save_npz
from lltc.checkpoints.formats.safetensors import save_safetensors
from lltc.errors import InputError


@dataclass(frozen=True)
class Saver:
    """Saves parameters at chosen steps of a training run: call `saver(step, params)` after every step.

    At a step that is not among `steps` the call is one look-up, and a wait for the device only where `step`
    is a JAX array. A checkpoint is written under a temporary name and renamed, so a run that is killed leaves
    no half of one; a step saved again is replaced.

    Attributes:
        folder: where the checkpoints go, a local folder that is made where it is missing.
        steps: the steps to save, as `log_spaced_steps(num_steps, num_checkpoints)` spaces them; step 0 is
            the initialisation, step n what n updates made of it.
        format: "npz" (default) or "safetensors", a file a step, or "orbax", a folder a step, for parameters
            sharded over devices.

    Raises:
        InputError: `steps` is empty or holds what is no step, `folder` is remote, or `format` is unknown.

    Example:
        >>> import jax, optax, tempfile
        >>> from lltc.checkpoints import Saver, find_checkpoints, log_spaced_steps
        >>> saver = Saver(tempfile.mkdtemp(), log_spaced_steps(100, 5))
        >>> params, optimizer = 3.0, optax.sgd(0.1)
        >>> state, gradient = optimizer.init(params), jax.grad(lambda w: w**2 / 2)
        >>> for step in range(101):
        ...     path = saver(step, params)
        ...     updates, state = optimizer.update(gradient(params), state)
        ...     params = optax.apply_updates(params, updates)
        >>> [(checkpoint.step, checkpoint.load().item()) for checkpoint in find_checkpoints(saver.folder)]
        [(0, 3.0), (1, 2.7), (5, 1.77), (22, 0.30), (100, 0.0001)]
    """

    folder: str | PathLike[str]
    steps: Collection[int]
    format: Literal["npz", "safetensors", "orbax"] = "npz"

    def __post_init__(self):
        if self.format not in _WRITERS:
            raise InputError(f"format is {self.format!r}, but must be one of {', '.join(_WRITERS)}.")
        if "://" in str(self.folder):
            raise InputError(f"folder is '{self.folder}', but Saver writes to local folders; pass one.")
        object.__setattr__(self, "folder", Path(self.folder))
        object.__setattr__(self, "steps", frozenset(map(_as_step, self.steps)))
        if not self.steps:
            raise InputError("steps is empty, so nothing would be saved; pass at least one step.")

    def __call__(self, step: SupportsIndex, params: Any) -> Path | None:
        """Save `params`, any pytree of arrays, if `step` is one to save; return its path, else None.

        Raises:
            InputError: `step` is no integer, or `params` holds a leaf that is no array of numbers.
        """
        number = _as_step(step, "step is")
        if number not in self.steps:
            return None
        return _WRITERS[self.format](Path(self.folder), number, params)


def _as_step(step: Any, what: str = "steps holds") -> int:
    try:
        number = index(step)
    except TypeError:
        number = -1
    if number < 0:
        raise InputError(f"{what} {step!r}, but a step must be an integer from 0 on; pass one.")
    return number


def _write_orbax(folder: Path, step: int, params: Any) -> Path:
    import orbax.checkpoint

    path = folder.resolve() / f"step_{step}"
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, params, force=True)
    return path


_WRITERS = {
    "npz": lambda folder, step, params: save_npz(folder / f"step_{step}.npz", params),
    "safetensors": lambda folder, step, params: save_safetensors(folder / f"step_{step}.safetensors", params),
    "orbax": _write_orbax,
}
