"""The checkpoints of a sweep in step order, from a folder, records or params in memory."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, cast

from lltc.checkpoints import Checkpoint, find_checkpoints
from lltc.checkpoints.hub.repository import Revision
from lltc.checkpoints.remote import local_copy
from lltc.errors import InputError, shown
from lltc.estimates.described_options import describe_option
from lltc.posterior.fingerprint import fingerprint_params
from lltc.sweeps.store.settings import LAST_STEP
from lltc.types import PyTree

READING = ("params_key", "loader", "transpose", "ignore")


@dataclass(frozen=True)
class Given:
    """A checkpoint given as params in memory."""

    step: int
    params: PyTree

    def load(self, template: PyTree | None = None) -> PyTree:
        """Return the params as they were given, whatever `template`."""
        del template
        return self.params

    def fingerprint(self) -> str:
        """Return a hash of the params."""
        return fingerprint_params(self.params)

    def glance(self) -> str:
        """Return a hash of the params."""
        return self.fingerprint()


Task = Checkpoint | Given
Checkpoints = str | PathLike[str] | Iterable[Task] | Iterable[tuple[int, PyTree]]


def make_tasks(checkpoints: Checkpoints, reading: dict[str, Any]) -> tuple[Task, ...]:
    """Return the checkpoints in step order, from a folder, records or `(step, params)` pairs.

    `reading` holds `find_checkpoints`' arguments: params_key, loader, transpose, ignore.
    """
    if isinstance(checkpoints, str | PathLike) or hasattr(checkpoints, "iterdir"):
        tasks: list[Task] = list(find_checkpoints(cast(Path, checkpoints), **reading))
    elif named := [name for name, value in reading.items() if value is not None]:
        raise InputError(
            f"{named[0]} says how to read a folder, but checkpoints holds records or params; pass the "
            f"folder, or no {named[0]}."
        )
    else:
        tasks = [_task(item) for item in cast(Iterable, checkpoints)]
    if not tasks:
        raise InputError(
            "checkpoints holds none, but a sweep needs at least one; pass a folder or (step, params) pairs."
        )
    steps = [task.step for task in tasks]
    if unnamed := [step for step in steps if not 0 <= step <= LAST_STEP]:
        raise InputError(
            f"checkpoints names step {unnamed[0]}, but a step is a whole number from 0 to 2^63 - 1; name the "
            "files by their steps, or pass (step, params) pairs."
        )
    if len(set(steps)) < len(steps):
        twice = sorted({step for step in steps if steps.count(step) > 1})
        raise InputError(
            f"checkpoints names step {twice[0]} more than once, but every step must be one checkpoint; "
            "remove one."
        )
    return tuple(sorted((_rooted(task) for task in tasks), key=lambda task: task.step))


def describe_reading(tasks: Iterable[Task]) -> dict[str, Any]:
    """Return how checkpoints become params, as they say themselves: a list where they differ in it."""
    described: dict[str, Any] = {}
    for name in READING:
        given = {id(value): value for value in (getattr(task, name, None) for task in tasks)}
        ways = {repr(way): way for way in map(_described, given.values())}
        first, *others = (ways[text] for text in sorted(ways))
        described[name] = [first, *others] if others else first
    return described


def _described(value: Any) -> Any:
    return (list(value) or None) if isinstance(value, tuple) else describe_option(value)


@contextmanager
def brought_near(task: Task) -> Iterator[Task]:
    """Yield the checkpoint on a local disk: one on a remote file system is fetched once.

    A revision on the hub stays where it is: it has a cache, and its fingerprint needs no download.
    """
    if isinstance(task, Given) or isinstance(task.path, Revision):
        yield task
        return
    with local_copy(task.path) as path:
        yield replace(task, path=path)


def _rooted(task: Task) -> Task:
    """Return the checkpoint with its whole path, which workers elsewhere need."""
    if isinstance(task, Given) or not isinstance(task.path, Path):
        return task
    return replace(task, path=task.path.absolute())


def _task(item: Any) -> Task:
    if isinstance(item, Checkpoint | Given):
        return item
    try:
        step, params = item
        whole = int(step)
        if whole != step:
            raise ValueError(step)
        return Given(whole, params)
    except (TypeError, ValueError, OverflowError):
        pair = isinstance(item, list | tuple) and len(item) == 2
        said = f" with the step {shown(item[0])}" if pair else ""
        raise InputError(
            f"checkpoints holds a {type(item).__name__}{said}, but a folder, lltc.find_checkpoints' records "
            "or pairs of a whole step and params are allowed; pass one of these."
        ) from None
