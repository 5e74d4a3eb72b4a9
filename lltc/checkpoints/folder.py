"""Finding checkpoints: a folder becomes checkpoints ordered by training step."""

import re
from collections.abc import Iterable
from pathlib import Path

from lltc.checkpoints.checkpoint import Checkpoint
from lltc.checkpoints.orbax import is_orbax
from lltc.checkpoints.safetensors import INDEX
from lltc.checkpoints.steps import parse_step
from lltc.errors import InputError

FORMATS = "Orbax folders, .safetensors files or folders, .npz, .msgpack, .eqx, .pt, .pth, .bin or .ckpt files"
_SUFFIXES = {
    ".npz": "npz",
    ".safetensors": "safetensors",
    ".msgpack": "msgpack",
    ".eqx": "equinox",
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), "torch"),
}
_UNFINISHED = re.compile(r"-tmp-|orbax-checkpoint-tmp|\.tmp$")
_ALIAS = re.compile(r"(?<![a-z])(best|last|latest)(?![a-z])", re.IGNORECASE)
_FLAX_LEGACY = re.compile(r"checkpoint_\d+")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")


def find_checkpoints(folder: str | Path, *, params_key: str | None = None) -> tuple[Checkpoint, ...]:
    """Return the checkpoints in `folder`, ordered by the step their names carry.

    Orbax step folders (manager, checkpointers, v1), .safetensors files or folders of them, .npz files,
    Flax .msgpack files, Equinox .eqx files and PyTorch .pt, .pth, .bin and .ckpt files.
    Hidden and half-written entries and the aliases best, last and latest are passed over, and so are
    files of other kinds.

    Args:
        folder: the folder that holds one file or folder a checkpoint.
        params_key: the part of each checkpoint that holds the parameters, as "params" or "state/params".

    Raises:
        InputError: the folder is missing, holds no checkpoint, mixes formats, is itself one checkpoint,
            or holds a name without a step or two with the same.

    Example:
        >>> import tempfile, numpy as np
        >>> from lltc.checkpoints import find_checkpoints, save_npz
        >>> folder = tempfile.mkdtemp()
        >>> for step in (0, 100, 20):
        ...     path = save_npz(f"{folder}/step_{step}.npz", {"w": np.full(2, step)})
        >>> [checkpoint.step for checkpoint in find_checkpoints(folder)]
        [0, 20, 100]
    """
    folder = Path(folder)
    if not folder.is_dir():
        kind = "is a file, not a folder" if folder.exists() else "does not exist"
        raise InputError(f"folder '{folder}' {kind}; pass the folder that holds the checkpoints.")
    entries = [entry for entry in sorted(folder.iterdir()) if not _is_passed_over(entry)]
    formats = {entry: kind for entry in entries if (kind := _detect_format(entry)) is not None}
    numbered = {entry: step for entry in formats if (step := parse_step(entry.name)) is not None}
    _check_names(folder, entries, formats, numbered)
    _check_steps(folder, numbered)
    return tuple(
        Checkpoint(step, entry, formats[entry], params_key)
        for entry, step in sorted(numbered.items(), key=lambda item: item[1])
    )


def open_checkpoint(path: str | Path, params_key: str | None = None) -> Checkpoint:
    """Return the one checkpoint at `path`; its step is -1 where the name carries none.

    Raises:
        InputError: `path` is missing or is no checkpoint of a format that can be read.

    Example:
        >>> import tempfile, numpy as np
        >>> from lltc.checkpoints import open_checkpoint, save_npz
        >>> open_checkpoint(save_npz(tempfile.mkdtemp() + "/ckpt-30.npz", {"w": np.zeros(2)})).step
        30
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"path '{path}' does not exist; pass a checkpoint's file or folder.")
    kind = _detect_format(path)
    if kind is None:
        raise InputError(f"path '{path}' is not one checkpoint of a format that can be read ({FORMATS}).")
    step = parse_step(path.name)
    return Checkpoint(-1 if step is None else step, path, kind, params_key)


def _is_passed_over(entry: Path) -> bool:
    name = entry.name
    unfinished = name.startswith(".") or _UNFINISHED.search(name) or _SHARD.search(name)
    alias = parse_step(name) is None and _ALIAS.search(name)
    return bool(unfinished or alias)


def _detect_format(path: Path) -> str | None:
    if path.is_file():
        return "msgpack" if _FLAX_LEGACY.fullmatch(path.name) else _SUFFIXES.get(path.suffix)
    if is_orbax(path):
        return "orbax"
    if not path.is_dir():
        return None
    files = [file for file in path.glob("*.safetensors") if not file.name.startswith(".")]
    if (path / INDEX).is_file() or (path / "model.safetensors").is_file():
        return "safetensors"
    return "safetensors" if len(files) == 1 and parse_step(files[0].name) is None else None


def _check_names(
    folder: Path, entries: list[Path], formats: dict[Path, str], numbered: dict[Path, int]
) -> None:
    if not numbered and _detect_format(folder) is not None:
        raise InputError(
            f"folder '{folder}' is itself one checkpoint; pass the folder that holds it, or open it alone "
            "with open_checkpoint."
        )
    if not formats:
        raise InputError(
            f"folder '{folder}' holds no checkpoint that can be read ({FORMATS}); it holds "
            f"{_listing(entries)}."
        )
    # A trainer's output folder keeps the final model and PyTorch files of settings beside its checkpoints.
    nameless = [
        entry
        for entry, kind in formats.items()
        if entry not in numbered and entry.name != "model.safetensors" and kind != "torch"
    ]
    if nameless or not numbered:
        entry = (nameless or list(formats))[0]
        raise InputError(
            f"folder '{folder}' holds the checkpoint '{entry.name}', whose name carries no step; rename it "
            f"like 'step_1000{entry.suffix}' or move it away."
        )
    kinds = {formats[entry]: entry.name for entry in numbered}
    if len(kinds) > 1:
        mixed = " and ".join(f"'{name}' ({kind})" for kind, name in sorted(kinds.items()))
        raise InputError(f"folder '{folder}' mixes checkpoint formats, {mixed}; keep one format a folder.")


def _check_steps(folder: Path, numbered: dict[Path, int]) -> None:
    first: dict[int, str] = {}
    for entry, step in numbered.items():
        if step in first:
            raise InputError(
                f"folder '{folder}' holds two checkpoints of step {step}, '{first[step]}' and '{entry.name}';"
                " rename or move one of them."
            )
        first[step] = entry.name


def _listing(entries: Iterable[Path]) -> str:
    names = [f"'{entry.name}'" for entry in entries]
    return (", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")) or "nothing"
