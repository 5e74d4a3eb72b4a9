"""Remote folders (s3, gs, az, https, …): URLs become paths, and checkpoints are copied here to be read."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path, PurePath
from typing import Any, cast

from lltc.checkpoints.hub.repository import Repository, Revision, as_repository
from lltc.checkpoints.intake.messages import printable
from lltc.errors import CheckpointError, InputError, first_line

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_LOCAL = ("", "file", "local")
_LIBRARIES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "http": "aiohttp requests",
    "https": "aiohttp requests",
    "hf": "huggingface_hub",
}


def as_path(path: Any) -> Path:
    """Return `path` as a `pathlib.Path`, or as universal-pathlib's counterpart where it is a URL.

    Credentials and other options of a file system go into a `UPath` of one's own, which passes unchanged.
    "hf://org/name" becomes that repository's folder.

    Raises:
        InputError: the URL's kind is unknown, or a library it needs is missing.

    Example:
        >>> as_path("runs/1").name, as_path("file:///runs/1").as_posix()
        ('1', '/runs/1')
    """
    if not isinstance(path, str):
        if not hasattr(path, "iterdir") and not isinstance(path, PathLike):
            raise InputError(
                f"path is a {type(path).__name__}, but must be a path or a URL; pass one of these."
            )
        return cast(Path, path) if hasattr(path, "iterdir") else Path(path)

    if not (match := _URL.match(path)):
        return Path(path)
    scheme = match[1].lower()
    if scheme in _LOCAL:
        return Path(path[match.end() :])
    if (repository := as_repository(path)) is not None:
        return cast(Path, repository)
    try:
        from upath import UPath
    except ImportError as error:
        raise _missing(path, f"universal-pathlib {_LIBRARIES.get(scheme, '')}".rstrip()) from error
    return _connect(path, scheme, UPath)


def as_folder(path: Any, revisions: str | None = None, keep: int | None = None) -> Path:
    """Return `path` as `as_path` does; `revisions` and `keep` are of a repository on the hub.

    Raises:
        InputError: they are given for another folder.
    """
    folder = as_path(path)
    given = {"revisions": revisions, "keep": keep}
    given = {name: value for name, value in given.items() if value is not None}
    if given and not isinstance(folder, Repository):
        raise InputError(
            f"{' and '.join(given)} cannot be heeded for '{path}', which is no repository on the Hugging "
            "Face hub; pass one like hf://org/name."
        )
    return cast(Path, replace(folder, **given)) if isinstance(folder, Repository) else folder


def _connect(path: str, scheme: str, make: Any) -> Path:
    try:
        remote = make(path)
        _ = remote.fs
    except ImportError as error:
        raise _missing(path, _LIBRARIES.get(scheme, scheme)) from error
    except ValueError as error:
        raise InputError(
            f"path '{path}' is of no kind fsspec knows; pass a local path or one like s3://bucket/run."
        ) from error
    return remote


def _missing(path: str, libraries: str) -> InputError:
    return InputError(f"Reading '{path}' needs a library; install it with: pip install {libraries}")


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """Yield `path` itself where it is local, else a copy of the file or folder that is deleted afterwards.

    Revisions on the hub have a cache of their own, which decides what is deleted.
    """
    if getattr(path, "protocol", "") in _LOCAL and not isinstance(path, Revision):
        yield path
        return
    with ExitStack() as stack:
        with fetching(path):
            copy = stack.enter_context(path.fetched() if isinstance(path, Revision) else _copied(path))
        try:
            yield copy
        except CheckpointError as error:
            raise CheckpointError(str(error).replace(str(copy), str(path))) from error


@contextmanager
def fetching(path: Any) -> Iterator[None]:
    """Turn whatever a store raises into one `CheckpointError` naming `path`."""
    try:
        yield
    except Exception as error:
        reason = first_line(error)
        raise CheckpointError(f"Cannot fetch checkpoint '{path}' ({reason}); check its access.") from error


@contextmanager
def _copied(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lltc-") as folder:
        copy = Path(folder) / path.name
        _fetch(path, copy)
        yield copy


def _fetch(path: Any, copy: Path) -> None:
    if not path.is_dir():
        path.fs.get_file(path.path, str(copy))
        return
    root = path.path.rstrip("/") + "/"
    # Web servers list folders, too, as if they were files.
    files = [file for file in path.fs.find(root) if not file.endswith("/")]
    names = [file.removeprefix(root) for file in files]
    for file, name in zip(files, names, strict=True):
        # A server may list what it likes, and is not to choose where its files go.
        if name == file or PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise ValueError(f"it lists '{printable(file)}', which does not lie in it")
    copies = [copy / name for name in names]
    for target in copies:
        target.parent.mkdir(parents=True, exist_ok=True)
    path.fs.get(files, [str(target) for target in copies])
