"""The record of one estimate, and its way to and from a DataTree."""

import json
from dataclasses import dataclass, field, fields
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lltc.diagnostics.assessment import PAIRS, Assessment
from lltc.diagnostics.budget import ErrorBudget
from lltc.diagnostics.measured import Measured
from lltc.diagnostics.status import Status
from lltc.estimates.netcdf import pack_tree
from lltc.estimates.stored import check_result
from lltc.files import write_whole
from lltc.report.wording import measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import DataTree


@dataclass(frozen=True, eq=False, repr=False)
class LLCEstimate(Assessment):
    """λ̂ = nβ(E[L_n] - L_n(w*)) with its error and all that is needed to judge it.

    `llc_se` is one standard error and covers `budget`. Pairs are (value, se). What the draws say stands in
    `Assessment`, whose attributes an estimate has too: llc, llc_se, status, ess, rhat, budget, draws, more.
    `kernel` says whether moves were corrected ("ghmc", "mala") or not, and `nonfinite_share` is the share of
    warm-up steps that left the finite numbers and were undone. `init_loss` is L_n(w*). The second half of the
    chains started hot. `energy` `(chain, draw, half)` are the loss differences of two disjoint half batches,
    `distance` is ‖w - w*‖² and `virial` is (w - w*)·∇L. `num_examples` is n, `example` says what one example
    is, and `findings` are the sentences of the look before the chains, as `lltc.check` gives them, and of a
    deeper region that replicas found.

    `evaluations` counts those of loss and gradient on a batch that all steps took, 0 where nobody counted.
    Where replicas exchanged places, the chains are those of the last of `num_rungs` rungs, and a replica came
    there from the prior `arrivals` times.
    """

    nbeta: float
    localization: float
    init_loss: float
    kernel: str
    step_size: float
    memory: float
    num_params: int
    num_warmup: int
    batch_size: int
    nonfinite_share: float
    seconds: float
    energy: np.ndarray
    distance: np.ndarray
    virial: np.ndarray
    observables: dict[str, np.ndarray] = field(default_factory=dict)
    num_examples: float = 0.0
    example: str = ""
    findings: tuple[str, ...] = ()
    evaluations: int = 0
    num_rungs: int = 1
    arrivals: int = 0

    @property
    def num_chains(self) -> int:
        """The number of chains."""
        return self.draws.shape[0]

    @property
    def num_draws(self) -> int:
        """The number of draws of each chain."""
        return self.draws.shape[1]

    def __repr__(self) -> str:
        return (
            f"LLCEstimate(llc {measured(self.llc, self.llc_se)}, {self.status.name}, {self.num_params} "
            "parameters, "
            f"nβ {self.nbeta:.4g}, γ {self.localization:.3g}, R-hat {self.rhat:.3f}, ESS {self.ess:.0f})"
        )

    def summary(self) -> str:
        """Return a short text: the number, what its error is made of, and how the chains fared."""
        budget = self.budget
        lines = [
            f"λ̂ = {measured(self.llc, self.llc_se)}   ({self.num_params} parameters, loss "
            f"{self.init_loss:.4g} at the checkpoint)",
            f"data        n = {self.num_examples:,g}, one example is {self.example or 'not recorded'}",
            f"posterior   nβ = {self.nbeta:.4g}, γ = {self.localization:.4g}",
            f"error       Monte Carlo {budget.monte_carlo:.2g}, hot–cold {budget.equilibration:.2g}, "
            f"unexplored flat directions {budget.spread:.2g}, minibatch heat {budget.heat:.2g}, "
            f"step size {budget.step_size:.2g}, anchor {budget.anchor:.2g}, rounding {budget.rounding:.1g}; "
            f"control variates left {100 * self.variance_left:.3g} % of the variance",
            f"sensitivity ∂λ̂/∂log nβ = {measured(*self.d_llc_d_log_nbeta)}, "
            f"∂λ̂/∂log γ = {measured(*self.d_llc_d_log_localization)}; "
            f"heat capacity {measured(*self.heat_capacity)}",
            f"chains      {self.num_chains} × {self.num_draws} draws after {self.num_warmup} warm-up steps, "
            f"batch {self.batch_size}, {self.kernel} with "
            f"ε = {self.step_size:.3g}, memory {self.memory:.2g}, acceptance {100 * self.acceptance:.0f} %, "
            f"{100 * self.nonfinite_share:.2g} % of warm-up steps not finite",
            *self._exchange_lines(),
            f"mixing      R-hat {self.rhat:.3f}, ESS {self.ess:.0f}, hot - cold {self.hot_cold_gap:.2g}, "
            f"virial {100 * self.virial_share:.0f} %, stiff directions' temperature "
            f"{measured(*self.stiff_temperature)}, {100 * self.prior_share:.0f} % of the prior's radius²",
            f"status      {self.status.name}: {self.status.value}",
            *(f"found       {finding}" for finding in self.findings),
            f"time        {self.seconds:.1f} s",
        ]
        return "\n".join(lines)

    def _exchange_lines(self) -> list[str]:
        """Return what there is to say of replicas that exchanged places."""
        if self.num_rungs == 1:
            return []
        return [f"exchange    {self.num_rungs} rungs from the prior, {self.arrivals} arrivals from there"]

    def to_datatree(self) -> "DataTree":
        """Return an ArviZ DataTree: draws in `posterior` and `sample_stats`, results in its attributes.

        `LLCEstimate.from_datatree` turns it back into the same estimate.
        """
        from arviz_base import from_dict

        groups: dict[str, dict[str, Any]] = {
            "posterior": {"llc": self.draws, "distance": self.distance},
            "sample_stats": {"energy": self.energy, "virial": self.virial},
        }
        if self.observables:
            groups["observables"] = dict(self.observables)
        # The one convention checked is that there are more draws than chains, which short runs do not keep.
        tree = from_dict(groups, dims={"energy": ["half"]}, check_conventions=False)
        tree.attrs = {name: getattr(self, name) for name in _scalars()}
        tree.attrs |= {
            f"{name}{suffix}": value
            for name in PAIRS
            for suffix, value in zip(("", "_se"), getattr(self, name), strict=True)
        }
        tree.attrs |= {
            "status": self.status.name,
            "kernel": self.kernel,
            "budget": json.dumps(self.budget._asdict()),
            "example": self.example,
            "findings": json.dumps(self.findings),
        }
        return tree

    @classmethod
    def from_datatree(cls, tree: "DataTree") -> Self:
        """Return the estimate a DataTree was made from."""
        known = {name: kind for name, kind in _scalars().items() if name in tree.attrs}
        scalars: dict[str, Any] = {name: kind(tree.attrs[name]) for name, kind in known.items()}
        scalars |= {
            name: Measured(float(tree.attrs[name]), float(tree.attrs[f"{name}_se"])) for name in PAIRS
        }
        observables = (
            {str(name): values.to_numpy() for name, values in tree["observables"].data_vars.items()}
            if "observables" in tree
            else {}
        )
        return cls(
            **scalars,
            kernel=str(tree.attrs["kernel"]),
            status=Status[tree.attrs["status"]],
            budget=ErrorBudget(**json.loads(tree.attrs["budget"])),
            example=str(tree.attrs.get("example", "")),
            findings=tuple(json.loads(tree.attrs.get("findings", "[]"))),
            draws=tree["posterior/llc"].to_numpy(),
            distance=tree["posterior/distance"].to_numpy(),
            energy=tree["sample_stats/energy"].to_numpy(),
            virial=tree["sample_stats/virial"].to_numpy(),
            observables=observables,
        )

    def save(self, path: str | Path) -> None:
        """Write the DataTree to a netCDF4 file at `path`, whole or not at all."""
        write_whole(Path(path), pack_tree(self.to_datatree()))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an estimate back from `save`'s file."""
        from xarray import open_datatree

        check_result(Path(path))
        # From memory: a file system without locks cannot be read by name.
        with open_datatree(BytesIO(Path(path).read_bytes()), engine="h5netcdf") as tree:
            return cls.from_datatree(tree.load())

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the chains' nβ(L - L(w*)), cold and hot apart; matplotlib axes in, axes out."""
        from lltc.report.plots import plot_chains

        return plot_chains(self.draws, hot=np.arange(self.num_chains) >= (self.num_chains + 1) // 2, ax=ax)


def _scalars() -> dict[str, type]:
    """Return the fields of an estimate that are single numbers, and their types."""
    return {item.name: item.type for item in fields(LLCEstimate) if item.type in (int, float)}
