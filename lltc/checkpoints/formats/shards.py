"""The files of one checkpoint: itself, or in its folder one file of weights or shards and their index."""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

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
_TRAINER_STATE = re.compile(
    r"^(optimizer|scheduler|scaler|sampler|rng_state|random_states|training_args)"
    r"([-_.]?(states?|dict|rank|step|of|\d+(?!\d)))*\.|_optim_states\.pt$"
)
# DeepSpeed's: the model's, one a rank where it is split, one a layer of a pipeline, or one an expert.
_DEEPSPEED = re.compile(
    r"(zero_pp_rank_\d+_)?mp_rank_\d+_model_states\.pt|layer_\d+-model_.*_states\.pt"
    r"|(layer_\d+_)?expert_\d+_mp_rank_\d+_model_states\.pt"
)
ALIAS = re.compile(r"(?<![a-z])(best|last|latest|current)(?![a-z])", re.IGNORECASE)
SHARD = re.compile(r"-\d{5}-of-(?P<count>\d{5})(?=\.\w+$)")


def format_of(name: str) -> str | None:
    """Return the format that a file's name ends in, in letters of either size; None for another.

    Example:
        >>> format_of("step_1.NPZ"), format_of("notes.txt")
        ('npz', None)
    """
    return SUFFIXES.get(Path(name).suffix.lower())


def weight_files(path: Path, budget: Budget, name: str | None = None) -> tuple[Path, ...]:
    """Return the files that hold the weights of the checkpoint at `path`, an index ahead of its shards.

    A folder's are `model.safetensors`, else the shards of `model.safetensors.index.json`, else the same of
    `pytorch_model.bin`, as transformers has it, else its only file of weights, or the one that carries the
    folder's own number; a folder with none or several has (). `name` is the folder's, where a cache calls it
    otherwise.
    """
    if not path.is_dir():
        return (path,)
    main = main_file(name or path.name, path.iterdir())
    if main is not None and _is_shard(main.name):
        raise CheckpointError(
            f"Cannot read checkpoint '{path}': it holds the shard '{printable(main.name, 80)}', but no "
            f"{_INDEX.lstrip('.')} that tells what else belongs to it; copy the whole folder again."
        )
    if main is not None and _DEEPSPEED.fullmatch(main.name):
        _check_deepspeed(path, sorted(entry.name for entry in path.iterdir() if is_deepspeed(entry)))
    return () if main is None else with_shards(main, budget)


def with_shards(main: Path, budget: Budget) -> tuple[Path, ...]:
    """Return a file of weights, or an index ahead of its shards."""
    if not main.name.endswith(_INDEX):
        return (main,)
    # Shards lie beside their index, whatever path it may claim for them.
    return (main, *sorted({main.parent / Path(name).name for name in read_index(main, budget).values()}))


def is_deepspeed(path: Path) -> bool:
    """Tell whether a file is one of the model that DeepSpeed wrote."""
    return _DEEPSPEED.fullmatch(path.name) is not None


def _check_deepspeed(folder: Path, names: list[str]) -> None:
    """Refuse a model that lies in pieces."""
    if names[0].startswith("zero_"):
        raise CheckpointError(
            f"Cannot read checkpoint '{folder}': its weights are split as ZeRO stage 3 does; put them "
            "together with python zero_to_fp32.py, which DeepSpeed leaves beside them."
        )
    if len(names) > 1:
        raise CheckpointError(
            f"Cannot read checkpoint '{folder}': its weights are split over {len(names)} files such as "
            f"'{printable(names[-1], 80)}', by model or pipeline parallelism; put them together with "
            "DeepSpeed's ds_to_universal.py, or pass loader."
        )


def weight_format(name: str, entries: Iterable[Path]) -> str | None:
    """Return the format of the weights in a folder of that name, None where it is no checkpoint."""
    main = main_file(name, entries)
    return None if main is None else format_of(main.name.removesuffix(_INDEX))


def main_file(folder: str, entries: Iterable[Any]) -> Any:
    """Return the index or the one file of weights among the `entries` of a folder of that name, else None."""
    named = {entry.name: entry for entry in entries}
    for model in _MODELS:
        for name in (model, model + _INDEX):
            if name in named:
                return named[name]
    if states := sorted(name for name in named if _DEEPSPEED.fullmatch(name)):
        return named[states[0]]
    weights = [name for name in named if _holds_weights(name)]
    if shards := sorted(filter(_is_shard, weights)):
        return named[shards[0]]
    if len(weights) > 1:
        weights = [name for name in weights if not ALIAS.search(name)]
    steps = [parse_step(name) for name in weights]
    if len(weights) == 1 and steps[0] is None:
        return named[weights[0]]
    own = [
        name
        for name, step in zip(weights, steps, strict=True)
        if step is not None and step == parse_step(folder)
    ]
    # What differs in its number alone makes a run of the folder, whatever number that carries.
    return named[own[0]] if len(own) == 1 and _numberless(weights).count(_numberless(own)[0]) == 1 else None


def needed_names(main: str, names: Iterable[str]) -> set[str]:
    """Return the names of `main` and, where it is an index, of the shards beside it."""
    model = main.removesuffix(_INDEX)
    if model == main:
        return {main}
    return {main, *(name for name in names if SHARD.search(name) and Path(name).suffix == Path(model).suffix)}


def _is_shard(name: str) -> bool:
    """Tell whether a file is one of several that hold one model."""
    match = SHARD.search(name)
    return match is not None and int(match["count"]) > 1


def is_trainer_state(name: str) -> bool:
    """Tell whether a file holds what a trainer needs to go on, as `rng_state_0.pth` does, and no weights."""
    return _TRAINER_STATE.search(name) is not None


def _numberless(names: Iterable[str]) -> list[str]:
    return [re.sub(r"\d+", "", name) for name in names]


def _holds_weights(name: str) -> bool:
    return not name.startswith(".") and not is_trainer_state(name) and format_of(name) is not None


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


def check_shards(index: Path | None, shards: Iterable[Iterable[str]], budget: Budget) -> None:
    """Refuse shards, each given by the names of its arrays, that lack what `index` names or hold it twice."""
    if index is None:
        return
    counts = Counter(chain.from_iterable(shards))
    names = counts.keys()
    if twice := sorted(str(name) for name, count in counts.items() if count > 1):
        raise CheckpointError(
            f"Cannot read checkpoint '{index.parent}': several of its shards hold "
            f"'{printable(twice[0])}', as where two savings are mixed; copy all of one again."
        )
    if missing := sorted(read_index(index, budget).keys() - set(names)):
        raise CheckpointError(
            f"Cannot read checkpoint '{index.parent}': its index names {len(missing)} arrays its shards do "
            f"not hold, the first being '{printable(missing[0])}'; copy the missing shards."
        )
