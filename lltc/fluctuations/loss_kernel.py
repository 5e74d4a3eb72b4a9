"""How single examples' losses fluctuate together: the loss kernel, influence, and attribution."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lltc.diagnostics.covariances import Stream, covariance_series
from lltc.diagnostics.measured import Measured, Pairs, over_chains
from lltc.fluctuations.readings import Readings
from lltc.posterior.examples import Followed

if TYPE_CHECKING:
    from xarray import Dataset


@dataclass(frozen=True, eq=False, repr=False)
class LossKernel:
    """Covariances of examples' losses over the local posterior; every entry is (value, se).

    `examples` `(example,)` and `rows` `(row,)` are indices into the data.

    `values` `(row, example)` is K_ij = Cov(ℓ_i, ℓ_j); `variance` `(example,)` its diagonal; `mean`
    `(example,)` is Cov(ℓ_i, L_n), the mean of row i over all the data, so that (nβ)² times the mean of `mean`
    is the heat capacity. `influence` `(slice, example)` is -Cov(ℓ_i, L_slice), by which a slice's expected
    loss changes for each unit of weight given to example i, over nβ/n. `attribution` `(component, example)`
    is -Cov(φ_C, ℓ_i - L_n), whose mean over a slice is its susceptibility.

    Source: Adam, Furman & Hoogland (2025, arXiv:2509.26537) for the kernel; Kreer, Wu, Adam, Furman &
    Hoogland (2025, arXiv:2509.26544) for the influence; Baker, Wang, Hoogland & Murfet (2025,
    arXiv:2504.18274) for the attribution, there of single tokens.
    """

    examples: np.ndarray
    rows: np.ndarray
    values: Pairs
    variance: Pairs
    mean: Pairs
    influence: Pairs
    attribution: Pairs

    def __repr__(self) -> str:
        return (
            f"LossKernel({len(self.examples)} examples, {len(self.rows)} rows, "
            f"{len(self.influence.value)} slices, {len(self.attribution.value)} components)"
        )

    def to_dataset(self, components: Sequence[str], slices: Sequence[str]) -> "Dataset":
        """Return everything over the dimensions row, example, slice and component, errors with suffix _se."""
        from xarray import Dataset

        layout = {
            "loss_kernel": (("row", "example"), self.values),
            "loss_variance": (("example",), self.variance),
            "loss_covariance": (("example",), self.mean),
            "influence": (("slice", "example"), self.influence),
            "attribution": (("component", "example"), self.attribution),
        }
        variables: dict[str, Any] = {name: (dims, pairs.value) for name, (dims, pairs) in layout.items()}
        variables |= {f"{name}_se": (dims, pairs.se) for name, (dims, pairs) in layout.items()}
        labels = {"component": list(components), "slice": list(slices)}
        return Dataset(variables, coords=labels | {"example": self.examples, "row": self.rows})


def make_loss_kernel(stream: Stream, followed: Followed, readings: Readings) -> LossKernel:
    """Return the kernel from a stream whose queries are L_n, the components, the slices and the rows."""
    components, slices = len(readings.phi), len(readings.slices)
    queries = [stream.covariances(number) for number in range(len(stream.query))]
    of_phi, of_slices = queries[1 : 1 + components], queries[1 + components : 1 + components + slices]
    with_loss = [covariance_series(phi, readings.loss).mean(1)[:, None] for phi in readings.phi]
    return LossKernel(
        examples=followed.examples,
        rows=followed.examples[followed.rows],
        values=_stacked(stream, queries[1 + components + slices :]),
        variance=over_chains(stream.variances()),
        mean=over_chains(queries[0]),
        influence=_stacked(stream, [-query for query in of_slices]),
        attribution=_stacked(stream, [all_ - one for all_, one in zip(with_loss, of_phi, strict=True)]),
    )


def _stacked(stream: Stream, queries: Sequence[np.ndarray]) -> Pairs:
    """Return `(query, example)` from arrays `(chain, example)`, of which there may be none."""
    return over_chains(np.reshape(queries, (len(queries), *stream.single.shape)).swapaxes(0, 1))


def singular_fluctuation(stream: Stream, followed: Followed, *, nbeta: float, size: int) -> Measured:
    """Return ν = (β/2) Σᵢ Var[ℓᵢ] with β = nβ/n, a sum over all n examples; see `lltc.susceptibilities`.

    From part of the examples it is their mean times n, and its error includes that of the choice.
    """
    by_chain = 0.5 * nbeta * stream.variances()[:, : followed.fair]
    value, se = over_chains(by_chain.mean(1))
    spread = by_chain.mean(0).std() * np.sqrt((1 - followed.fair / size) / followed.fair)
    return Measured(float(value), float(np.hypot(se, spread)))
