"""One checkpoint: where it lies, what step it is, its content's fingerprint, its parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lltc.checkpoints.fit import fit_params
from lltc.checkpoints.formats.config import read_num_heads
from lltc.checkpoints.formats.equinox import read_equinox
from lltc.checkpoints.formats.flax import read_msgpack
from lltc.checkpoints.formats.lora import tell_untrained
from lltc.checkpoints.formats.npz import read_npz
from lltc.checkpoints.formats.orbax import orbax_files, read_orbax
from lltc.checkpoints.formats.safetensors import read_safetensors
from lltc.checkpoints.formats.shards import weight_files, weight_format
from lltc.checkpoints.formats.torch import read_torch
from lltc.checkpoints.hub.repository import Revision
from lltc.checkpoints.intake.budget import Budget, Limits
from lltc.checkpoints.intake.containers import plain, restore
from lltc.checkpoints.intake.files import digest_files, file_size, is_file, reading, sample_files
from lltc.checkpoints.intake.messages import plain_messages
from lltc.checkpoints.intake.selection import select_params
from lltc.checkpoints.intake.tree import leave_out
from lltc.checkpoints.remote import fetching, local_copy
from lltc.errors import CheckpointError, InputError, first_line

_READERS = {
    "safetensors": read_safetensors,
    "npz": read_npz,
    "msgpack": read_msgpack,
    "torch": read_torch,
}


@dataclass(frozen=True)
class Checkpoint:
    """One saved state of a training run.

    Attributes:
        step: the training step its name carries, -1 where it carries none.
        path: the file or folder; one on a remote file system is copied here while it is read.
        format: "orbax", "safetensors", "npz", "msgpack" (Flax), "equinox", "torch" or "loader"; "hub" is
            whichever of them lies at a revision.
        params_key: the part of the tree that holds the parameters, as "params" or "state/params"; None
            finds the model's part of a training state. Equinox files have no parts.
        loader: what reads the path, where the format is "loader".
        transpose: "torch" where a template wants PyTorch's `weight` arrays turned (see `fit_params`).
        ignore: globs over names, as "*/num_batches_tracked"; what they match is left out.
    """

    step: int
    path: Path
    format: str
    params_key: str | None = None
    loader: Callable[[Path], Any] | None = None
    transpose: Literal["torch"] | None = None
    ignore: tuple[str, ...] = ()

    def __post_init__(self):
        if not isinstance(self.params_key, str | None):
            raise InputError(
                f"params_key is {self.params_key!r}, but must name a part of the checkpoint; pass such as "
                "'state/params', or None."
            )

    def load(self, template: Any = None, *, limits: Limits | None = None) -> Any:
        """Return the parameters, NumPy arrays in nested dicts, or in the structure of `template`.

        What `Saver`, `save_npz` or `save_safetensors` wrote comes back as it was, tuples and lists included.
        An Equinox file records no names and cannot do without `template`; neither can `transpose`. What a
        checkpoint makes of itself in memory is bounded by `limits`, by default by its size (see `Limits`).

        Raises:
            CheckpointError: the checkpoint is damaged or goes beyond `limits`, lacks `params_key`, or does
                not fit `template`.
            InputError: the library its format needs is missing, or `template` is.

        Example:
            >>> import tempfile, numpy as np
            >>> from lltc.checkpoints import open_checkpoint, save_npz
            >>> path = save_npz(tempfile.mkdtemp() + "/step_10.npz", [np.zeros(2), np.ones(2)])
            >>> open_checkpoint(path).load(template=(np.zeros(2), np.zeros(2)))
            (array([0., 0.]), array([1., 1.]))
        """
        if template is None and self.transpose is not None:
            raise InputError(
                f"checkpoint '{self.path}' is to be transposed to fit a template; pass template."
            )
        with plain_messages():
            with local_copy(self.path) as path:
                params = self._read(path, template, limits)
            try:
                if template is None:
                    with reading(self.path):
                        return restore(leave_out(params, self.ignore))
                return fit_params(plain(params), template, transpose=self.transpose, ignore=self.ignore)
            except CheckpointError as error:
                raise CheckpointError(f"Checkpoint '{self.path}': {error}") from error

    def fingerprint(self) -> str:
        """Return the SHA-256 (hex) of the checkpoint's content, the same wherever it is moved or copied.

        That of a revision on the hub is taken over the hashes the hub lists, and nothing is fetched for it.
        """
        if isinstance(self.path, Revision):
            with plain_messages(), fetching(self.path):
                return self.path.fingerprint()
        with plain_messages(), local_copy(self.path) as path, reading(path):
            # A renamed file is the same checkpoint, so its own name stays out of the hash.
            return digest_files(path, self._files(path) if path.is_dir() else [path])

    def glance(self) -> str | None:
        """Return a hash of pieces of the content, equal where contents are; None where nothing can be told.

        What lies elsewhere than on the hub would be fetched for it, and a loader may heed the name as much as
        the content.
        """
        if self.loader is not None:
            return None
        if isinstance(self.path, Revision):
            return self.fingerprint()
        if not isinstance(self.path, Path):
            return None
        with plain_messages(), reading(self.path):
            return sample_files(self.path, self._files(self.path) if self.path.is_dir() else [self.path])

    def num_heads(self) -> int | None:
        """Return how many attention heads a layer has, as the config.json beside the weights states it.

        It may lie in the checkpoint's folder or in the one around it; None where there is none.

        Raises:
            CheckpointError: the config.json is damaged, or the checkpoint cannot be fetched.
        """
        with plain_messages(), local_copy(self.path) as path:
            return read_num_heads(path)

    @property
    def _called(self) -> str | None:
        """What carries the step, where the files lie in a folder that is called by a hash."""
        return self.path.name if isinstance(self.path, Revision) else None

    def _files(self, folder: Path) -> list[Path]:
        if self.format == "orbax":
            return orbax_files(folder)
        if self.format == "loader":
            return [file for file in folder.rglob("*") if is_file(file)]
        return list(weight_files(folder, Budget(folder, 0), self._called))

    def _read(self, path: Path, template: Any, limits: Limits | None) -> Any:
        if self.loader is not None:
            return _call_loader(self.loader, path, self.params_key)
        with reading(path):
            files = self._files(path) if path.is_dir() else [path]
            if not files:
                raise CheckpointError(
                    f"Cannot read checkpoint '{path}': its weights are gone; copy it again."
                )
            budget = Budget(path, sum(map(file_size, files)), limits, template)
        if self.format == "orbax":
            return read_orbax(path, self.params_key, budget)
        kind = self.format
        if kind == "hub":
            kind = weight_format(self._called or path.name, path.iterdir()) or ""
        # Only shards need the folder around them.
        path = files[0] if len(files) == 1 else path
        if kind == "equinox":
            return read_equinox(path, template, budget)
        params = _READERS[kind](path, self.params_key, budget)
        if path.name.startswith("adapter_model"):
            tell_untrained(self.path, plain(params))
        return params


def _call_loader(loader: Callable[[Path], Any], path: Path, params_key: str | None) -> Any:
    try:
        params = loader(path)
    except CheckpointError:
        raise
    # The loader is the caller's own code, which may raise anything.
    except Exception as error:
        reason = f"loader raised {type(error).__name__}: {first_line(error)}"
        raise CheckpointError(f"Cannot read checkpoint '{path}': {reason}.") from error
    return params if params_key is None else select_params(params, params_key, path)
