"""Bytes on disk: errors told as sentences, content fingerprints, writes that are whole or absent."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from lltc.errors import CheckpointError, InputError

_CHUNK = 1 << 20


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a parser raises on a damaged file into one `CheckpointError` naming `path`."""
    try:
        yield
    except CheckpointError:
        raise
    # A damaged file can make the parsers underneath raise almost anything.
    except Exception as error:
        lines = str(error).split(" [tensorstore_spec")[0].split(" [source locations")[0].splitlines()
        reason = lines[0][:300].rstrip(". ") if lines else type(error).__name__
        if "'<f1'" in reason:
            reason = "NumPy wrote float8 without its type; save it as safetensors"
        raise CheckpointError(
            f"Cannot read checkpoint '{path}', it may be truncated or damaged: {reason}."
        ) from error


def path_kind(path: Path) -> str | None:
    """Return "file", "folder" or, where there is nothing, None; an `InputError` where that cannot be seen."""
    try:
        # Other questions take a path that may not be looked at for one that is not there.
        if isinstance(path, Path):
            mode = path.stat().st_mode
            if not (S_ISDIR(mode) or S_ISREG(mode)):
                raise OSError("it is a pipe, a device or a socket")
            return "folder" if S_ISDIR(mode) else "file"
        return "folder" if path.is_dir() else "file" if path.exists() else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:
        raise _unreachable(path, error) from error


def list_folder(folder: Path) -> list[Path]:
    """Return what lies in `folder`, by name; an `InputError` where that cannot be seen."""
    try:
        return sorted(folder.iterdir(), key=lambda entry: entry.name)
    except Exception as error:
        raise _unreachable(folder, error) from error


def _unreachable(path: Path, error: Exception) -> InputError:
    reason = (
        (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0].rstrip(". ")
    )
    return InputError(f"path '{path}' cannot be looked at ({reason}); check the path and its permissions.")


def first_line(message: str) -> str:
    """Return the first line of a message, without its full stop."""
    return (message.splitlines() or [""])[0].rstrip(". ")


def digest_files(root: Path, files: Iterable[Path]) -> str:
    """Return the SHA-256 (hex) over the names, relative to `root`, sizes and bytes of `files`."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.relative_to(root).as_posix()):
        # The sizes fence the pieces off, so that no two sets of files feed the same stream.
        name = file.relative_to(root).as_posix().encode()
        digest.update(b"%d:%s%d:" % (len(name), name, file.stat().st_size))
        with file.open("rb") as handle:
            while chunk := handle.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
