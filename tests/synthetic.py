"""Sweeps made of numbers alone: curves with changes at known checkpoints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lltc import Sweep
from lltc.sweeps.reading.curve_markers import mark
from lltc.sweeps.store.settings import SweepSettings


def staircase(count: int, changes: Mapping[int, float], *, start: float = 1.0) -> np.ndarray:
    """Return a curve of `count` points that changes by so much from each place given on."""
    return np.full(count, start) + sum(change * (np.arange(count) >= at) for at, change in changes.items())


def make_settings(**values: Any) -> SweepSettings:
    """Return settings that say nothing but `values`."""
    empty: dict[str, Any] = {"model": "", "data": "", "num_examples": 0, "along_chains": None}
    objects = ("options", "given", "reading", "jax", "versions", "observables", "components")
    empty |= {name: {} for name in objects} | {"key": [], "sub_losses": []} | values
    return SweepSettings(**empty)


def make_sweep(
    changes: Mapping[int, float],
    observables: Mapping[str, Mapping[int, float]] | None = None,
    components: Mapping[str, Mapping[int, float]] | None = None,
    *,
    count: int = 40,
    noise: float = 0.05,
    seed: int = 0,
    steps: Sequence[int] | None = None,
    name: str = "run",
) -> Sweep:
    """Return a sweep whose llc, observables and components change as told, with noise of its own in each."""
    rng = np.random.default_rng(seed)
    measure = lambda told: staircase(count, told) + noise * rng.normal(size=count)
    error = np.full(count, noise)
    columns = {"llc": measure(changes), "llc_se": error, "loss": np.full(count, np.nan)}
    columns |= {key: measure(told) for key, told in (observables or {}).items()}
    data = {key: ("step", values) for key, values in columns.items()}
    data["status"] = ("step", np.full(count, "ok", dtype=object))
    curve = xr.Dataset(data, {"step": list(steps or range(0, 10 * count, 10))})
    curve.attrs["observables"] = list(observables or {})
    if components:
        curve["component"] = list(components)
        levels = np.array([measure(told) for told in components.values()])
        curve["component_llc"] = (("component", "step"), levels)
        curve["component_llc_se"] = (("component", "step"), np.full(levels.shape, noise))
        curve["component_status"] = (("component", "step"), np.full(levels.shape, "ok", dtype=object))
    options = {"num_chains": 4, "nbeta": 100.0, "localization": 1.0}
    settings = make_settings(options=options, components=dict.fromkeys(components or {}, ""))
    return Sweep(Path(name), settings, curve, mark(curve))
