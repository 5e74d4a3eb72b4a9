"""The markers of a sweep's curve, and of everything else that is measured over the same checkpoints."""

from itertools import combinations
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lltc.transitions import Transition, find_changes, find_transitions
from lltc.transitions.markers import Criteria, find_markers

if TYPE_CHECKING:
    from xarray import Dataset

DRIFT = 0.01  # share of its level by which a plateau may wander without being a transition
REPEATED = "repeated"  # status of a checkpoint whose weights lie at another step, too
EXACT = 1e-3  # share of the highest level below which an error no longer matters to a marker
ROUNDING = 1e-6  # share of the largest loss that float32 cannot tell from nothing

Markers = dict[str, tuple[Transition, ...]]


class Parting(NamedTuple):
    """Where the learning coefficients of two components part, or merge: a marker of their difference."""

    components: tuple[str, str]
    kind: Literal["part", "merge"]
    marker: Transition


def mark(curve: "Dataset", coordinate: str = "step") -> tuple[Transition, ...]:
    """Return the markers of a curve over a coordinate; rows without a finite estimate take no part."""
    return _mark(*marked_columns(curve, coordinate))


def marked_columns(curve: "Dataset", coordinate: str = "step") -> tuple[NDArray, NDArray, NDArray]:
    """Return coordinate, llc and error of the rows that make markers, errors as they count there."""
    steps, llc, llc_se = (curve[name].to_numpy() for name in (coordinate, "llc", "llc_se"))
    good = np.isfinite(measured_only(llc, llc_se)) & _is_own(curve)
    return steps[good], llc[good], _as_counted(llc[good], llc_se[good])


def measured_only(llc: NDArray, llc_se: NDArray) -> NDArray:
    """Return llc with NaN where its error is no finite number > 0: nothing was measured there."""
    return np.where(np.isfinite(llc_se) & (llc_se > 0), llc, np.nan)


def mark_observables(curve: "Dataset") -> Markers:
    """Return the markers of the loss and of every observable, by name.

    Their noise is that of the curve itself (`lltc.transitions.estimate_noise`), of losses no less than what
    float32 rounds away.
    """
    curve = curve.isel(step=np.flatnonzero(_is_own(curve)))
    steps, loss = curve["step"].to_numpy(), curve["loss"].to_numpy()
    least = ROUNDING * float(np.max(np.abs(loss[np.isfinite(loss)]), initial=0.0))
    return {
        name: find_changes(
            steps,
            curve[name].to_numpy(),
            least=least if name == "loss" or curve[name].attrs.get("units") == "nats" else 0.0,
            floor=DRIFT,
        )
        for name in ("loss", *curve.attrs["observables"])
    }


def mark_components(curve: "Dataset") -> Markers:
    """Return the markers of every component's learning coefficient, by name.

    An error of zero counts here: a component that does not act has exactly zero.
    """
    if "component" not in curve.dims:
        return {}
    marked = {}
    for name in curve["component"].values.tolist():
        table = curve.sel(component=name)
        columns = [table[part].to_numpy() for part in ("step", "component_llc", "component_llc_se")]
        good = np.isfinite(columns[1]) & np.isfinite(columns[2]) & _is_own(curve)
        marked[name] = _mark(*(column[good] for column in columns))
    return marked


def find_partings(curve: "Dataset") -> tuple[Parting, ...]:
    """Return where the difference of two components leaves zero, or comes back to it, in step order.

    A level of the difference is zero within three of its errors, to which 1 % of the two components' highest
    level belongs.
    """
    names = curve["component"].values.tolist() if "component" in curve.dims else []
    partings = [parting for pair in combinations(names, 2) for parting in _part(curve, *pair)]
    return tuple(sorted(partings, key=lambda parting: (parting.marker.step_low, parting.components)))


def _is_own(curve: "Dataset") -> NDArray[np.bool_]:
    """False at checkpoints whose weights lie at another step, too: where they belong is not known."""
    if "status" not in curve:
        return np.ones(curve.sizes.get("step", 1), bool)
    return curve["status"].to_numpy() != REPEATED


def _part(curve: "Dataset", first: str, second: str) -> list[Parting]:
    a, b = (curve.sel(component=name) for name in (first, second))
    levels = np.stack([table["component_llc"].to_numpy() for table in (a, b)])
    errors = np.stack([table["component_llc_se"].to_numpy() for table in (a, b)])
    good = np.isfinite(levels).all(0) & np.isfinite(errors).all(0) & _is_own(curve)
    near = DRIFT * np.max(np.abs(levels[:, good]), initial=0.0)
    if near == 0:
        return []
    error = np.sqrt((errors[:, good] ** 2).sum(0) + near**2)
    line = (curve["step"].to_numpy()[good], (levels[0] - levels[1])[good], error)
    markers, plateaus = find_markers(*line, Criteria())
    together = [abs(plateau.level) <= 3 * np.hypot(plateau.se, near) for plateau in plateaus]
    return [
        Parting((first, second), "part" if before else "merge", marker)
        for marker, before, after in zip(markers, together[:-1], together[1:], strict=True)
        if before != after
    ]


def _mark(steps: NDArray, llc: NDArray, llc_se: NDArray) -> tuple[Transition, ...]:
    return find_transitions(steps, llc, _as_counted(llc, llc_se), floor=DRIFT) if np.any(llc) else ()


def _as_counted(llc: NDArray, llc_se: NDArray) -> NDArray:
    return np.maximum(llc_se, EXACT * np.max(np.abs(llc), initial=0.0))
