"""Checkpoints worked on by Dask: local processes, or a cluster reached by its scheduler's address."""

import hashlib
import logging
import math
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from lltc.errors import InputError
from lltc.files import FolderError
from lltc.sweeps.engines.devices import gpus
from lltc.sweeps.jobs.handover import hand_over
from lltc.sweeps.jobs.request import Setup
from lltc.sweeps.jobs.survey import Work
from lltc.sweeps.jobs.worker import Row, do_work, fail

Setups = Mapping[str, Setup]
PATIENCE = "10s"
POLL = 0.05
LOCAL_DEATHS = 1
# On a busy machine a killed worker is back after a minute or more; Dask would give it up after 15 seconds.
RETURN_SECONDS = 600
RETURN = {"distributed.deploy.lost-worker-timeout": f"{RETURN_SECONDS}s"}
LOOK_SECONDS = 5
CLOSE_SECONDS = 60
log = logging.getLogger("lltc.sweeps")


def on_cluster(
    setups: Setups, works: Sequence[Work], *, workers: int = 0, scheduler: str | None = None
) -> Iterator[Row]:
    """Yield a row for each checkpoint as a Dask worker finishes it.

    Workers are handed the setups once, also those that join later. A checkpoint whose worker was killed is
    given to another; one that killed all it was given to is tried once more alone on the cluster, for it may
    only have waited beside another that did, and then becomes a failed row.
    """
    dask = _import_dask()
    with ExitStack() as stack:
        # Jobs of a cluster may be waited for; processes that were started here come back, or do not.
        patience = math.inf if scheduler else RETURN_SECONDS
        if scheduler is None:
            scheduler = stack.enter_context(_local_cluster(min(workers, len(works))))
        client = stack.enter_context(_connected(dask, scheduler))
        if not client.nthreads():
            log.warning("scheduler=%r has no workers yet: waiting for one", scheduler)
        name = _name(setups)
        stack.enter_context(_handed_over(dask, client, name, setups, scheduler))
        blamed = []
        for work, row in _collect(dask, client, name, works, scheduler, patience):
            if row is None:
                blamed.append(work)
            else:
                yield row
        for work in blamed:
            ((_, row),) = _collect(dask, client, name, [work], scheduler, patience)
            yield row or fail(setups[work.run], work, _killed(work))


def _name(setups: Setups) -> str:
    """Return a name a killed sweep of the same folders had too: what it handed over is replaced."""
    folders = sorted(str(setup.out) for setup in setups.values())
    return f"lltc-{hashlib.sha256(repr(folders).encode()).hexdigest()[:16]}"


def do_here(name: str, work: Work) -> Row:
    """Work on a checkpoint with the setups handed over to this Dask worker under `name`."""
    from distributed import get_worker

    return do_work(get_worker().plugins[name].setups[work.run], work)  # pyright: ignore[reportAttributeAccessIssue]


def _import_dask() -> Any:
    try:
        import distributed
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise InputError(
            "workers and scheduler need Dask, which is not installed; run: pip install 'lltc[dask]'."
        ) from None
    return SimpleNamespace(
        Client=distributed.Client,
        WorkerPlugin=distributed.WorkerPlugin,
        KilledWorker=KilledWorker,
        CancelledError=FutureCancelledError,
    )


@contextmanager
def _local_cluster(workers: int) -> Iterator[str]:
    """Start single-threaded worker processes here, one GPU each where there are GPUs; yield the address."""
    from dask import config
    from distributed import Nanny, Scheduler

    devices = gpus()
    common = {
        "nthreads": 1,
        "memory_limit": 0,
        "dashboard": False,
        "dashboard_address": ":0",
        "silence_logs": logging.CRITICAL,
    }
    specs = {
        index: {
            "cls": Nanny,
            "options": common
            | {"env": {"CUDA_VISIBLE_DEVICES": devices[index % len(devices)]} if devices else {}},
        }
        for index in range(workers)
    }
    head = {
        "cls": Scheduler,
        "options": {
            "host": "127.0.0.1",
            "port": 0,
            "dashboard": False,
            "dashboard_address": ":0",
            "allowed_failures": LOCAL_DEATHS,
        },
    }
    with quiet(), config.set(RETURN):
        yield from _running(workers, specs, head)


def _running(workers: int, specs: dict, head: dict) -> Iterator[str]:
    from distributed import SpecCluster

    try:
        cluster = SpecCluster(workers=specs, scheduler=head, silence_logs=logging.CRITICAL)  # pyright: ignore[reportArgumentType]
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"workers={workers} could not be started ({error}); a script that starts them needs its calls "
            "under if __name__ == '__main__':, and the messages above say what else is wrong."
        ) from error
    try:
        yield cluster.scheduler_address  # pyright: ignore[reportAttributeAccessIssue]
    finally:
        with suppress(TimeoutError):
            cluster.close(timeout=CLOSE_SECONDS)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Dask's news of its own doings from whatever handler a library has put on the root logger."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _connected(dask: Any, scheduler: str) -> Iterator[Any]:
    try:
        client = dask.Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"scheduler={scheduler!r} does not answer ({type(error).__name__}); check the address and that "
            "it is running."
        ) from error
    try:
        yield client
    finally:
        with suppress(Exception):  # Nothing more is wanted of a cluster that may be gone.
            client.close(timeout="2s")


@contextmanager
def _handed_over(dask: Any, client: Any, name: str, setups: Setups, scheduler: str) -> Iterator[None]:
    class Handover(dask.WorkerPlugin):
        def __init__(self, setups: Setups):
            self.setups = setups

    light = {run: replace(setup, data=hand_over(setup.data)) for run, setup in setups.items()}
    try:
        client.register_plugin(Handover(light), name=name)
    except Exception as error:
        raise InputError(
            f"scheduler={scheduler!r} could not hand model and data to its workers ({type(error).__name__}: "
            f"{error}); the modules they come from must be importable there, at the same versions."
        ) from error
    try:
        yield
    finally:
        with suppress(Exception):
            client.unregister_worker_plugin(name)


def _collect(
    dask: Any, client: Any, name: str, works: Sequence[Work], scheduler: str, patience: float
) -> Iterator[tuple[Work, Row | None]]:
    """Yield each checkpoint with its row, or None where its workers were killed.

    Without any worker for `patience` seconds the sweep ends.
    """
    prefix = secrets.token_hex(4)
    keys = [f"lltc-{prefix}-{number}" for number in range(len(works))]
    futures = client.map(do_here, [name] * len(works), works, key=keys, pure=False)
    flying = dict(zip(futures, works, strict=True))
    looked = manned = time.monotonic()
    try:
        while flying:
            for future in [future for future in flying if future.done()]:
                try:
                    row = _outcome(dask, future, scheduler)
                except OSError:
                    continue  # Its worker went away with the row: the scheduler has the work done again.
                yield flying.pop(future), row
            if client.status == "closed":
                raise _lost(scheduler, None)
            if patience < math.inf and time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                manned = looked if client.nthreads() else manned
                if looked - manned > patience:
                    raise _unmanned(patience)
            time.sleep(POLL)
    finally:
        with suppress(Exception):
            client.cancel(futures, force=True)


def _outcome(dask: Any, future: Any, scheduler: str) -> Row | None:
    if future.status == "cancelled":
        raise _lost(scheduler, None)
    try:
        return future.result(timeout=PATIENCE)
    except dask.KilledWorker:
        return None
    except (OSError, FolderError):
        raise
    except dask.CancelledError:
        raise _lost(scheduler, None) from None
    except Exception as error:
        raise _lost(scheduler, error) from error


def _lost(scheduler: str, error: BaseException | None) -> InputError:
    if error is None:
        return InputError(
            f"scheduler={scheduler!r} was lost before the sweep was done; what is finished is kept: start "
            "it again and run the same sweep again."
        )
    return InputError(
        f"scheduler={scheduler!r} has a worker that cannot work on a checkpoint ({type(error).__name__}: "
        f"{error}); it needs the same versions of lltc and of what model, data and loader import."
    )


def _unmanned(patience: float) -> InputError:
    return InputError(
        f"the workers ended, and none has come back for {patience:.0f} s; what is finished is kept: the same "
        "sweep again goes on from there, with fewer workers where memory is short."
    )


def _killed(work: Work) -> str:
    return (
        f"every worker that was given the checkpoint of step {work.task.step} was killed, the last time "
        "alone on the cluster; it may need more memory than a worker has."
    )
