"""The markers of a sweep's curve, and of everything else that is measured over the same checkpoints."""

from typing import TYPE_CHECKING

import numpy as np

from lltc.transitions import Transition, find_changes, find_transitions

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

DRIFT = 0.01  # share of its level by which a plateau may wander without being a transition
ROUNDING = 1e-6  # share of the largest loss that float32 cannot tell from nothing

Markers = dict[str, tuple[Transition, ...]]


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


def _mark(llc: "DataArray", llc_se: "DataArray") -> tuple[Transition, ...]:
    steps, value, error = (found.to_numpy() for found in (llc["step"], llc, llc_se))
    good = np.isfinite(value) & (error > 0)
    return find_transitions(steps[good], value[good], error[good], floor=DRIFT)
