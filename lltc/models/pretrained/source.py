"""Where a network's files lie: a folder here, or one that comes from the Hugging Face hub."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from lltc.checkpoints.formats.safetensors import Place
from lltc.errors import InputError, printable
from lltc.files import read_file
from lltc.models.pretrained.weight_files import list_arrays

_ADDRESS = re.compile(
    r"(?:hf://)?(?P<repository>[\w.-]+/[\w.-]+|(?<=hf://)[\w.-]+)(?:@(?P<revision>[^/]+))?/?"
)
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
        base = address if _ADDRESS.fullmatch(address) else base
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
    address = _ADDRESS.fullmatch(str(source))
    if address is None:
        raise InputError(
            f"source is '{source}', which is no folder here: give a folder with config.json and weights, or "
            "'org/name' on the Hugging Face hub, as 'hf://org/name@revision'."
        )
    return _download(str(source), address, (*settings, *weights))


def _with_weights(source: str | Path, folder: Path) -> Path:
    """Return the folder with weights in it; what the hub has as pickles alone is fetched now."""
    here = {path.name for path in folder.iterdir()}
    if any(name in here for name in (_SAFE[0], _SAFE[-1], _PICKLED[0], _PICKLED[-1])):
        return folder
    address = _ADDRESS.fullmatch(str(source))
    if _CONFIG in here and not Path(source).is_dir() and address is not None:
        folder = _download(str(source), address, (_CONFIG, *_PICKLED))
        if any(path.name.startswith("pytorch_model") for path in folder.iterdir()):
            return folder
    if _CONFIG not in here:
        return folder
    raise InputError(
        f"'{source}' holds no weights, neither {_SAFE[0]} nor shards and {_SAFE[-1]}: save it whole with "
        "save_pretrained."
    )


def _download(source: str, address: re.Match[str], names: tuple[str, ...]) -> Path:
    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise InputError(
            f"'{source}', which is no folder here, needs the library huggingface_hub to be fetched: run  "
            "pip install 'lltc[huggingface]'."
        ) from error
    revision = address["revision"] and unquote(address["revision"])
    try:
        return Path(
            hub.snapshot_download(
                address["repository"], revision=revision, allow_patterns=[*names], tqdm_class=_without_bar()
            )
        )
    # The hub and the network may fail in any way.
    except Exception as error:
        raise InputError(
            f"'{source}' is no folder here, and {_reason(error, hub.is_offline_mode())}."
        ) from error


def _without_bar() -> Any:
    from tqdm.auto import tqdm

    class Unseen(tqdm):
        def __init__(self, *args: Any, **options: Any):
            options.pop("name", None)
            super().__init__(*args, **options | {"disable": True})

    return Unseen


def _reason(error: Exception, offline: bool) -> str:
    from huggingface_hub import errors

    told = {
        errors.GatedRepoError: "its owner wants to be asked: accept the terms on its page and set HF_TOKEN",
        errors.RepositoryNotFoundError: "the hub has no such repository, or HF_TOKEN may not see it",
        errors.RevisionNotFoundError: "the hub has no such revision of it",
        errors.HFValidationError: "no repository can be called so",
    }
    sentence = next((sentence for kind, sentence in told.items() if isinstance(error, kind)), None)
    if sentence is not None:
        return sentence
    if offline:
        return "offline mode is on and the cache does not hold it: unset HF_HUB_OFFLINE"
    response = error.response if isinstance(error, errors.HfHubHTTPError) else None
    if response is not None:
        return f"the hub answers {response.status_code} {response.reason_phrase}".rstrip()
    return (
        f"the hub cannot be reached ({type(error.__cause__ or error).__name__}), nor does the cache hold it"
    )


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
