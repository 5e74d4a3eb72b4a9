"""The files of one checkpoint: itself, or in its folder one file of weights or shards and their index."""

import re
from collections.abc import Iterable
from pathlib import Path

from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.documents import read_json
from lltc.checkpoints.intake.files import reading
from lltc.checkpoints.intake.messages import printable
from lltc.checkpoints.intake.steps import parse_step
from lltc.errors import CheckpointError

SUFFIXES = {
    ".npz": "npz",
    ".safetensors": "safetensors",
    ".msgpack": "msgpack",
    ".eqx": "equinox",
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), "torch"),
}
_MODELS = ("model.safetensors", "pytorch_model.bin")
_INDEX = ".index.json"
_TRAINER_STATE = re.compile(r"^(optimizer|scheduler|scaler|sampler|rng_state|random_states|training_args)")


def weight_files(path: Path, budget: Budget) -> tuple[Path, ...]:
    """Return the files that hold the weights of the checkpoint at `path`, an index ahead of its shards.

    A folder's are the shards of `model.safetensors.index.json` or `pytorch_model.bin.index.json`, the whole
    file of either name, or its only file of weights; a folder with none or several has ().
    """
    if not path.is_dir():
        return (path,)
    main = _main_file(path, path.iterdir())
    if main is None or not main.name.endswith(_INDEX):
        return () if main is None else (main,)
    # Shards lie beside their index, whatever path it may claim for them.
    return (main, *sorted({path / Path(name).name for name in read_index(main, budget).values()}))


def weight_format(folder: Path, entries: Iterable[Path]) -> str | None:
    """Return the format of the weights in a folder with these `entries`, None where it is no checkpoint."""
    main = _main_file(folder, entries)
    return None if main is None else SUFFIXES[Path(main.name.removesuffix(_INDEX)).suffix]


def _main_file(folder: Path, entries: Iterable[Path]) -> Path | None:
    named = {entry.name: entry for entry in entries}
    for model in _MODELS:
        for name in (model + _INDEX, model):
            if name in named:
                return named[name]
    weights = [entry for name, entry in named.items() if _holds_weights(name, folder.name)]
    return weights[0] if len(weights) == 1 else None


def _holds_weights(name: str, folder: str) -> bool:
    if name.startswith(".") or _TRAINER_STATE.match(name) or Path(name).suffix not in SUFFIXES:
        return False
    return parse_step(name) in (None, parse_step(folder))


def read_index(path: Path, budget: Budget) -> dict[str, str]:
    """Return the shard each array lies in, by the array's name."""
    with reading(path):
        shards = read_json(path, budget)["weight_map"]
        if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
            raise ValueError("its weight_map is no table of file names")
        return shards


def split_index(files: tuple[Path, ...]) -> tuple[Path | None, tuple[Path, ...]]:
    """Return the index among the `files` of one checkpoint, None where there is none, and the others."""
    return (files[0], files[1:]) if files and files[0].name.endswith(_INDEX) else (None, files)


def check_shards(index: Path | None, names: Iterable[str], budget: Budget) -> None:
    """Refuse shards that lack an array the `index` names."""
    if index is None:
        return
    if missing := sorted(read_index(index, budget).keys() - set(names)):
        raise CheckpointError(
            f"Cannot read checkpoint '{index.parent}': its index names {len(missing)} arrays its shards do "
            f"not hold, the first being '{printable(missing[0])}'; copy the missing shards."
        )
