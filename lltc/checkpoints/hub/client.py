"""What is asked of the hub, through `huggingface_hub`: revisions, files, whole downloads."""

import glob
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from lltc.checkpoints.intake.files import is_file
from lltc.checkpoints.intake.messages import printable
from lltc.errors import CheckpointError, InputError, first_line

ATTEMPTS = 4
ANSWER_SECONDS, WAIT_SECONDS = 60.0, 600.0
_BUSY = (408, 429, 500, 502, 503, 504)
_CHUNK = 1 << 20
_OFFLINE = "offline mode is on and the cache does not hold it: unset HF_HUB_OFFLINE"


def hub_library(repository: str) -> Any:
    """Return `huggingface_hub`; an `InputError` where it is not installed."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            f"Reading 'hf://{repository}' needs a library; install it with: pip install 'lltc[huggingface]'"
        ) from error
    return huggingface_hub


def list_refs(repository: str) -> dict[str, str]:
    """Return the commit of each branch and tag of a repository, by name; offline, of those in the cache.

    Raises:
        InputError: the repository cannot be listed.
    """
    hub = hub_library(repository)
    if hub.is_offline_mode():
        refs = _cached(repository) / "refs"
        files = [file for file in refs.rglob("*") if file.is_file()]
        return _commits({file.relative_to(refs).as_posix(): file.read_text().strip() for file in files})
    try:
        listed = _patiently(lambda: _in_time(lambda: hub.HfApi().list_repo_refs(repository)))
    except Exception as error:
        raise unlisted(f"hf://{repository}", _reason(error)) from error
    return _commits({ref.name: ref.target_commit for ref in [*listed.tags, *listed.branches]})


def unlisted(address: str, reason: str) -> InputError:
    """Return what is said of a repository that cannot be listed."""
    return InputError(
        f"repository '{address}' cannot be listed ({reason}); check its name, HF_ENDPOINT and, where it is "
        "private, HF_TOKEN, or set HF_HUB_OFFLINE=1 to take what the cache holds."
    )


def list_files(repository: str, commit: str) -> dict[str, str]:
    """Return the hash of each file at a commit, by path: SHA-256 of a large file, Git's SHA-1 of another.

    Raises:
        CheckpointError: they cannot be listed.
    """
    hub = hub_library(repository)
    if hub.is_offline_mode():
        snapshot = _cached(repository) / "snapshots" / commit
        files = [file for file in snapshot.rglob("*") if is_file(file)]
        if not files:
            raise CheckpointError(_OFFLINE)
        # The cache names what it holds by its hash.
        return {file.relative_to(snapshot).as_posix(): file.resolve().name for file in files}
    tree = _asked(
        lambda: _in_time(
            lambda: list(hub.HfApi().list_repo_tree(repository, recursive=True, revision=commit))
        )
    )
    return {entry.path: _hash(entry) for entry in tree if hasattr(entry, "blob_id")}


def download(
    repository: str, revision: str, commit: str, hashes: Mapping[str, str], room: Path | None = None
) -> Path:
    """Return the folder that holds the files of `hashes` at a commit, each of them whole.

    What the cache, or `room` in its stead, already holds is not asked for again; a file of another hash is
    fetched anew, once.

    Raises:
        CheckpointError: a file cannot be had, or stays another than the hub lists.
    """
    folder = _asked(lambda: _snapshot(repository, revision, commit, hashes, room))
    if _wrong_file(folder, hashes) is not None:
        folder = _asked(lambda: _snapshot(repository, revision, commit, hashes, room, anew=True))
    if (name := _wrong_file(folder, hashes)) is not None:
        raise CheckpointError(
            f"what came of '{printable(name)}' is not the file the hub lists, by its "
            f"{'SHA-256' if len(hashes[name]) == 64 else 'Git hash'}"
        )
    return folder


def download_matching(repository: str, revision: str | None, globs: Sequence[str]) -> Path:
    """Return the folder that holds the files like `globs`, or what the cache has where no hub answers.

    Raises:
        CheckpointError: they cannot be had.
    """
    hub = hub_library(repository)
    options = {"allow_patterns": [*globs], "tqdm_class": _silent()}
    return Path(_asked(lambda: hub.snapshot_download(repository, revision=revision, **options)))


def in_cache(repository: str, commit: str, hashes: Mapping[str, str]) -> bool:
    """Tell whether the cache of `huggingface_hub` holds all these files of a commit."""
    snapshot = _cached(repository) / "snapshots" / commit
    return all(is_file(snapshot / name) for name in hashes)


def own_folder(repository: str) -> Path:
    """Return the folder for the downloads of a repository that lltc deletes again."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "lltc" / repository.replace("/", "--")


def _cached(repository: str) -> Path:
    from huggingface_hub import constants, file_download

    folder = file_download.repo_folder_name(repo_id=repository, repo_type="model")
    return Path(constants.HF_HUB_CACHE) / folder


def _snapshot(
    repository: str,
    revision: str,
    commit: str,
    hashes: Mapping[str, str],
    room: Path | None,
    *,
    anew: bool = False,
) -> Path:
    hub = hub_library(repository)
    common = {"allow_patterns": [glob.escape(name) for name in hashes], "tqdm_class": _silent()}
    if room is not None:
        return Path(
            hub.snapshot_download(repository, revision=commit, local_dir=room, force_download=anew, **common)
        )
    if not anew and in_cache(repository, commit, hashes):
        return _cached(repository) / "snapshots" / commit
    # By its name, which the cache remembers for offline use.
    folder = Path(hub.snapshot_download(repository, revision=revision, force_download=anew, **common))
    if folder.name != commit:
        raise CheckpointError(f"the hub has moved '{revision}' to another commit since it was listed")
    return folder


def _silent() -> type:
    from tqdm.auto import tqdm

    class Silent(tqdm):
        def __init__(self, *args: Any, **options: Any):
            options.pop("name", None)
            super().__init__(*args, **options | {"disable": True})

    return Silent


def _commits(refs: dict[str, str]) -> dict[str, str]:
    # Folders are called by their commits, and what a server calls one may be any path.
    return {name: commit for name, commit in refs.items() if re.fullmatch("[0-9a-f]{40}", commit)}


def _hash(entry: Any) -> str:
    return entry.blob_id if entry.lfs is None else entry.lfs.sha256


def _wrong_file(folder: Path, hashes: Mapping[str, str]) -> str | None:
    """Return the first file that is missing in `folder` or not what its hash says."""
    for name, expected in hashes.items():
        if not is_file(folder / name) or _digest(folder / name, len(expected)) != expected:
            return name
    return None


def _digest(file: Path, length: int) -> str:
    with open(file, "rb") as handle:
        # Git hashes a file behind its size.
        head = b"blob %d\0" % os.fstat(handle.fileno()).st_size
        digest = hashlib.sha256() if length == 64 else hashlib.sha1(head, usedforsecurity=False)
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _asked(call: Callable[[], Any]) -> Any:
    try:
        return _patiently(call)
    except InputError:
        raise
    except Exception as error:
        raise CheckpointError(_reason(error)) from error


def _patiently(call: Callable[[], Any]) -> Any:
    """Return `call()`, tried again where the hub is busy or a connection is cut.

    A hub that asks for it is given up to ten minutes.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    final = (InputError, HFValidationError, OfflineModeIsEnabled)
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except Exception as error:
            # What the cache lacks is said to come of what the hub said.
            told = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error
            response = told.response if isinstance(told, HfHubHTTPError) else None
            passes = not isinstance(told, final) and (response is None or response.status_code in _BUSY)
            if not passes or attempt == ATTEMPTS - 1:
                raise
            wait = _wait(response, attempt)
            if wait > WAIT_SECONDS:
                raise
            time.sleep(wait)
    raise AssertionError


def _in_time(call: Callable[[], Any]) -> Any:
    """Return `call()`, a listing, for which the hub's library itself would wait for ever."""
    answer: Future[Any] = Future()

    def ask() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(ANSWER_SECONDS)
    except TimeoutError:
        if answer.done():
            raise
        raise TimeoutError(f"the hub has not answered within {ANSWER_SECONDS:.0f} s") from None


def _wait(response: Any, attempt: int) -> float:
    with suppress(AttributeError, KeyError, ValueError):
        return max(0.0, float(response.headers["Retry-After"]))
    return 2.0**attempt


def _reason(error: Exception) -> str:
    """Return why the hub gave nothing, without the addresses and request numbers of its own messages."""
    from huggingface_hub import errors

    told = {
        errors.GatedRepoError: "its owner wants to be asked: accept the terms on its page and set HF_TOKEN",
        errors.RepositoryNotFoundError: "there is no such repository, or HF_TOKEN may not see it",
        errors.RevisionNotFoundError: "the hub has no such revision",
        errors.HFValidationError: "no repository can be called so",
        errors.OfflineModeIsEnabled: _OFFLINE,
    }
    for kind, sentence in told.items():
        if isinstance(error, kind):
            return sentence
    response = error.response if isinstance(error, errors.HfHubHTTPError) else None
    if response is not None:
        return f"the hub answers {response.status_code} {response.reason_phrase}".rstrip()
    if isinstance(error.__cause__, Exception):
        return _reason(error.__cause__)
    return first_line(error)
