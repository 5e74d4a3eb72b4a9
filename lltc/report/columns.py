"""Reads what is drawn out of a curve: columns over the steps, and the plateaus between its transitions."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lltc.errors import InputError

REQUIRED = ("llc", "llc_se", "loss", "status")
DETAILS = ("ess", "rhat", "step_size", "seconds")
TAKEN = (*REQUIRED, *DETAILS, "num_draws")


class Columns(NamedTuple):
    """A curve as arrays of shape (checkpoints,), ordered by step; `details` and `observables` are by name."""

    steps: np.ndarray
    llc: np.ndarray
    llc_se: np.ndarray
    loss: np.ndarray
    status: tuple[str, ...]
    details: dict[str, np.ndarray]
    observables: dict[str, np.ndarray]
    undrawn: tuple[str, ...]
    draws: np.ndarray | None

    @property
    def good(self) -> np.ndarray:
        """True where the status is "ok" and the llc is a number."""
        return np.array([name == "ok" for name in self.status], dtype=bool) & np.isfinite(self.llc)

    def between(self, low: float, high: float) -> np.ndarray:
        """True at the good checkpoints from step `low` to step `high`."""
        return self.good & (self.steps >= low) & (self.steps <= high)


class ShownPlateau(NamedTuple):
    """A stretch between two transitions: the inverse-variance mean of its `checkpoints` good checkpoints."""

    step_low: float
    step_high: float
    llc: float
    llc_se: float
    checkpoints: int


def read_columns(curve: Any) -> Columns:
    """Columns of a curve (an `xarray.Dataset` over `step`), in the order of its steps.

    Raises:
        InputError: a needed variable is missing, is not over `step` alone, or the curve is empty.
    """
    missing = [name for name in ("step", *REQUIRED) if name not in getattr(curve, "variables", ())]
    if missing:
        raise InputError(
            f"curve lacks {', '.join(missing)}; give an xarray.Dataset over the dimension 'step' "
            f"with the variables {', '.join(REQUIRED)}."
        )
    for name in ("step", *REQUIRED):
        if curve[name].dims != ("step",):
            raise InputError(f"curve[{name!r}] has dims {curve[name].dims}; give it the dims ('step',).")
    if curve.sizes["step"] == 0:
        raise InputError("curve has no checkpoints (its dimension 'step' has length 0); give at least one.")
    order = np.argsort(curve["step"].values, kind="stable")

    def column(name: str) -> np.ndarray:
        return np.asarray(curve[name].values, dtype=float)[order]

    names = observable_names(curve)
    flat = [name for name in names if curve[name].dims == ("step",)]
    return Columns(
        steps=column("step"),
        llc=column("llc"),
        llc_se=column("llc_se"),
        loss=column("loss"),
        status=tuple(str(curve["status"].values[i]) for i in order),
        details={name: column(name) for name in DETAILS if name in curve and curve[name].dims == ("step",)},
        observables={name: column(name) for name in flat},
        undrawn=tuple(name for name in names if name not in flat),
        draws=column("num_draws") if "num_draws" in curve and curve["num_draws"].dims == ("step",) else None,
    )


def observable_names(curve: Any) -> list[str]:
    """The names in `curve.attrs["observables"]` that the curve holds (a lone one may be a string)."""
    names = curve.attrs.get("observables", ())
    names = [names] if isinstance(names, str) else [str(name) for name in names]
    return [name for name in names if name in curve and name not in TAKEN]


def measure_plateaus(columns: Columns, transitions: Iterable[Any]) -> list[ShownPlateau]:
    """Mean llc of every stretch between transitions; none where nothing was marked.

    With weights w = 1/se², llc = Σ w llcᵢ / Σ w and llc_se = √(s / Σ w), where s is the larger of 1 and
    χ²/(count - 1): error bars too small for the scatter are widened. Stretches without a good checkpoint are
    left out.
    """
    ordered = sorted(transitions, key=lambda t: t.step_low)
    if not ordered:
        return []
    starts = [-np.inf, *(t.step_high for t in ordered)]
    ends = [*(t.step_low for t in ordered), np.inf]
    usable = np.isfinite(columns.llc_se) & (columns.llc_se > 0)
    described = []
    for start, end in zip(starts, ends, strict=True):
        inside = usable & columns.between(start, end)
        if inside.any():
            mean, se = average(columns.llc[inside], columns.llc_se[inside])
            where = columns.steps[inside]
            described.append(ShownPlateau(float(where[0]), float(where[-1]), mean, se, int(inside.sum())))
    return described


def average(values: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Inverse-variance mean and its standard error, widened where the scatter exceeds the errors."""
    weights = errors**-2.0
    mean = float(np.sum(weights * values) / np.sum(weights))
    scatter = float(np.sum(weights * (values - mean) ** 2)) / max(len(values) - 1, 1)
    return mean, float(np.sqrt(max(scatter, 1.0) / np.sum(weights)))


def prefers_log(steps: np.ndarray) -> bool:
    """True where a logarithmic axis suits: 1.5 decades, half of the steps in the first fifth."""
    if steps.min() < 0 or steps.max() <= 0:
        return False
    first = steps[steps > 0].min()
    return bool(steps.max() / first >= 30 and np.median(steps) < 0.2 * steps.max())


def zero_position(steps: np.ndarray) -> float:
    """Where step 0 stands on a logarithmic axis: a third of the first positive step."""
    positive = steps[steps > 0]
    return float(positive.min()) / 3 if len(positive) else 1.0


def read_known(known: Sequence[Any]) -> list[tuple[float, float, float, str]]:
    """Known plateaus as (step_low, step_high, llc, label).

    Raises:
        InputError: an entry has not four parts, or its first three are not numbers.
    """
    rows = []
    for entry in known:
        try:
            low, high, value, label = entry
            rows.append((float(low), float(high), float(value), str(label)))
        except (TypeError, ValueError):
            raise InputError(
                f"known holds {entry!r}; give every known plateau as (step_low, step_high, llc, label)."
            ) from None
    return rows
