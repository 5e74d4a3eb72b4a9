"""What a page shows of one run, as it is given and as it is read."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lltc.errors import InputError
from lltc.report.columns import Columns, ShownPlateau, measure_plateaus, read_columns


class Exhibit(NamedTuple):
    """One run for a page.

    Attributes:
        curve: an `xarray.Dataset` over `step` with llc, llc_se, loss and status; what else is shown of it is
            told by `lltc.report.write_report`.
        transitions: objects with step_low, step_high, delta_llc, delta_llc_se, kind and probability.
        changes: probability of a change in each interval, shape (checkpoints - 1,), NaN where unknown.
        chains: energies nβ(L - L*) by step, each of shape (chain, draw).
        hot: one truth value a chain, True where it started hot; all cold where None.
        details: further numbers of a checkpoint by step, each a mapping of names to text.
        marks: where the loss and the observables change, by name: objects with step_low, step_high and kind.
        component_marks: the transitions of every component, by name; the curve then has component_llc and
            component_llc_se over (component, step).
    """

    curve: Any
    transitions: Sequence[Any] = ()
    changes: Any = None
    chains: Mapping[Any, Any] | None = None
    hot: Sequence[bool] | None = None
    details: Mapping[Any, Mapping[str, str]] | None = None
    marks: Mapping[str, Sequence[Any]] | None = None
    component_marks: Mapping[str, Sequence[Any]] | None = None


class Member(NamedTuple):
    """One component of a run: llc and llc_se of shape (checkpoints,), and its transitions."""

    name: str
    llc: np.ndarray
    llc_se: np.ndarray
    transitions: list[Any]


class Part(NamedTuple):
    """One run as read: `chains` and `details` in the order of its checkpoints."""

    name: str
    columns: Columns
    transitions: list[Any]
    plateaus: list[ShownPlateau]
    changes: np.ndarray | None
    chains: list[np.ndarray | None] | None
    hot: list[bool]
    details: list[Mapping[str, str]]
    marks: Mapping[str, Sequence[Any]]
    members: list[Member]


def read_exhibit(name: str, exhibit: Exhibit) -> Part:
    """Read one run.

    Raises:
        InputError: the curve lacks a variable, or changes, chains, hot or details do not fit it.
    """
    columns = read_columns(exhibit.curve)
    chains = None if not exhibit.chains else list_chains(columns, exhibit.chains)
    details: Any = exhibit.details or {}
    by_step = {float(step): entry for step, entry in details.items()}
    return Part(
        name=name,
        columns=columns,
        transitions=sorted(exhibit.transitions, key=lambda t: t.step_low),
        plateaus=measure_plateaus(columns, exhibit.transitions),
        changes=read_changes(columns, exhibit.changes),
        chains=chains,
        hot=mark_hot(chains or [], exhibit.hot),
        details=[by_step.get(float(step), {}) for step in columns.steps],
        marks=exhibit.marks or {},
        members=read_members(exhibit.curve, exhibit.component_marks or {}),
    )


def read_members(curve: Any, marks: Mapping[str, Sequence[Any]]) -> list[Member]:
    """The components of a curve, in the order of its steps; none where it has no component_llc."""
    if "component_llc" not in curve:
        return []
    order = np.argsort(curve["step"].values, kind="stable")
    table = curve[["component_llc", "component_llc_se"]].transpose("component", "step").isel(step=order)
    llc, se = (np.asarray(table[name].values, dtype=float) for name in table)
    names = [str(name) for name in curve["component"].values]
    return [Member(*row, list(marks.get(row[0], ()))) for row in zip(names, llc, se, strict=True)]


def read_changes(columns: Columns, changes: Any) -> np.ndarray | None:
    """Probabilities of a change, one an interval.

    Raises:
        InputError: another number of them.
    """
    if changes is None:
        return None
    changes = np.asarray(changes, dtype=float)
    if changes.shape != (len(columns.steps) - 1,):
        raise InputError(
            f"changes has shape {changes.shape} for {len(columns.steps)} checkpoints; give one probability "
            "an interval."
        )
    return changes


def list_chains(columns: Columns, chains: Mapping[Any, Any]) -> list[np.ndarray | None]:
    """The chains of every checkpoint; None where none were given or one is not finite.

    Raises:
        InputError: a step is not on the curve, or an array is not (chain, draw).
    """
    steps = {float(step): i for i, step in enumerate(columns.steps)}
    listed: list[np.ndarray | None] = [None] * len(columns.steps)
    for step, given in chains.items():
        array = np.asarray(given, dtype=float)
        if float(step) not in steps:
            raise InputError(
                f"chains holds step {step}, which is not on the curve; give only the curve's steps."
            )
        if array.ndim != 2 or 0 in array.shape:
            raise InputError(
                f"chains[{step}] has shape {array.shape}; give a non-empty array of shape (chain, draw)."
            )
        if np.isfinite(array).all():
            listed[steps[float(step)]] = array
    return listed


def mark_hot(chains: Sequence[np.ndarray | None], hot: Sequence[bool] | None) -> list[bool]:
    """Which chains are hot, the same for every checkpoint; all cold where None.

    Raises:
        InputError: another number of truth values than of chains.
    """
    count = max((len(trace) for trace in chains if trace is not None), default=0)
    marks = [False] * count if hot is None or not chains else [bool(h) for h in hot]
    if len(marks) != count:
        raise InputError(
            f"hot has {len(marks)} truth values for {count} chains; give one truth value a chain."
        )
    return marks
