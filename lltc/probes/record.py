"""The record of a probe: what changed between two checkpoints, printed as a table."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lltc.diagnostics.measured import Measured, Pairs
from lltc.estimates.record import LLCEstimate
from lltc.probes.stiffness import Stiffness, StiffnessChange
from lltc.report.wording import measured, number, tenths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

MOST_COMPONENTS = 24
MOST_EXAMPLES = 3
SURE = 4.0


class ComponentChange(NamedTuple):
    """The part of a change that one component carries.

    `delta_llc` is its part of Δλ̂; `stiffened` and `softened` are how much of the directions that became stiff
    or soft lies in it, Σ_v ‖v_C‖², which over disjoint components that are the whole add up to their number;
    `moved` is ‖Δw_C‖; `refined` is the difference of its refined λ̂, it alone moved, where that was asked for.
    """

    delta_llc: float
    delta_llc_se: float
    stiffened: float
    softened: float
    moved: float
    refined: Measured | None = None


@dataclass(frozen=True, eq=False, repr=False)
class ExampleChange:
    """Posterior variances of single examples' losses Var[ℓᵢ], before and after, with standard errors.

    `examples` `(example,)` are indices into the data.
    """

    examples: np.ndarray
    before: Pairs
    after: Pairs

    @property
    def delta(self) -> Pairs:
        """After minus before."""
        return Pairs(self.after.value - self.before.value, np.hypot(self.after.se, self.before.se))

    @property
    def num_changed(self) -> int:
        """How many changed by more than four standard errors."""
        value, se = self.delta
        return int(np.sum(np.abs(value) > SURE * se))

    def most(self, count: int = MOST_EXAMPLES) -> np.ndarray:
        """Return the positions in `examples` of those that changed most, the most first."""
        return np.argsort(-np.abs(self.delta.value), kind="stable")[:count]

    def __repr__(self) -> str:
        shown = ", ".join(
            f"#{self.examples[at]} {self.before.value[at]:.2g} → "
            f"{measured(float(self.after.value[at]), float(self.after.se[at]))}"
            for at in self.most()
        )
        return (
            f"{self.num_changed:,} of {len(self.examples):,} fluctuate differently by more than four errors; "
            f"most: {shown}"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Probe:
    """What changed between two checkpoints; see `lltc.probe`.

    `before` and `after` are the estimates, at one nβ and one γ. `stiffness_before` and `stiffness_after` hold
    the spectra, `change` the directions that stiffened and softened, `by_component` each component's part,
    `examples` the fluctuations of single losses (None for a model of means, under weights and weight decay).
    The weights moved by `moved_inside` in the span of the directions that stiffened or softened and by
    `moved_outside` across it.
    What the directions tell is NaN where the chains of either checkpoint diverged or were stopped.
    """

    before: LLCEstimate
    after: LLCEstimate
    by_component: dict[str, ComponentChange]
    stiffness_before: Stiffness
    stiffness_after: Stiffness
    change: StiffnessChange
    examples: ExampleChange | None
    moved_inside: float
    moved_outside: float
    seconds: float = field(default=np.nan)

    @property
    def delta_llc(self) -> float:
        """λ̂ after minus λ̂ before."""
        return self.after.llc - self.before.llc

    @property
    def delta_llc_se(self) -> float:
        """The standard error of `delta_llc`, both errors added in squares."""
        return float(np.hypot(self.before.llc_se, self.after.llc_se))

    @property
    def num_stiffened(self) -> float:
        """How many directions became stiff; NaN where the chains of either diverged or were stopped."""
        return self.change.num_stiffened

    @property
    def num_softened(self) -> float:
        """How many directions became soft, or NaN likewise."""
        return self.change.num_softened

    @property
    def participation(self) -> float:
        """To how many directions the change of stiffness amounts, (Σ|c|)²/Σc²."""
        return self.change.participation

    @property
    def param_participation(self) -> float:
        """To how many parameters the change of stiffness amounts."""
        return self.change.param_participation

    def __repr__(self) -> str:
        before, after, change = self.stiffness_before, self.stiffness_after, self.change
        bound = " (at least; more directions may be stiff than were looked at)" if change.lower_bound else ""
        lines = [
            f"Probe(Δλ̂ {measured(self.delta_llc, self.delta_llc_se)}: "
            f"{self.before.llc:.4g} → {self.after.llc:.4g}, "
            f"{self.before.status.name} → {self.after.status.name}, nβ {self.after.nbeta:.4g}, "
            f"γ {self.after.localization:.3g})",
            f"  stiff     {number(before.num_stiff)} → {number(after.num_stiff)} of "
            f"{len(before.directions):,} directions: {number(self.num_stiffened)} stiffened, "
            f"{number(self.num_softened)} softened{bound}",
            f"  locality  the change amounts to {tenths(self.participation)} directions, spread over "
            f"{tenths(self.param_participation)} parameters",
            f"  moved     {number(self.moved_inside, 3)} inside the changed directions, "
            f"{number(self.moved_outside, 3)} outside",
        ]
        if self.examples is not None:
            lines.append(f"  examples  {self.examples!r}")
        return "\n".join([*lines, *self._table()])

    def _table(self) -> list[str]:
        head = ["component", "Δλ̂", "stiffened", "softened", "moved"]
        refined = any(part.refined for part in self.by_component.values())
        rows = [head + ["refined Δλ̂"] * refined]
        for name, part in list(self.by_component.items())[:MOST_COMPONENTS]:
            row = [name, measured(part.delta_llc, part.delta_llc_se)]
            row += [number(value, 3) for value in (part.stiffened, part.softened, part.moved)]
            rows.append(row + ([measured(*part.refined)] if part.refined else []))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        left = len(self.by_component) - MOST_COMPONENTS
        table = ["  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
        return [line.rstrip() for line in table] + ([f"  … and {left} more"] if left > 0 else [])

    def to_dataset(self) -> "Dataset":
        """Return all results over the dimensions checkpoint, component, direction and example.

        Errors end in _se. Directions are those of each checkpoint's own Hessian, the stiffest first.
        """
        from xarray import Dataset

        columns: dict[str, Any] = {
            name: ("component", np.array([getattr(part, name) for part in self.by_component.values()]))
            for name in ComponentChange._fields[:-1]
        }
        columns = {f"component_{name}": values for name, values in columns.items()}
        both = (self.stiffness_before, self.stiffness_after)
        dims = ("checkpoint", "direction")
        columns["llc"] = ("checkpoint", np.array([self.before.llc, self.after.llc]))
        columns["llc_se"] = ("checkpoint", np.array([self.before.llc_se, self.after.llc_se]))
        columns["num_stiff"] = ("checkpoint", np.array([stiffness.num_stiff for stiffness in both], float))
        columns["curvature"] = (dims, np.stack([stiffness.curvature for stiffness in both]))
        columns["variance"] = (dims, np.stack([stiffness.variance.value for stiffness in both]))
        columns["variance_se"] = (dims, np.stack([stiffness.variance.se for stiffness in both]))
        scalars = ("delta_llc", "delta_llc_se", "num_stiffened", "num_softened", "participation")
        scalars += ("param_participation", "moved_inside", "moved_outside")
        columns |= {name: getattr(self, name) for name in scalars}
        coords: dict[str, Any] = {"checkpoint": ["before", "after"], "component": list(self.by_component)}
        if self.examples is not None:
            pairs = (self.examples.before, self.examples.after)
            over = ("checkpoint", "example")
            columns["loss_variance"] = (over, np.stack([pair.value for pair in pairs]))
            columns["loss_variance_se"] = (over, np.stack([pair.se for pair in pairs]))
            coords["example"] = self.examples.examples
        attrs = {"nbeta": self.after.nbeta, "localization": self.after.localization}
        return Dataset(columns, coords=coords, attrs=attrs)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the spectra before and after, direction by direction; matplotlib axes in, axes out."""
        from lltc.report.directions import plot_spectra

        return plot_spectra(self, ax=ax)
