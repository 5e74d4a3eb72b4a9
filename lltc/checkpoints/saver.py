"""Saving while training: a folder of checkpoints appears by itself, at the steps wanted and no others."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from operator import index
from os import PathLike
from pathlib import Path
from typing import Any, Literal, SupportsIndex

from lltc.checkpoints.formats.npz import save_npz
from lltc.checkpoints.formats.orbax import NOTE
from lltc.checkpoints.formats.safetensors import save_safetensors
from lltc.checkpoints.intake.notes import describe, is_native
from lltc.checkpoints.intake.tree import nest
from lltc.errors import InputError


def where_and_when(
    saver: str, folder: str | PathLike[str], steps: Collection[int]
) -> tuple[Path, frozenset[int]]:
    """Return the local folder and the steps that a saver is given, or refuse them."""
    if "://" in str(folder):
        raise InputError(f"folder is '{folder}', but {saver} writes to local folders; pass one.")
    if not isinstance(steps, Iterable) or isinstance(steps, str):
        raise InputError(
            f"steps is {steps!r}, but must be the steps to save; pass log_spaced_steps(num_steps, "
            "num_checkpoints), or a list."
        )
    chosen = frozenset(map(as_step, steps))
    if not chosen:
        raise InputError("steps is empty, so nothing would be saved; pass at least one step.")
    return Path(folder), chosen


@dataclass(frozen=True)
class Saver:
    """Saves parameters at chosen steps of a training run: call `saver(step, params)` after every step.

    At a step that is not among `steps` the call is one look-up, and a wait for the device only where `step`
    is a JAX array. A checkpoint is written under a temporary name and renamed, so a run that is killed leaves
    no half of one; a step saved again is replaced.

    `Checkpoint.load()` gives back what was saved, arrays as NumPy's, without a template: dicts with any keys,
    lists, tuples, named tuples and dataclasses that JAX knows as pytrees (where they are imported), Flax's
    FrozenDict, None, empty containers and Python's numbers; of a training state, the parameters. Whatever
    else is registered as a pytree wants its template.

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
        >>> [(checkpoint.step, float(checkpoint.load())) for checkpoint in find_checkpoints(saver.folder)]
        [(0, 3.0), (1, 2.7), (5, 1.77), (22, 0.30), (100, 0.0001)]
    """

    folder: str | PathLike[str]
    steps: Collection[int]
    format: Literal["npz", "safetensors", "orbax"] = "npz"

    def __post_init__(self):
        if self.format not in _WRITERS:
            raise InputError(f"format is {self.format!r}, but must be one of {', '.join(_WRITERS)}.")
        folder, steps = where_and_when("Saver", self.folder, self.steps)
        object.__setattr__(self, "folder", folder)
        object.__setattr__(self, "steps", steps)

    def __call__(self, step: SupportsIndex, params: Any) -> Path | None:
        """Save `params`, any pytree of arrays, if `step` is one to save; return its path, else None.

        Raises:
            InputError: `step` is no integer, or `params` holds a leaf that is no array of numbers.
        """
        number = as_step(step, "step is")
        if number not in self.steps:
            return None
        return _WRITERS[self.format](Path(self.folder), number, params)


def as_step(step: Any, what: str = "steps holds") -> int:
    """Return `step` as an int; refuse what is no integer from 0 on."""
    try:
        number = index(step)
    except TypeError:
        number = -1
    if number < 0:
        raise InputError(f"{what} {step!r}, but a step must be an integer from 0 on; pass one.")
    return number


def _write_orbax(folder: Path, step: int, params: Any) -> Path:
    import orbax.checkpoint

    leaves, note = describe(params)
    if empty := [name for name, leaf in leaves.items() if 0 in leaf.shape]:
        raise InputError(
            f"params holds '{empty[0]}' without numbers, which Orbax cannot store; save with format='npz'."
        )
    # Orbax joins names with dots, and two that become one are lost; "leaf~" stands for a name that is none.
    names = list(leaves)
    if any("." in name or "leaf~" in name or "//" in f"/{name}/" for name in names):
        state = {str(number): leaf for number, leaf in enumerate(leaves.values())}
    else:
        state = params if isinstance(note, dict) and is_native(note) else nest(leaves, "/")
        names = None
    path = folder.resolve() / f"step_{step}"
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, state, force=True, custom_metadata={NOTE: {"tree": note, "names": names}})
    return path


_WRITERS = {
    "npz": lambda folder, step, params: save_npz(folder / f"step_{step}.npz", params),
    "safetensors": lambda folder, step, params: save_safetensors(folder / f"step_{step}.safetensors", params),
    "orbax": _write_orbax,
}
