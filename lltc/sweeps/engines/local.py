"""Where checkpoints are worked on: in this process, on a concurrent.futures executor, on a Dask cluster."""

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from lltc.errors import InputError
from lltc.files import FolderError
from lltc.sweeps.engines.devices import gpus
from lltc.sweeps.jobs.handover import hand_over
from lltc.sweeps.jobs.request import Setup
from lltc.sweeps.jobs.survey import Work
from lltc.sweeps.jobs.worker import Row, do_work

Setups = Mapping[str, Setup]
ENGINE = ("workers", "scheduler", "executor", "progress")
_HANDED: dict[str, Setups] = {}  # In a worker process: what it was handed, under the sweep's token.


def run_works(
    setups: Setups,
    works: Sequence[Work],
    *,
    workers: int = 0,
    scheduler: str | None = None,
    executor: Executor | None = None,
) -> Iterator[Row]:
    """Yield a row for each checkpoint as it is finished; the numbers do not depend on where that happens."""
    if not works:
        return
    if executor is not None:
        yield from _on_executor(executor, setups, works)
    elif workers or scheduler:
        from lltc.sweeps.engines.cluster import on_cluster

        yield from on_cluster(setups, works, workers=workers, scheduler=scheduler)
    else:
        yield from (do_work(setups[work.run], work) for work in works)


def choose_engine(*, workers: int, scheduler: str | None, executor: Executor | None) -> dict[str, Any]:
    """Return the engine as `run_works` takes it; refuse what names none, or more than one."""
    if not isinstance(workers, int) or workers < 0:
        raise InputError(
            f"workers must be a number of processes ≥ 0, but {workers!r} was given; 0 works in this process."
        )
    if workers and getattr(multiprocessing.current_process(), "_inheriting", False):
        raise InputError(
            "workers starts processes that import the script again, which must not sweep by itself there; "
            "put the call under: if __name__ == '__main__':"
        )
    if scheduler is not None and "://" not in str(scheduler):
        raise InputError(
            f"scheduler must be a Dask scheduler's address, but {scheduler!r} was given; write it like "
            "tcp://host:8786."
        )
    if executor is not None and not hasattr(executor, "submit"):
        raise InputError(
            f"executor must be a concurrent.futures.Executor, but a {type(executor).__name__} was given; "
            "pass one, or workers= for processes of lltc's own."
        )
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise InputError(
            "executor forks this process, in which JAX has threads that a fork does not copy, so that it "
            "would wait for ever; pass ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn')), "
            "or workers=."
        )
    chosen = {"workers": workers, "scheduler": scheduler, "executor": executor}
    named = [name for name, value in chosen.items() if value]
    if len(named) > 1:
        raise InputError(
            f"{' and '.join(named)} were given, but a sweep runs in one place; keep one of them."
        )
    if workers and gpus():
        # JAX takes most of a GPU at its first touch: this process and the workers must not fight for it.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return chosen


def without_engine(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a sweep that say what is estimated, not where, nor what is told meanwhile."""
    return {name: value for name, value in arguments.items() if name not in ENGINE}


def works_apart(engine: Mapping[str, Any]) -> bool:
    """Tell whether other processes than this one read the checkpoints."""
    return any(engine.values()) and not isinstance(engine["executor"], ThreadPoolExecutor)


def _on_executor(executor: Executor, setups: Setups, works: Sequence[Work]) -> Iterator[Row]:
    """Keep as many checkpoints in flight as there are workers; each process is handed the setups once."""
    token = os.urandom(8).hex()
    light = {name: replace(setup, data=hand_over(setup.data)) for name, setup in setups.items()}
    room = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
    waiting, flying = list(reversed(works)), dict[Future, Work]()

    def submit(work: Work, *, hand: bool) -> None:
        if isinstance(executor, ThreadPoolExecutor):
            flying[executor.submit(do_work, setups[work.run], work)] = work
        else:
            flying[executor.submit(do_handed, token, work, light if hand else None)] = work

    try:
        while waiting or flying:
            while waiting and len(flying) < room:
                submit(waiting.pop(), hand=len(works) - len(waiting) <= room)
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                work, row = flying.pop(future), _result(future)
                if row is None:
                    submit(work, hand=True)
                else:
                    yield row
    finally:
        for future in flying:
            future.cancel()


def do_handed(token: str, work: Work, setups: Setups | None) -> Row | None:
    """Work on a checkpoint with the setups this process was handed; None where it has none yet."""
    if setups is not None:
        _HANDED.clear()
        _HANDED[token] = setups
    return do_work(_HANDED[token][work.run], work) if token in _HANDED else None


def _result(future: Future) -> Row | None:
    try:
        return future.result()
    except FolderError:
        raise
    except BrokenExecutor as error:
        raise InputError(
            f"executor broke ({error}), as process pools do when one process is killed; what is finished is "
            "kept: run the sweep again with a new one, or with workers=, which survives it."
        ) from error
    except Exception as error:
        raise InputError(
            f"executor could not work on a checkpoint ({type(error).__name__}: {error}); its processes need "
            "model, data and loader to be importable there: name them in a module, or use workers=, which "
            "takes closures too."
        ) from error
