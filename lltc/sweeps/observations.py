"""Looking at checkpoints without any chain: loss, gradient norm, weight norm and observables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError, shown
from lltc.posterior.checks import hashable
from lltc.posterior.data import Data, as_data
from lltc.posterior.layout import (
    Center,
    Layout,
    assemble,
    center_leaves,
    center_vector,
    flatten_leaves,
    locate,
)
from lltc.posterior.tokens import example_losses
from lltc.sweeps.jobs.observables import (
    Function,
    Observables,
    SubLoss,
    Value,
    evaluate,
    name_observables,
    spread,
    task_loss,
)
from lltc.sweeps.jobs.sources import Checkpoints, Task, brought_near, make_tasks
from lltc.sweeps.reading.curve_markers import Markers, mark_observables
from lltc.types import LossFn, PyTree

if TYPE_CHECKING:
    from xarray import Dataset

GLANCE = 2048
NORMS = ("gradient_norm", "weight_norm")
NAN = float("nan")


@dataclass(frozen=True, eq=False, repr=False)
class Observations:
    """What checkpoints show without chains: `curve` is an `xarray.Dataset` over `step`, a variable each.

    `reason` says why a checkpoint, or one of its observables, has no value.
    """

    curve: "Dataset"

    @cached_property
    def transitions(self) -> Markers:
        """The markers of each variable, by name, as those of `Sweep.observable_transitions`."""
        return mark_observables(self.curve)

    def __repr__(self) -> str:
        from lltc.report import list_changes, list_columns, list_reasons

        rows = list_columns(self.curve, [str(name) for name in self.curve.data_vars if name != "reason"])
        parts = ["\n".join(lines) for lines in (list_reasons(self.curve), list_changes(self.transitions))]
        return "\n\n".join([rows, *filter(None, parts)])

    def to_csv(self, path: str | Path) -> None:
        """Write the curve, a row a checkpoint."""
        self.curve.to_dataframe().to_csv(path)


def observe(
    checkpoints: Checkpoints,
    model: LossFn,
    data: PyTree | Data,
    *,
    observables: Observables | None = None,
    examples: int = GLANCE,
    params_key: str | None = None,
    template: PyTree | None = None,
    loader: Callable[[Path], PyTree] | None = None,
    transpose: Literal["torch"] | None = None,
    ignore: str | Sequence[str] | None = None,
) -> Observations:
    """Evaluate observables at every checkpoint, without any chain, and mark where each changes.

    Beside them stand the loss L and the norm of its gradient on evenly spaced `examples`, and the norm of the
    weights. Nothing is written. A checkpoint that cannot be read becomes a row of NaN with its reason.

    Args:
        checkpoints: as for `lltc.sweep`.
        model: the loss; a behavioral one shows its task's loss, or none.
        data: the data set.
        observables: as for `lltc.sweep`.
        examples: the most examples that loss and gradient are averaged over; default 2048.
        params_key: as for `lltc.sweep`, like template, loader, transpose and ignore.

    Returns:
        An `Observations` with `curve` and `transitions`.

    Raises:
        InputError: for arguments that cannot be worked with, or when no checkpoint could be read.

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.sum((w - x) ** 2, -1)
        >>> pairs = [(step, jnp.full(2, float(step))) for step in (0, 1, 2)]
        >>> seen = observe(pairs, loss, jnp.zeros((9, 2)), observables={"ones": jnp.ones((3, 2))})
        >>> seen.curve["loss"].values.tolist(), seen.curve["ones"].values.tolist()
        ([0.0, 1.0, 4.0], [1.0, 0.0, 1.0])
    """
    if isinstance(examples, bool) or not isinstance(examples, int | np.integer) or examples < 1:
        raise InputError(
            f"examples must be an integer ≥ 1, but {shown(examples)} was given; pass the most examples that "
            "loss and gradient are averaged over."
        )
    reading = {"params_key": params_key, "loader": loader, "transpose": transpose, "ignore": ignore}
    tasks = make_tasks(checkpoints, reading)
    template = getattr(model, "params", None) if template is None else template
    data = as_data(data)
    functions = name_observables(observables, model, data)
    looks = look_at(tasks, model, data, template, functions, examples=examples)
    if not any(values for values, _ in looks):
        raise InputError(f"checkpoints could not be read at any step; the first reason: {looks[0][1]}")
    return Observations(_make_curve(tasks, looks, functions))


def look_at(
    tasks: Iterable[Task],
    model: LossFn,
    data: Data,
    template: PyTree | None,
    functions: Mapping[str, Function],
    *,
    examples: int = GLANCE,
) -> list[tuple[dict[str, Value], str]]:
    """Return what each checkpoint shows, by name, and what went wrong there."""
    rows = np.unique(np.linspace(0, data.size - 1, min(examples, data.size)).astype(int))
    batch = jax.tree.map(jnp.asarray, data.batch(rows))
    loss = task_loss(model)
    loss = loss if loss is None else hashable(loss)
    return [_look(task, loss, template, batch, functions) for task in tasks]


def _look(
    task: Task,
    loss: LossFn | None,
    template: PyTree | None,
    batch: PyTree,
    functions: Mapping[str, Function],
) -> tuple[dict[str, Value], str]:
    try:
        with brought_near(task) as near:
            params = near.load(template)
        layout, center = locate(params)
        values: dict[str, Value] = {"weight_norm": float(jnp.linalg.norm(center_vector(layout, center)))}
        if loss is not None:
            value, slope = _loss_and_slope(loss, layout, center, batch)
            values |= {"loss": float(value), "gradient_norm": float(slope)}
    except Exception as error:  # One bad checkpoint must not hide the others.
        return {}, _reason("checkpoint", error)
    wrong = []
    for name, function in functions.items():
        try:
            values[name] = evaluate(name, function, params)
        except Exception as error:
            wrong.append(_reason(f"observables[{name!r}]", error))
    return values, "; ".join(wrong)


@partial(jax.jit, static_argnums=(0, 1))
def _loss_and_slope(
    loss: Callable, layout: Layout, center: Center, batch: PyTree
) -> tuple[jax.Array, jax.Array]:
    mean_loss = lambda moved: jnp.mean(example_losses(loss(assemble(layout, center, moved), batch)))
    value, gradient = jax.value_and_grad(mean_loss)(center_leaves(layout, center))
    return value, jnp.linalg.norm(flatten_leaves(center, gradient))


def _make_curve(
    tasks: Iterable[Task], observations: list[tuple[dict[str, Value], str]], functions: Mapping[str, Function]
) -> "Dataset":
    from xarray import Dataset

    columns: dict[str, Any] = {}
    norms = [name for name in NORMS if any(name in values for values, _ in observations)]
    for name in ("loss", *norms, *functions):
        columns |= spread(name, [values.get(name, NAN) for values, _ in observations])
    observed = [name for name in columns if name != "loss"]
    columns["reason"] = np.array([reason for _, reason in observations], dtype=object)
    curve = Dataset(
        {name: ("step", values) for name, values in columns.items()},
        coords={"step": [task.step for task in tasks]},
        attrs={"observables": observed},
    )
    for name, function in functions.items():
        if isinstance(function, SubLoss):
            curve[name].attrs["units"] = "nats"
    return curve


def _reason(what: str, error: Exception) -> str:
    return f"{what} failed ({type(error).__name__}: {' '.join(str(error).split())})"
