"""Several training runs swept at the same posterior, so that their curves can be compared."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lltc.compilation import cached_compilation
from lltc.errors import InputError
from lltc.posterior.data import Data
from lltc.sweeps.driver import run_plans
from lltc.sweeps.engines.local import choose_engine, works_apart
from lltc.sweeps.jobs.plan import plan_runs
from lltc.sweeps.jobs.request import make_request
from lltc.sweeps.record import Sweep
from lltc.sweeps.store import folder as store
from lltc.sweeps.store.lock import hold
from lltc.types import LossFn, PyTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Runs(Mapping[str, Sweep]):
    """Sweeps of several runs by name, all at one nβ and γ."""

    out: Path
    sweeps: dict[str, Sweep]

    @classmethod
    def open(cls, out: str | Path) -> Self:
        """Rebuild the sweeps from their folder, finished or not.

        Raises `InputError` when `out` was not made by `sweep_runs`.
        """
        folder = Path(out)
        recorded = store.recorded_runs(folder)
        if recorded is None:
            raise InputError(
                f"out={str(folder)!r} holds no {store.RUNS} that can be read, but a folder of several runs "
                "does; pass the folder given to lltc.sweep_runs as out."
            )
        return cls(folder, {name: Sweep.open(folder / name) for name in recorded.runs})

    def __getitem__(self, name: str) -> Sweep:
        return self.sweeps[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sweeps)

    def __len__(self) -> int:
        return len(self.sweeps)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the runs' curves over one another, with a lane of markers each; axes in, axes out."""
        from lltc.report import plot_curves

        curves = {name: swept.curve for name, swept in self.items()}
        return plot_curves(curves, {name: swept.transitions for name, swept in self.items()}, ax=ax)

    def report(self, path: str | Path | None = None, *, known: Sequence = ()) -> Path:
        """Write one HTML page of all runs, by default `report.html` in their folder; return its path."""
        from lltc.report import write_runs_report
        from lltc.sweeps.comparison import compare, comparison_tables
        from lltc.sweeps.page_data import exhibit, shared

        where = Path(path) if path is not None else self.out / "report.html"
        shown = {name: exhibit(swept) for name, swept in self.items()}
        tables = comparison_tables(compare(self)) if len(self) > 1 else []
        return write_runs_report(where, shown, settings=shared(self.values()), known=known, tables=tables)


def sweep_runs(
    folder: str | Path,
    model: LossFn,
    data: PyTree | Data,
    *,
    out: str | Path,
    pattern: str = "*",
    workers: int = 0,
    scheduler: str | None = None,
    executor: Executor | None = None,
    progress: bool = True,
    **arguments: Any,
) -> Runs:
    """Sweep each sub-folder of `folder`, a run with its own checkpoints, into its own sub-folder of `out`.

    nβ and γ are fixed once for all runs (defaults: n/ln n, and γ of the first run's last checkpoint), and the
    noise of each is independent: its key is `key` folded with its name. The checkpoints of all runs share the
    workers and one compilation; calling again resumes, and runs may be added.

    Args:
        folder: the local folder whose sub-folders are runs (seeds or settings).
        model: the loss; see `lltc.sweep`.
        data: the data set of all runs.
        out: the folder of the sweeps, created when missing.
        pattern: which sub-folders are runs, such as "seed*"; default all but hidden ones.
        workers, scheduler, executor, progress: as `lltc.sweep`'s.
        arguments: every other argument of `lltc.sweep`.

    Returns:
        A `Runs`, which maps each name to its `Sweep`.

    Raises:
        InputError: as `lltc.sweep`; for a folder without runs, or a run without checkpoints.

    Example:
        >>> import tempfile, numpy as np, jax.numpy as jnp
        >>> from lltc.checkpoints import save_npz
        >>> loss = lambda params, x: 0.5 * jnp.sum((params["w"] - x) ** 2, -1)
        >>> with tempfile.TemporaryDirectory() as home:
        ...     for run in ("seed0", "seed1"):
        ...         path = save_npz(f"{home}/in/{run}/step_5.npz", {"w": np.ones(2)})
        ...     few = {"num_draws": 100, "num_warmup": 100, "progress": False}
        ...     runs = sweep_runs(f"{home}/in", loss, jnp.zeros((9, 2)), out=f"{home}/out", **few)
        >>> {name: swept.curve.sizes["step"] for name, swept in runs.items()}
        {'seed0': 1, 'seed1': 1}
    """
    engine = choose_engine(workers=workers, scheduler=scheduler, executor=executor)
    home = Path(out)
    with cached_compilation():
        request = make_request(model, data, apart=works_apart(engine), **arguments)
        plans = plan_runs(folder, request, home, pattern=pattern)
        with hold(home):
            store.write_runs(home, [plan.run for plan in plans], plans[0].setup.settings)
            run_plans(plans, engine, progress=progress)
    runs = Runs.open(home)
    reasons = [swept.why_empty for swept in runs.values() if swept.why_empty]
    if len(reasons) == len(runs):
        raise InputError(
            f"folder gave no estimate in any of {len(runs)} runs; the first reason: {reasons[0]}"
        )
    return runs
