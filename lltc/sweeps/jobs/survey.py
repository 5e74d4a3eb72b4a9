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
from lltc.sweeps.store.rows import read_components
from lltc.sweeps.store.settings import SweepSettings

SHORT, LISTED = 40, 8


class Cause(NamedTuple):
    """Why a checkpoint is worked on again, and what is done to it."""

    why: str
    done: str = "estimated anew"


class Work(NamedTuple):
    """What one checkpoint needs: an estimate or not, of which components, which observables, and why.

    `run` names the sweep it belongs to, among several; `content` is the checkpoint's hash where the survey
    had to know it; `same_as` is the step whose result is taken over, for the weights are the same.
    """

    run: str
    task: Task
    estimate: bool
    components: tuple[str, ...]
    observables: tuple[str, ...]
    causes: tuple[Cause, ...]
    content: str | None
    same_as: int | None = None

    @property
    def needed(self) -> bool:
        """True when there is anything to do."""
        return bool(self.parts or self.observables)

    @property
    def parts(self) -> tuple[str | None, ...]:
        """What is to be estimated: the whole, which is None, and components by name."""
        return (*([None] if self.estimate else []), *self.components)

    @property
    def estimates(self) -> int:
        """How many estimates are to be made."""
        return len(self.parts)


def survey(setup: Setup, tasks: Iterable[Task], *, run: str = "") -> tuple[Work, ...]:
    """Compare what lies in the folder with what the sweep is to be, one `Work` a checkpoint.

    Checkpoints that have a result are read once for their hash, others only where a sample of their bytes is
    that of another step: the same weights are estimated once.
    """
    return _share([_compare(setup, task, run) for task in tasks])


def explain(works: Sequence[Work]) -> list[str]:
    """Return one line a cause: "nbeta 100 -> 200: 48 checkpoints are estimated anew"."""
    counts = Counter(cause for work in works if work.same_as is None for cause in work.causes)
    told = [
        f"{cause.why}: {count} checkpoint{'s are' if count > 1 else ' is'} {cause.done}"
        for cause, count in counts.items()
    ]
    shared: dict[tuple[str, int], list[int]] = {}
    for work in works:
        if work.same_as is not None:
            shared.setdefault((work.run, work.same_as), []).append(work.task.step)
    for (run, step), steps in shared.items():
        others = ", ".join(map(str, steps[:LISTED])) + (", …" if len(steps) > LISTED else "")
        told.append(
            f"{run + ' ' if run else ''}step {step} has the same weights as {others}: estimated once, and no "
            "transition is marked from them"
        )
    return told


def _share(works: Sequence[Work]) -> tuple[Work, ...]:
    """Let checkpoints that are to be estimated take over the result of one with the same content."""
    glances: dict[str, list[int]] = {}
    for place, work in enumerate(works):
        if (glance := _content(work, "glance")) is not None:
            glances.setdefault(glance, []).append(place)
    shared = list(works)
    for places in glances.values():
        leaders: dict[str, int] = {}
        # One that has its estimate leads.
        for place in sorted(places, key=lambda place: (works[place].estimate, place)):
            work = works[place]
            content = work.content or (_content(work, "fingerprint") if len(places) > 1 else None)
            if content is None:
                continue
            leader = leaders.setdefault(content, work.task.step)
            if work.estimates and leader != work.task.step:
                shared[place] = work._replace(estimate=False, components=(), content=content, same_as=leader)
    return tuple(shared)


def _content(work: Work, what: str) -> str | None:
    try:
        return getattr(work.task, what)()
    except (InputError, OSError):
        return None


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
    stored_for, stored = store.read_observables(setup.out, task.step)
    known = stored if stored_for == content else {}
    missing = [name for name in wanted if name not in known or known[name].fingerprint != wanted[name]]
    news = [_news("observable", name, name in known, "evaluated") for name in missing]
    done = read_components(setup.out, task.step, setup.settings, content)
    failed = [name for name in done if done[name]["status"] == "failed"]
    left = [name for name in members if name not in done or name in failed]
    for name in left:
        known = store.result_path(setup.out, task.step, name).exists()
        again = Cause(f"component {name} failed before", "tried again")
        news.append(again if name in failed else _news("component", name, known))
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
        return [
            difference for each in names for difference in _differences(old.get(each), new.get(each), each)
        ]
    return [] if old == new else [(name, old, new)]
