"""One checkpoint: where it lies, what step it is, its content's fingerprint, its parameters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lltc.checkpoints.equinox import read_equinox
from lltc.checkpoints.files import digest_files, reading
from lltc.checkpoints.fit import fit_params
from lltc.checkpoints.flax import read_msgpack
from lltc.checkpoints.npz import read_npz
from lltc.checkpoints.orbax import read_orbax
from lltc.checkpoints.safetensors import read_safetensors, safetensors_files
from lltc.checkpoints.torch import read_torch
from lltc.errors import CheckpointError

_READERS = {
    "orbax": read_orbax,
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
        path: the file or folder.
        format: "orbax", "safetensors", "npz", "msgpack" (Flax), "equinox" or "torch".
        params_key: the part of the tree that holds the parameters, as "params" or "state/params"; None
            finds the model's part of a training state. Equinox files have no parts.
    """

    step: int
    path: Path
    format: str
    params_key: str | None = None

    def load(self, template: Any = None) -> Any:
        """Return the parameters, NumPy arrays in nested dicts, or in the structure of `template`.

        An Equinox file records no names and cannot do without `template`.

        Raises:
            CheckpointError: the checkpoint is damaged, lacks `params_key`, or does not fit `template`.
            InputError: the library its format needs is missing, or `template` is.

        Example:
            >>> import tempfile, numpy as np
            >>> from lltc.checkpoints import open_checkpoint, save_npz
            >>> path = save_npz(tempfile.mkdtemp() + "/step_10.npz", [np.zeros(2), np.ones(2)])
            >>> open_checkpoint(path).load(template=(np.zeros(2), np.zeros(2)))
            (array([0., 0.]), array([1., 1.]))
        """
        if self.format == "equinox":
            params = read_equinox(self.path, template)
        else:
            params = _READERS[self.format](self.path, self.params_key)
        if template is None:
            return params
        try:
            return fit_params(params, template)
        except CheckpointError as error:
            raise CheckpointError(f"Checkpoint '{self.path}': {error}") from error

    def fingerprint(self) -> str:
        """Return the SHA-256 (hex) of the checkpoint's content, the same wherever it is moved or copied."""
        with reading(self.path):
            return digest_files(*self._content())

    def _content(self) -> tuple[Path, list[Path]]:
        if self.path.is_file():
            # A renamed file is the same checkpoint, so its own name stays out of the hash.
            return self.path, [self.path]
        if self.format == "safetensors":
            return self.path, list(safetensors_files(self.path))
        return self.path, [file for file in self.path.rglob("*") if file.is_file()]
