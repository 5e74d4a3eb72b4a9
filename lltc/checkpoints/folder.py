"""Finding checkpoints: a folder becomes checkpoints ordered by training step."""

import re
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, cast

from lltc.checkpoints.checkpoint import Checkpoint
from lltc.checkpoints.formats.orbax import is_orbax
from lltc.checkpoints.formats.shards import ALIAS, SHARD, format_of, is_trainer_state, weight_format
from lltc.checkpoints.hub.repository import Repository, Revision
from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.files import is_file, list_folder, path_kind, read_file, reading
from lltc.checkpoints.intake.messages import plain_messages, printable
from lltc.checkpoints.intake.steps import is_unreadable, parse_step
from lltc.checkpoints.intake.tree import as_globs
from lltc.checkpoints.remote import as_folder, as_path
from lltc.errors import InputError

_FORMATS = "Orbax, .safetensors, .npz, .msgpack, .eqx, .pt, .pth, .bin or .ckpt, as files or in folders"
_SAVE = "save the parameters with save_npz"
_FOREIGN = {
    (".pkl", ".pickle"): f"; pickles are never read, as that runs the code they carry: {_SAVE}",
    (".h5", ".hdf5", ".keras"): "; Keras's own files are not read: load the model with Keras and save its "
    "variables with lltc.Saver, or pass loader",
    (".index", ".pb"): f"; TensorFlow's files are not read: {_SAVE}, or pass loader",
    (".gguf", ".onnx", ".tflite"): f"; files for inference are not read: {_SAVE}, or pass loader",
    (".tar",): "; a .pth.tar of PyTorch's is no archive: rename it to end in .pth",
}
_UNFINISHED = re.compile(
    r"^tmp[-_.]|^\.|~$|-tmp-|orbax-checkpoint-tmp|\.(tmp|temp|part|partial|incomplete|crdownload|lock)(\.|$)",
    re.IGNORECASE,
)
_VERSION = re.compile(r"-v\d+(?=\.|$)")
_FLAX_LEGACY = re.compile(r"checkpoint_\d+")
# What a trainer leaves beside its checkpoints in the end.
_FINAL = ("model.safetensors", "adapter_model.safetensors", "consolidated.safetensors")


def find_checkpoints(
    folder: str | PathLike[str],
    *,
    params_key: str | None = None,
    loader: Callable[[Path], Any] | None = None,
    transpose: Literal["torch"] | None = None,
    ignore: str | Sequence[str] | None = None,
    revisions: str | None = None,
    keep: int | None = None,
) -> tuple[Checkpoint, ...]:
    """Return the checkpoints in `folder`, ordered by the step their names carry.

    Orbax step folders (manager, checkpointers, v1, legacy), and files of safetensors, npz, Flax msgpack,
    Equinox and PyTorch, alone or in a folder each, as Hugging Face's `checkpoint-500/model.safetensors` or
    its shards with their index. Hidden and half-written entries and the aliases best, last and latest are
    passed over, and so are files of other kinds.

    Args:
        folder: the folder that holds one file or folder a checkpoint; a path, or a URL such as
            "s3://bucket/run" or "https://host/run/" (needs universal-pathlib and the library of that
            store, such as s3fs), or a `UPath` with options of its own. "hf://org/name" is a repository on
            the Hugging Face hub, "hf://org/name@revision/folder" a folder there (needs huggingface-hub).
        params_key: the part of each checkpoint that holds the parameters, as "params" or "state/params".
        loader: reads formats lltc does not know: `loader(path) -> params`, any pytree. Every entry with a
            step in its name is then a checkpoint.
        transpose: "torch" turns PyTorch's `weight` arrays into the layout and names of the template they
            are loaded into (see `fit_params`).
        ignore: a glob or globs over names, as `*/num_batches_tracked` or `*/rotary_emb/*`; what they match is
            left out of the params.
        revisions: a glob over the branches and tags of a repository on the hub, such as "step*", each of
            which is then a checkpoint; it is fetched when it is read.
        keep: how many revisions remain on disk. None leaves all in the cache of huggingface-hub. A number
            downloads what that cache lacks to lltc's own folder ($HF_HOME/lltc), and deletes there before
            each download; what other processes are reading stays and counts. The cache is never touched.

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
        numbered = _numbered(as_folder(folder, revisions, keep), loader)
        options = (params_key, loader, transpose, as_globs(ignore))
        return tuple(Checkpoint(step, entry, kind, *options) for step, entry, kind in numbered)


def _numbered(folder: Path, loader: Callable | None) -> list[tuple[int, Path, str]]:
    """Return the step, the place and the format of every checkpoint in `folder`, by step."""
    if isinstance(folder, Repository):
        kind = "hub" if loader is None else "loader"
        return [(step, cast(Path, entry), kind) for step, entry in folder.numbered(whole=loader is not None)]
    if (kind := path_kind(folder)) != "folder":
        what = "is a file, not a folder" if kind == "file" else "does not exist"
        raise InputError(f"folder '{folder}' {what}; pass the folder that holds the checkpoints.")
    names = _revision_names(folder) or {entry: entry.name for entry in list_folder(folder)}
    entries = [entry for entry, name in names.items() if not _is_passed_over(name)]
    detect = _detect_format if loader is None else lambda _: "loader"
    formats = {entry: kind for entry in entries if (kind := detect(entry)) is not None}
    numbered = {entry: step for entry in formats if (step := parse_step(names[entry])) is not None}
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
    ignore: str | Sequence[str] | None = None,
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
        if isinstance(path, Repository):
            path = cast(Path, path.one(whole=loader is not None))
        elif path_kind(path) is None:
            raise InputError(f"path '{path}' does not exist; pass a checkpoint's file or folder.")
        kind = "loader" if loader is not None else _detect_format(path)
        if kind is None:
            raise InputError(
                f"path '{path}' is not one checkpoint of a format that can be read ({_FORMATS})"
                f"{_foreign_hint([path])}."
            )
    step = parse_step(path.name)
    options = (params_key, loader, transpose, as_globs(ignore))
    return Checkpoint(-1 if step is None else step, path, kind, *options)


def _revision_names(folder: Path) -> dict[Path, str]:
    """Return the snapshots of a Hugging Face cache (`models--org--name`) by the names of their revisions.

    The cache keeps each revision in a folder that is called by a hash; those without a step are passed over.
    """
    home = folder.parent if folder.name == "snapshots" else folder
    refs, snapshots = home / "refs", home / "snapshots"
    if not isinstance(folder, Path) or path_kind(refs) != "folder" or path_kind(snapshots) != "folder":
        return {}
    names: dict[str, str] = {}
    for ref in sorted(refs.rglob("*")):
        # What is proposed for a repository, as refs/pr/1, is no part of the run.
        proposed = ref.relative_to(refs).parts[0] == "refs"
        if proposed or not is_file(ref) or parse_step(ref.name) is None:
            continue
        with reading(ref):
            commit = read_file(ref, Budget(ref, 0)).decode("ascii", "replace").strip()
        if commit in names:
            raise InputError(
                f"folder '{folder}' has one commit under two names with a step, "
                f"'{printable(names[commit])}' and '{printable(ref.name)}'; delete one of them from its refs."
            )
        names[commit] = ref.name
    if not names:
        raise InputError(
            f"folder '{folder}' is a Hugging Face cache without a revision that is named by a step; open one "
            "of its snapshots with open_checkpoint, or download revisions such as step1000."
        )
    return {entry: names[entry.name] for entry in list_folder(snapshots) if entry.name in names}


def _is_passed_over(name: str) -> bool:
    alias = ALIAS.search(name) and parse_step(_VERSION.sub("", name)) is None
    return bool(alias or _UNFINISHED.search(name) or SHARD.search(name))


def _detect_format(path: Path) -> str | None:
    if isinstance(path, Revision):
        return "hub"
    kind = path_kind(path)
    if kind == "file":
        if is_trainer_state(path.name):
            return None
        return "msgpack" if _FLAX_LEGACY.fullmatch(path.name) else format_of(path.name)
    entries = list_folder(path) if kind == "folder" else []
    if any(entry.suffix == ".distcp" for entry in entries) or _is_sharded(entries):
        raise InputError(
            f"path '{path}' is a distributed checkpoint of PyTorch (.distcp), which only PyTorch reads; make "
            "a .pt file of it with dcp_to_torch_save, as python -m torch.distributed.checkpoint.format_utils "
            "dcp_to_torch does."
        )
    return "orbax" if is_orbax(entries) else weight_format(path.name, entries)


def _is_sharded(entries: list[Path]) -> bool:
    """Tell whether a folder is one in which Accelerate keeps the shards of FSDP."""
    folders = [entry for entry in entries if entry.name.startswith("pytorch_model_fsdp") and entry.is_dir()]
    return any(entry.suffix == ".distcp" for folder in folders for entry in list_folder(folder))


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
            f"{_listing(entries)}{_foreign_hint(entries)}."
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

    if kind == "torch":
        return is_unreadable(entry.name)
    if entry.name in _FINAL:
        return False
    return format_of(entry.name) is not None or kind in ("orbax", "safetensors")


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


def _foreign_hint(entries: Iterable[Path]) -> str:
    """Return why files of other libraries are not read, and what to do."""
    suffixes = {entry.suffix.lower() for entry in entries}
    return next((hint for known, hint in _FOREIGN.items() if suffixes.intersection(known)), "")
