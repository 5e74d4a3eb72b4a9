"""Where a network's files lie: a folder here, or one that comes from the Hugging Face hub."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lltc.checkpoints.formats.safetensors import Place
from lltc.checkpoints.hub.client import download_matching
from lltc.checkpoints.hub.repository import Repository, as_repository
from lltc.errors import InputError, printable
from lltc.files import read_file
from lltc.models.pretrained.weight_files import list_arrays

_CONFIG, _ADAPTER = "config.json", "adapter_config.json"
_SAFE = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
_PICKLED = ("pytorch_model.bin", "pytorch_model-*-of-*.bin", "pytorch_model.bin.index.json")
_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
# What says who wrote a configuration and where, or in which type weights lie: all are made float32.
_NO_PART = (
    "_name_or_path",
    "base_model_name_or_path",
    "dtype",
    "peft_version",
    "revision",
    "torch_dtype",
    "transformers_version",
)


@dataclass(frozen=True)
class Source:
    """A network's files.

    Attributes:
        name: what it was called.
        folder: where its `config.json` and its weights lie.
        config: the content of that file.
        adapter: the folder of an adapter that is put on it, None without one.
        settings: the content of the adapter's `adapter_config.json`.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    adapter: Path | None = None
    settings: dict[str, Any] | None = None

    @property
    def architecture(self) -> str | None:
        """The class that the configuration names first."""
        names = self.config.get("architectures")
        return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None

    def weight_files(self) -> tuple[dict[str, Place], dict[str, Place]]:
        """Return where each array of the network lies, and of its adapter; none that is pickled."""
        adapter = {} if self.adapter is None else list_arrays(self.adapter, "adapter_model")
        return list_arrays(self.folder, "model"), adapter

    def key(self, word: str) -> str:
        """Return a hash of what decides the network: its configurations, and the word for its class."""
        parts = [_canonical(self.config), word, self.settings and _canonical(self.settings)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def find_source(source: str | Path) -> Source:
    """Return the files of a network at a folder, "org/name", "hf://org/name" or "hf://org/name@revision".

    Raises:
        InputError: there is no such folder or repository, it cannot be read, or it lacks its configuration or
            weights.
    """
    if not isinstance(source, str | os.PathLike):
        raise InputError(
            f"source must be a folder or a name and is a {type(source).__name__}: give a folder with "
            "config.json and weights, or a module to lltc.models.torch."
        )
    try:
        return _with_base(source)
    except OSError as error:
        raise InputError(
            f"source is '{printable(str(source), 80)}', which cannot be read ({error.strerror or error}): "
            "give a folder with config.json and weights that you may read, or 'org/name'."
        ) from error


def _with_base(source: str | Path) -> Source:
    """Return the files of a network; where they are an adapter's, with those of its base."""
    folder = _folder(source, (_CONFIG, _ADAPTER), (*_SAFE, *_ADAPTER_WEIGHTS))
    if not (folder / _ADAPTER).is_file():
        return Source(str(source), _with_weights(source, folder), _read(folder / _CONFIG, source))
    settings = _read(folder / _ADAPTER, source)
    base, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if not isinstance(base, str):
        raise InputError(
            f"the adapter '{source}' names no base_model_name_or_path: enter it in its {_ADAPTER}."
        )
    if not Path(base).is_dir():
        address = f"hf://{base.removeprefix('hf://')}" + (f"@{quote(revision, safe='')}" if revision else "")
        base = address if _repository(address) else base
    try:
        below = _with_weights(base, _folder(base, (_CONFIG,), _SAFE))
        config = _read(below / _CONFIG, base)
    except InputError as error:
        raise InputError(f"the base '{base}' of the adapter '{source}' does not load: {error}") from error
    return Source(str(source), below, config, folder, settings)


def _canonical(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in _NO_PART}


def _folder(source: str | Path, settings: tuple[str, ...], weights: tuple[str, ...]) -> Path:
    if Path(source).is_dir():
        return Path(source)
    repository = _repository(source)
    if repository is None:
        raise InputError(
            f"source is '{source}', which is no folder here: give a folder with config.json and weights, or "
            "'org/name' on the Hugging Face hub, as 'hf://org/name@revision'."
        )
    return _download(source, repository, (*settings, *weights))


def _with_weights(source: str | Path, folder: Path) -> Path:
    """Return the folder with weights in it; what the hub has as pickles alone is fetched now."""
    here = {path.name for path in folder.iterdir()}
    if any(name in here for name in (_SAFE[0], _SAFE[-1], _PICKLED[0], _PICKLED[-1])):
        return folder
    repository = None if Path(source).is_dir() else _repository(source)
    if _CONFIG in here and repository is not None:
        folder = _download(source, repository, (_CONFIG, *_PICKLED))
        if any(path.name.startswith("pytorch_model") for path in folder.iterdir()):
            return folder
    if _CONFIG not in here:
        return folder
    raise InputError(
        f"'{source}' holds no weights, neither {_SAFE[0]} nor shards and {_SAFE[-1]}: save it whole with "
        "save_pretrained."
    )


def _repository(source: str | Path) -> Repository | None:
    """Return the repository that a source names whole; one without "hf://" has an owner."""
    name = str(source)
    repository = as_repository(name if name.startswith("hf://") else f"hf://{name}")
    if repository is None or repository.folder:
        return None
    return repository if name.startswith("hf://") or "/" in repository.repository else None


def _download(source: str | Path, repository: Repository, names: tuple[str, ...]) -> Path:
    try:
        return download_matching(repository.repository, repository.revision, names)
    except InputError as error:
        said = str(error).rstrip(".")
        raise InputError(
            f"'{source}' is no folder here, and from the hub it cannot be had: {said}."
        ) from error


def _read(path: Path, source: str | Path) -> dict[str, Any]:
    try:
        config = json.loads(read_file(path))
    except FileNotFoundError:
        raise InputError(
            f"'{source}' holds no {path.name}: give the folder or repository that save_pretrained wrote."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"'{source}' has a {path.name} that cannot be read ({error}): fetch it anew."
        ) from error
    if not isinstance(config, dict):
        raise InputError(f"'{source}' has a {path.name} that is no table: fetch it anew.")
    return config
