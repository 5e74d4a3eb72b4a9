"""What is done, what is missing, what is out of date and why."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lltc.errors import InputError
from lltc.sweeps.jobs.request import Setup
from lltc.sweeps.jobs.sources import Task
from lltc.sweeps.store import folder as store
from lltc.sweeps.store.settings import SweepSettings

SHORT = 40


class Cause(NamedTuple):
    """Why a checkpoint is worked on again, and what is done to it."""

    why: str
    done: str = "estimated anew"


class Work(NamedTuple):
    """What one checkpoint needs: an estimate or not, of which components, which observables, and why.

    `run` names the sweep it belongs to, among several; `content` is the checkpoint's hash where the survey
    had to know it.
    """

    run: str
    task: Task
    estimate: bool
    components: tuple[str, ...]
    observables: tuple[str, ...]
    causes: tuple[Cause, ...]
    content: str | None

    @property
    def needed(self) -> bool:
        """True when there is anything to do."""
        return bool(self.estimates or self.observables)

    @property
    def estimates(self) -> int:
        """How many estimates are to be made: the whole's and its components'."""
        return self.estimate + len(self.components)


def survey(setup: Setup, tasks: Iterable[Task], *, run: str = "") -> tuple[Work, ...]:
    """Compare what lies in the folder with what the sweep is to be, one `Work` a checkpoint.

    Checkpoints that have a result are read once for their hash; the others are left to the workers.
    """
    return tuple(_compare(setup, task, run) for task in tasks)


def explain(works: Iterable[Work]) -> list[str]:
    """Return one line a cause: "nbeta 100 -> 200: 48 checkpoints are estimated anew"."""
    counts = Counter(cause for work in works for cause in work.causes)
    return [
        f"{cause.why}: {count} checkpoint{'s are' if count > 1 else ' is'} {cause.done}"
        for cause, count in counts.items()
    ]


def with_checkpoints(settings: SweepSettings, works: Sequence[Work]) -> SweepSettings:
    """Return the settings with the steps of the sweep and the hashes known of their checkpoints."""
    return replace(settings, checkpoints={str(work.task.step): work.content for work in works})


def _compare(setup: Setup, task: Task, run: str) -> Work:
    wanted, members = setup.settings.observables, tuple(setup.components)
    everything = (run, task, True, members, tuple(wanted))
    result = store.read_result(setup.out, task.step)
    if result is None:
        return Work(*everything, tuple(_absence(setup, task)), None)
    try:
        content = task.fingerprint()
    except (InputError, OSError):
        return Work(*everything, (Cause("checkpoint cannot be read"),), None)
    causes = _changes(result, setup.settings)
    if result["checkpoint"] != content:
        causes.append(Cause("checkpoint's content changed"))
    if causes:
        return Work(*everything, tuple(causes), content)
    seen_at, seen = store.read_observables(setup.out, task.step)
    known = seen if seen_at == content else {}
    missing = [name for name in wanted if name not in known or known[name].fingerprint != wanted[name]]
    news = [_news("observable", name, name in known, "evaluated") for name in missing]
    done = store.read_components(setup.out, task.step, setup.settings, content)
    left = [name for name in members if name not in done]
    for name in left:
        news.append(_news("component", name, store.result_path(setup.out, task.step, name).exists()))
    return Work(run, task, False, tuple(left), tuple(missing), tuple(news), content)


def _news(kind: str, name: str, known: bool, done: str = "estimated") -> Cause:
    return Cause(f"{kind} {name} {'changed' if known else 'is new'}", done)


def _absence(setup: Setup, task: Task) -> Iterator[Cause]:
    if store.result_path(setup.out, task.step).exists():
        yield Cause("result cannot be read")
    elif store.failure_path(setup.out, task.step).exists():
        yield Cause("failed before", "tried again")


def _changes(result: dict[str, Any], settings: SweepSettings) -> list[Cause]:
    if result["configuration"] == settings.configuration:
        return []
    before = json.loads(result["settings"])
    changed = _differences(before, settings.numbers)
    return [_cause(*each) for each in changed] or [Cause("settings changed")]


def _cause(name: str, old: Any, new: Any) -> Cause:
    """Name a changed setting with both values; hashes and long values say nothing to a reader."""
    shown = f"{_shown(old)} -> {_shown(new)}"
    if name in ("model", "data", "key") or len(shown) > SHORT:
        return Cause(f"{name} changed")
    return Cause(f"{name} {shown}")


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _differences(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(old.keys() | new.keys())
        return [found for each in names for found in _differences(old.get(each), new.get(each), each)]
    return [] if old == new else [(name, old, new)]
