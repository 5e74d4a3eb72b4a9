"""What is about to run: one plan a sweep, also for several runs at one posterior."""

import zlib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax

from lltc.errors import InputError, shown
from lltc.sweeps.jobs.request import Request, Setup, make_setup, with_key
from lltc.sweeps.jobs.sources import Checkpoints, Task, make_tasks
from lltc.sweeps.store import folder as store


class Plan(NamedTuple):
    """One sweep about to run: its name among several, what its checkpoints share, the checkpoints."""

    run: str
    setup: Setup
    tasks: tuple[Task, ...]


def plan_sweep(checkpoints: Checkpoints, request: Request, out: Path) -> Plan:
    """Plan the sweep of one training run."""
    out = out.absolute()
    tasks = make_tasks(checkpoints, request.reading)
    return Plan("", make_setup(request, tasks, out=out, recorded=store.recorded_settings(out)), tasks)


def plan_runs(folder: str | Path, request: Request, out: Path, *, pattern: str) -> tuple[Plan, ...]:
    """Plan a sweep of each run, all at the nβ and γ of the first that has a usable checkpoint."""
    out = out.absolute()
    tasks = {
        name: make_tasks(path, request.reading) for name, path in _find_runs(folder, out, pattern).items()
    }
    common = _common_setup(tasks, request, out)
    return tuple(
        Plan(name, with_key(replace(common, out=out / name), run_key(request.key, name)), listed)
        for name, listed in tasks.items()
    )


def run_key(key: jax.Array, run: str) -> jax.Array:
    """Return the key of a run: independent noise in every run."""
    return jax.random.fold_in(key, zlib.crc32(run.encode()))


def _find_runs(folder: str | Path, out: Path, pattern: str) -> dict[str, Path]:
    """Return the runs' folders by their names, which their results are kept under."""
    if "://" in str(folder):
        raise InputError(
            f"folder is '{folder}', but runs lie in local folders; sweep each of them on its own."
        )
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"folder '{folder}' is no folder, but one whose sub-folders are runs is needed; check the path."
        )
    try:
        matches = sorted(folder.glob(pattern))
    except (ValueError, NotImplementedError, TypeError, IndexError):
        raise InputError(
            f"pattern must be a glob of names inside the folder, but {shown(pattern)} was given; pass such "
            "as 'seed*'."
        ) from None
    folders = [path for path in matches if path.is_dir() and not path.name.startswith(".")]
    folders = [path for path in folders if path.resolve() != out.resolve()]
    if not folders:
        raise InputError(
            f"folder '{folder}' holds no sub-folder like {pattern!r}, but each run is one; pass the folder "
            "that holds the runs, or another pattern."
        )
    names = [path.name for path in folders]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(
            f"pattern={pattern!r} finds {names.count(twice[0])} runs called {twice[0]!r}, but runs are told "
            "apart by the names of their folders; pass a pattern whose folders have different names, or "
            "sweep each of them on its own."
        )
    return dict(zip(names, folders, strict=True))


def _common_setup(tasks: dict[str, tuple[Task, ...]], request: Request, out: Path) -> Setup:
    recorded = store.recorded_runs(out)
    errors = []
    for listed in tasks.values():
        try:
            return make_setup(request, listed, out=out, recorded=recorded)
        except InputError as error:
            errors.append(error)
    raise errors[0]
