"""Sweeps along any coordinate: number of examples, sparsity, temperature, a mixture, a deformed loss."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import jax
import numpy as np

from lltc.chains.streams import as_key
from lltc.compilation import cached_compilation
from lltc.errors import InputError, shown
from lltc.estimates.record import LLCEstimate
from lltc.posterior.data import Data
from lltc.sweeps.driver import run_plans
from lltc.sweeps.engines.local import choose_engine
from lltc.sweeps.jobs.plan import Plan, plan_sweep, run_key
from lltc.sweeps.jobs.request import make_request
from lltc.sweeps.reading.curve_markers import mark
from lltc.sweeps.record import Sweep
from lltc.sweeps.runs import Runs
from lltc.sweeps.store import folder as store
from lltc.sweeps.store.lock import hold
from lltc.transitions import Transition
from lltc.types import LossFn, PyTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

COLUMNS = ("llc", "llc_se", "loss", "ess", "rhat", "seconds", "status", "reason")


class Point(NamedTuple):
    """What is estimated at one value of a coordinate; `options` are further arguments of `estimate_llc`."""

    params: PyTree
    model: LossFn
    data: PyTree | Data
    options: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, eq=False, repr=False)
class PathSweep:
    """The learning coefficient along a coordinate.

    `curve` is an `xarray.Dataset` over the coordinate, with llc, llc_se, loss, status and more; `transitions`
    are its markers, whose steps are values of the coordinate.
    """

    out: Path
    coordinate: str
    curve: "Dataset"
    transitions: tuple[Transition, ...]
    sweeps: dict[float, Sweep] = field(default_factory=dict)

    @classmethod
    def open(cls, out: str | Path) -> Self:
        """Rebuild a path from its folder, finished or not; `InputError` when `out` holds none."""
        runs = Runs.open(out)
        named = [name.rpartition("=") for name in runs]
        coordinate, values = named[0][0], _as_values([value for _, _, value in named])
        if not values or not coordinate or {name for name, _, _ in named} != {coordinate}:
            raise InputError(
                f"out={str(out)!r} holds several runs, but no path; pass a folder that lltc.sweep_path wrote."
            )
        sweeps = dict(sorted(zip(values, runs.values(), strict=True), key=lambda pair: pair[0]))
        curve = _join(coordinate, sweeps)
        return cls(Path(out), coordinate, curve, mark(curve, coordinate), sweeps)

    def __repr__(self) -> str:
        doubtful = int(np.sum(self.curve["status"].to_numpy() != "ok"))
        return (
            f"PathSweep({str(self.out)!r}, {len(self.sweeps)} values of {self.coordinate}, {doubtful} not "
            f"ok, {len(self.transitions)} transitions)"
        )

    def estimate(self, value: float) -> LLCEstimate:
        """Return the whole estimate at one value of the coordinate, chains included."""
        if value not in self.sweeps:
            raise InputError(
                f"value={value!r} is none of the path's, which are {', '.join(map(str, self.sweeps))}; pass "
                "one of these."
            )
        return self.sweeps[value].estimate(0)

    def plot(self, ax: "Axes | None" = None, **options: Any) -> "Axes":
        """Draw llc over the coordinate with error bars and markers; matplotlib axes in, axes out."""
        from lltc.report import plot_curve

        axes = plot_curve(self.curve.rename({self.coordinate: "step"}), self.transitions, ax=ax, **options)
        axes.set_xlabel(self.coordinate)
        return axes


def sweep_path(
    at: Callable[[float], Point | tuple],
    values: Sequence[float],
    *,
    out: str | Path,
    coordinate: str = "h",
    key: jax.Array | int = 0,
    localization: float | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    executor: Executor | None = None,
    progress: bool = True,
    **options: Any,
) -> PathSweep:
    """Estimate the learning coefficient along any coordinate, not only training: resumable, with markers.

    At each value, `at(value)` says what to estimate: params, model, data and, if need be, options such as
    nbeta. The coordinate may be the number of examples, sparsity, the temperature, the weight h of a mixture
    of data (1 - h)q + hq', or of a term of the loss: does a germ break into simpler ones as h grows? The
    noise at every value is independent.

    Every value is compiled anew where `at` makes a new function. A coordinate that lies in the data, or in
    the params with `restrict` to the others, keeps one compilation: see the example.

    Args:
        at: function of the coordinate, returning a `Point` or `(params, model, data[, options])`.
        values: values of the coordinate, each once; they are the curve's axis in rising order.
        out: the folder of the results, created when missing.
        coordinate: its name, for folders and axes; no name of what is measured.
        key: JAX key or int.
        localization: γ at every value; default that of the point of the smallest value.
        workers, scheduler, executor, progress: as `lltc.sweep`'s.
        options: every other argument of `lltc.sweep`, such as nbeta (default n/ln n of each point's data),
            num_draws, restrict or observables.

    Returns:
        A `PathSweep` with `curve`, `transitions`, `estimate(value)` and `plot`.

    Raises:
        InputError: as `lltc.sweep`; for values that are not finite numbers, or given twice, and for a
        coordinate that names no folder and axis.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> loss = lambda p, x: (p["w"] ** 4 + p["h"] * p["w"] ** 2) * jnp.ones(len(x))
        >>> at = lambda h: Point({"w": jnp.zeros(()), "h": jnp.float32(h)}, loss, jnp.zeros(9))
        >>> options = {"restrict": "w", "nbeta": 1e3, "localization": 1.0, "progress": False}
        >>> with tempfile.TemporaryDirectory() as out:
        ...     path = sweep_path(at, [0.0, 1.0], out=out, num_draws=1000, **options)
        >>> path.curve["llc"].values.round(1)  # from 1/4 to 1/2
        array([0.2, 0.5])
    """
    numbers = _check_values(values)
    _check_coordinate(coordinate, options.get("observables"))
    engine = choose_engine(workers=workers, scheduler=scheduler, executor=executor)
    home, plans = Path(out), []
    with cached_compilation():
        for number in numbers:
            point = _point(at, number)
            options_here: dict[str, Any] = {"localization": localization, **options, **point.options}
            name = f"{coordinate}={number!r}"
            request = make_request(point.model, point.data, key=run_key(as_key(key), name), **options_here)
            plan = plan_sweep([(0, point.params)], request, home / name)
            localization = plan.setup.options["localization"] if localization is None else localization
            plans.append(Plan(name, plan.setup, plan.tasks))
        with hold(home):
            store.write_runs(home, [plan.run for plan in plans], plans[0].setup.settings)
            run_plans(plans, engine, progress=progress)
    return PathSweep.open(home)


def _check_values(values: Sequence[float]) -> list[float]:
    numbers = sorted(_as_values(values))
    if not numbers:
        raise InputError(
            f"values must be different finite numbers, at least one, but {shown(values)} was given; pass "
            "such a sequence."
        )
    return numbers


def _as_values(values: Sequence[Any]) -> list[float]:
    """Return values as different finite numbers; none where they are no such."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return []
    return numbers if np.isfinite(numbers).all() and len(set(numbers)) == len(numbers) else []


def _check_coordinate(coordinate: str, observables: Any) -> None:
    """Refuse what cannot name a folder and an axis, or names a variable of the curve."""
    taken = {*COLUMNS, *(observables if isinstance(observables, Mapping) else ())}
    if not isinstance(coordinate, str) or coordinate in ("", *taken) or {"/", "\0"} & {*coordinate}:
        raise InputError(
            f"coordinate must be a text without a slash that names no variable of the curve, but "
            f"{shown(coordinate)} was given; pass another, such as 'h'."
        )


def _point(at: Callable[[float], Point | tuple], value: float) -> Point:
    made: Any = at(value)
    try:
        return Point(*made)
    except TypeError:
        raise InputError(
            f"at({value!r}) returned {type(made).__name__}, but a lltc.Point or (params, model, data[, "
            "options]) is allowed; return one of these."
        ) from None


def _join(coordinate: str, sweeps: dict[float, Sweep]) -> "Dataset":
    """Return one dataset over the coordinate; a value not yet estimated is left out."""
    from xarray import Dataset

    done = {value: swept.curve.isel(step=0) for value, swept in sweeps.items() if swept.curve.sizes["step"]}
    observed = next(iter(done.values())).attrs["observables"] if done else []
    columns = {
        name: (coordinate, np.array([row[name].item() for row in done.values()]))
        for name in (*COLUMNS, *observed)
    }
    return Dataset(columns, coords={coordinate: list(done)}, attrs={"observables": observed})
