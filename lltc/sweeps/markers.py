"""The markers of a sweep's curve, and of everything else that is measured over the same checkpoints."""

from itertools import combinations
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from lltc.transitions import Transition, find_changes, find_plateaus, find_transitions

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

DRIFT = 0.01  # share of its level by which a plateau may wander without being a transition
ROUNDING = 1e-6  # share of the largest loss that float32 cannot tell from nothing

Markers = dict[str, tuple[Transition, ...]]


class Parting(NamedTuple):
    """Where the learning coefficients of two components part, or merge: a marker of their difference."""

    components: tuple[str, str]
    kind: Literal["part", "merge"]
    marker: Transition


def mark(curve: "Dataset") -> tuple[Transition, ...]:
    """Return the markers of a curve; rows without a finite estimate take no part."""
    return _mark(curve["llc"], curve["llc_se"])


def mark_observables(curve: "Dataset") -> Markers:
    """Return the markers of the loss and of every observable, by name.

    Their noise is that of the curve itself (`lltc.transitions.estimate_noise`), of losses no less than what
    float32 rounds away.
    """
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
    """Return the markers of every component's learning coefficient, by name."""
    if "component" not in curve.dims:
        return {}
    each = {name: curve.sel(component=name) for name in curve["component"].values.tolist()}
    return {name: _mark(found["component_llc"], found["component_llc_se"]) for name, found in each.items()}


def find_partings(curve: "Dataset") -> tuple[Parting, ...]:
    """Return where the difference of two components leaves zero, or comes back to it, in step order.

    A level of the difference is zero within three of its errors, to which 1 % of either component's own level
    belongs.
    """
    names = curve["component"].values.tolist() if "component" in curve.dims else []
    found = [parting for pair in combinations(names, 2) for parting in _part(curve, *pair)]
    return tuple(sorted(found, key=lambda parting: (parting.marker.step_low, parting.components)))


def _part(curve: "Dataset", first: str, second: str) -> list[Parting]:
    a, b = (curve.sel(component=name) for name in (first, second))
    levels = np.stack([found["component_llc"].to_numpy() for found in (a, b)])
    errors = np.stack([found["component_llc_se"].to_numpy() for found in (a, b)])
    drift = DRIFT * np.hypot(*levels)
    error = np.sqrt((errors**2).sum(0) + drift**2)
    good = np.isfinite(levels).all(0) & (errors > 0).all(0)
    line = (curve["step"].to_numpy()[good], (levels[0] - levels[1])[good], error[good])
    plateaus, near = find_plateaus(*line), float(np.median(drift[good])) if good.any() else 0.0
    together = [abs(plateau.level) <= 3 * np.hypot(plateau.se, near) for plateau in plateaus]
    return [
        Parting((first, second), "part" if before else "merge", marker)
        for marker, before, after in zip(find_transitions(*line), together[:-1], together[1:], strict=True)
        if before != after
    ]


def _mark(llc: "DataArray", llc_se: "DataArray") -> tuple[Transition, ...]:
    steps, value, error = (found.to_numpy() for found in (llc["step"], llc, llc_se))
    good = np.isfinite(value) & (error > 0)
    return find_transitions(steps[good], value[good], error[good], floor=DRIFT)
