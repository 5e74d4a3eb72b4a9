"""A repository on the hub, and its revisions or folders as checkpoints."""

import fnmatch
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from lltc.checkpoints.formats.shards import main_file, needed_names
from lltc.checkpoints.hub.client import download, in_cache, list_files, list_refs, own_folder, unlisted
from lltc.checkpoints.hub.room import make_room, occupied
from lltc.checkpoints.intake.messages import printable
from lltc.checkpoints.intake.steps import parse_step
from lltc.errors import CheckpointError, InputError

_ADDRESS = re.compile(
    r"hf://(?!(?:datasets|spaces|buckets)/)(?P<repository>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[^/]+))?"
    r"(?:/(?P<folder>.*?))?/?",
    re.IGNORECASE,
)
_SETTINGS = ("config.json", "adapter_config.json")


@dataclass(frozen=True)
class Revision:
    """A branch or tag of a repository, or a folder there, as one checkpoint; nothing is fetched until read.

    Attributes:
        repository: "org/name".
        revision: the branch or tag.
        commit: what it pointed to when it was listed.
        folder: the folder in it that holds the weights, "" for its root.
        name: what carries the step, the revision or the folder.
        whole: whether every file there is wanted, or the weights and their settings alone.
        keep: how many downloads remain on disk; None leaves them to the cache of `huggingface_hub`.
    """

    repository: str
    revision: str
    commit: str
    folder: str
    name: str
    whole: bool = False
    keep: int | None = None

    def __str__(self) -> str:
        folder = f"/{self.folder}" if self.folder else ""
        return f"hf://{self.repository}@{self.revision}{folder}"

    @contextmanager
    def fetched(self) -> Iterator[Path]:
        """Yield the local folder with the files; it stays while it is read."""
        hashes = self._hashes()
        of = (self.repository, self.revision, self.commit, hashes)
        if self.keep is None or in_cache(self.repository, self.commit, hashes):
            yield download(*of) / self.folder
            return
        with occupied(own_folder(self.repository) / self.commit) as room:
            make_room(room, self.keep)
            yield download(*of, room) / self.folder

    def fingerprint(self) -> str:
        """Return the SHA-256 (hex) over the names of the weights and the hashes the hub lists of them."""
        digest = hashlib.sha256()
        for name, listed in sorted(self._hashes().items()):
            if self.whole or PurePosixPath(name).name not in _SETTINGS:
                digest.update(f"{PurePosixPath(name).relative_to(self.folder)}\n{listed}\n".encode())
        return digest.hexdigest()

    def _hashes(self) -> dict[str, str]:
        """Return the hash of each file that is wanted, by its path in the repository."""
        listed = {PurePosixPath(name): value for name, value in _listed(self).items()}
        if self.whole:
            return {str(name): value for name, value in listed.items()}
        here = {name: value for name, value in listed.items() if name.parent == PurePosixPath(self.folder)}
        main = main_file(self.name, here)
        if main is None:
            raise CheckpointError(
                f"it holds no weights that can be read, but {', '.join(map(_quoted, here)) or 'nothing'}"
            )
        needed = {*needed_names(main.name, [name.name for name in here]), *_SETTINGS}
        return {str(name): value for name, value in here.items() if name.name in needed}


@dataclass(frozen=True)
class Repository:
    """A repository of models on the hub as a folder of checkpoints.

    Attributes:
        repository: "org/name".
        revision: a branch, tag or commit; None is "main".
        folder: a folder in it, "" for its root.
        revisions: a glob over branches and tags, each of which is then a checkpoint; without it the folders
            in `folder` are.
        keep: as a `Revision`'s.
    """

    repository: str
    revision: str | None = None
    folder: str = ""
    revisions: str | None = None
    keep: int | None = None

    def __post_init__(self):
        if self.keep is not None and (
            isinstance(self.keep, bool) or not isinstance(self.keep, int) or self.keep < 1
        ):
            raise InputError(f"keep is {self.keep!r}, but must be a number of revisions from 1 on; pass one.")
        if self.revisions is not None and self.revision is not None:
            raise InputError(
                f"'{self}' names a revision, but revisions={self.revisions!r} was given; keep one of them."
            )

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf://{self.repository}{revision}" + (f"/{self.folder}" if self.folder else "")

    @property
    def name(self) -> str:
        """The folder, the revision, or "main"."""
        return PurePosixPath(self.folder).name or self.revision or "main"

    def iterdir(self, *, whole: bool = False) -> Iterator[Revision]:
        """Yield each revision that `revisions` names, or each folder in `folder`.

        Raises:
            InputError: the repository cannot be listed.
        """
        if self.revisions is None:
            here = self.one()
            try:
                inside = [PurePosixPath(name) for name in _listed(here)]
            except CheckpointError as error:
                raise unlisted(str(self), str(error)) from error
            depth = len(PurePosixPath(self.folder).parts)
            for folder in sorted({name.parts[: depth + 1] for name in inside if len(name.parts) > depth + 1}):
                path = "/".join(folder)
                yield self._at(here.revision, here.commit, path, folder[-1], whole)
            return
        for revision, commit in list_refs(self.repository).items():
            if fnmatch.fnmatchcase(revision, self.revisions):
                yield self._at(revision, commit, self.folder, revision, whole)

    def one(self, *, whole: bool = False) -> Revision:
        """Return the one checkpoint at `revision` and `folder`.

        Raises:
            InputError: there is no such revision.
        """
        refs, revision = list_refs(self.repository), self.revision or "main"
        if revision not in refs and not re.fullmatch("[0-9a-f]{40}", revision):
            raise InputError(
                f"repository 'hf://{self.repository}' has no revision {revision!r}; it has {_some(refs)}."
            )
        return self._at(revision, refs.get(revision, revision), self.folder, self.name, whole)

    def numbered(self, *, whole: bool) -> list[tuple[int, Revision]]:
        """Return the checkpoints by step.

        Raises:
            InputError: none carries a step, or two carry the same.
        """
        entries = list(self.iterdir(whole=whole))
        steps = [(step, entry) for entry in entries if (step := parse_step(entry.name)) is not None]
        if not steps:
            raise InputError(self._without_steps([entry.name for entry in entries]))
        first: dict[int, str] = {}
        for step, entry in steps:
            if step in first:
                raise InputError(
                    f"'{self}' holds two checkpoints of step {step}, '{printable(first[step])}' and "
                    f"'{printable(entry.name)}'; pass revisions that name one of them."
                )
            first[step] = entry.name
        return sorted(steps, key=lambda each: each[0])

    def _at(self, revision: str, commit: str, folder: str, name: str, whole: bool) -> Revision:
        return Revision(self.repository, revision, commit, folder, name, whole, self.keep)

    def _without_steps(self, names: list[str]) -> str:
        refs = list_refs(self.repository)
        if self.revisions is not None:
            return (
                f"revisions={self.revisions!r} names no revision of 'hf://{self.repository}' with a step; it "
                f"has {_some(refs)}."
            )
        remedy = next((f"; pass revisions, such as {name!r}" for name in refs if parse_step(name)), "")
        return (
            f"'{self}' holds no folder with a step in its name, but {_some(names)}; its revisions are "
            f"{_some(refs)}{remedy}."
        )


def as_repository(address: str) -> Repository | None:
    """Return the repository an address names, None where it is no repository of models.

    Example:
        >>> as_repository("hf://org/name@step5/checkpoints").folder
        'checkpoints'
    """
    if not (match := _ADDRESS.fullmatch(address)):
        return None
    revision = match["revision"]
    return Repository(match["repository"], revision and unquote(revision), match["folder"] or "")


def _listed(revision: Revision) -> dict[str, str]:
    files = list_files(revision.repository, revision.commit)
    root = PurePosixPath(revision.folder)
    return {name: value for name, value in files.items() if PurePosixPath(name).is_relative_to(root)}


def _some(names) -> str:
    shown = [_quoted(name) for name in names]
    return (", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")) or "none"


def _quoted(name) -> str:
    return f"'{printable(str(name), 80)}'"
