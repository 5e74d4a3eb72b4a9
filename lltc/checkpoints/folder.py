"""Finding checkpoints: a folder becomes checkpoints ordered by training step."""

import re
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from lltc.checkpoints.checkpoint import Checkpoint
from lltc.checkpoints.formats.orbax import is_orbax
from lltc.checkpoints.formats.shards import SUFFIXES, weight_format
from lltc.checkpoints.intake.files import list_folder, path_kind
from lltc.checkpoints.intake.messages import plain_messages, printable
from lltc.checkpoints.intake.steps import parse_step
from lltc.checkpoints.remote import as_path
from lltc.errors import InputError

_FORMATS = "Orbax, .safetensors, .npz, .msgpack, .eqx, .pt, .pth, .bin or .ckpt, as files or in folders"
_UNFINISHED = re.compile(
    r"^tmp[-_.]|^\.|~$|-tmp-|orbax-checkpoint-tmp|\.(tmp|temp|part|partial|incomplete|crdownload|lock)(\.|$)",
    re.IGNORECASE,
)
_ALIAS = re.compile(r"(?<![a-z])(best|last|latest|current)(?![a-z])", re.IGNORECASE)
_VERSION = re.compile(r"-v\d+(?=\.|$)")
_FLAX_LEGACY = re.compile(r"checkpoint_\d+")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.\w+$")


def find_checkpoints(
    folder: str | PathLike[str],
    *,
    params_key: str | None = None,
    loader: Callable[[Path], Any] | None = None,
    transpose: Literal["torch"] | None = None,
) -> tuple[Checkpoint, ...]:
    """Return the checkpoints in `folder`, ordered by the step their names carry.

    Orbax step folders (manager, checkpointers, v1, legacy), and files of safetensors, npz, Flax msgpack,
    Equinox and PyTorch, alone or in a folder each, as Hugging Face's `checkpoint-500/model.safetensors` or
    its shards with their index. Hidden and half-written entries and the aliases best, last and latest are
    passed over, and so are files of other kinds.

    Args:
        folder: the folder that holds one file or folder a checkpoint; a path, or a URL such as
            "s3://bucket/run" or "https://host/run/" (needs universal-pathlib and the library of that
            store, such as s3fs), or a `UPath` with options of its own.
        params_key: the part of each checkpoint that holds the parameters, as "params" or "state/params".
        loader: reads formats lltc does not know: `loader(path) -> params`, any pytree. Every entry with a
            step in its name is then a checkpoint.
        transpose: "torch" turns PyTorch's `weight` arrays into the layout and names of the template they
            are loaded into (see `fit_params`).

    Raises:
        InputError: the folder is missing or cannot be listed, holds no checkpoint, mixes formats, is itself
            one checkpoint, or holds a name without a step or two with the same.

    Example:
        >>> import tempfile, numpy as np
        >>> from lltc.checkpoints import find_checkpoints, save_npz
        >>> folder = tempfile.mkdtemp()
        >>> for step in (0, 100, 20):
        ...     path = save_npz(f"{folder}/step_{step}.npz", {"w": np.full(2, step)})
        >>> [checkpoint.step for checkpoint in find_checkpoints(folder)]
        [0, 20, 100]
    """
    with plain_messages():
        numbered = _numbered(as_path(folder), loader)
        return tuple(
            Checkpoint(step, entry, kind, params_key, loader, transpose) for step, entry, kind in numbered
        )


def _numbered(folder: Path, loader: Callable | None) -> list[tuple[int, Path, str]]:
    """Return the step, the place and the format of every checkpoint in `folder`, by step."""
    if (kind := path_kind(folder)) != "folder":
        what = "is a file, not a folder" if kind == "file" else "does not exist"
        raise InputError(f"folder '{folder}' {what}; pass the folder that holds the checkpoints.")
    entries = [entry for entry in list_folder(folder) if not _is_passed_over(entry.name)]
    detect = _detect_format if loader is None else lambda _: "loader"
    formats = {entry: kind for entry in entries if (kind := detect(entry)) is not None}
    numbered = {entry: step for entry in formats if (step := parse_step(entry.name)) is not None}
    if loader is None:
        _check_names(folder, entries, formats, numbered)
    elif not numbered:
        raise InputError(f"folder '{folder}' holds no name with a step; it holds {_listing(entries)}.")
    _check_steps(folder, numbered)
    return sorted((step, entry, formats[entry]) for entry, step in numbered.items())


def open_checkpoint(
    path: str | PathLike[str],
    params_key: str | None = None,
    *,
    loader: Callable[[Path], Any] | None = None,
    transpose: Literal["torch"] | None = None,
) -> Checkpoint:
    """Return the one checkpoint at `path`; its step is -1 where the name carries none.

    The arguments are those of `find_checkpoints`.

    Raises:
        InputError: `path` is missing or is no checkpoint of a format that can be read.

    Example:
        >>> import tempfile, numpy as np
        >>> from lltc.checkpoints import open_checkpoint, save_npz
        >>> open_checkpoint(save_npz(tempfile.mkdtemp() + "/ckpt-30.npz", {"w": np.zeros(2)})).step
        30
    """
    path = as_path(path)
    with plain_messages():
        if path_kind(path) is None:
            raise InputError(f"path '{path}' does not exist; pass a checkpoint's file or folder.")
        kind = "loader" if loader is not None else _detect_format(path)
        if kind is None:
            raise InputError(
                f"path '{path}' is not one checkpoint of a format that can be read ({_FORMATS})"
                f"{_pickle_hint([path])}."
            )
    step = parse_step(path.name)
    return Checkpoint(-1 if step is None else step, path, kind, params_key, loader, transpose)


def _is_passed_over(name: str) -> bool:
    alias = _ALIAS.search(name) and parse_step(_VERSION.sub("", name)) is None
    return bool(alias or _UNFINISHED.search(name) or _SHARD.search(name))


def _detect_format(path: Path) -> str | None:
    kind = path_kind(path)
    if kind == "file":
        return "msgpack" if _FLAX_LEGACY.fullmatch(path.name) else SUFFIXES.get(path.suffix)
    entries = list_folder(path) if kind == "folder" else []
    return "orbax" if is_orbax(entries) else weight_format(path, entries)


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
            f"folder '{folder}' holds no checkpoint that can be read ({_FORMATS}); it holds "
            f"{_listing(entries)}{_pickle_hint(entries)}."
        )
    unnumbered = {entry: kind for entry, kind in formats.items() if entry not in numbered}
    nameless = [entry for entry, kind in unnumbered.items() if _wants_step(entry, kind)]

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


def _wants_step(entry: Path, kind: str) -> bool:
    # Beside its checkpoints a trainer keeps the final model, PyTorch files of settings and folders of data.

    if kind == "torch" or entry.name == "model.safetensors":
        return False
    return entry.suffix in SUFFIXES or kind in ("orbax", "safetensors")


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
    names = [f"'{printable(entry.name)}'" for entry in entries]
    return (", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")) or "nothing"


def _pickle_hint(entries: Iterable[Path]) -> str:
    if not any(entry.suffix in (".pkl", ".pickle") for entry in entries):
        return ""
    return "; pickles are never read, as that runs the code they carry: save the parameters with save_npz"
