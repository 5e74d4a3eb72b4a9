"""Generalized susceptibilities: how components, data slices and single examples fluctuate together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Unpack

import numpy as np

from lltc.chains.streams import as_key
from lltc.compilation import broadcasting
from lltc.diagnostics.covariances import covariance
from lltc.diagnostics.measured import Measured, Pairs
from lltc.diagnostics.status import Status
from lltc.estimates.effort import fitted
from lltc.estimates.estimator import LEAST_READINGS, check_readings, draw_estimates
from lltc.estimates.options import Options, arrange, complete
from lltc.estimates.record import LLCEstimate
from lltc.fluctuations.loss_kernel import LossKernel, make_loss_kernel, singular_fluctuation
from lltc.fluctuations.readings import Observer, Readings, check_slices, make_observer
from lltc.posterior.components import Restriction, name_components
from lltc.posterior.data import Data
from lltc.posterior.layout import moved_mask
from lltc.posterior.target import LocalPosterior
from lltc.report.wording import measured
from lltc.types import LossFn, PyTree

if TYPE_CHECKING:
    from xarray import Dataset

MOST_SHOWN = 8


@dataclass(frozen=True, eq=False, repr=False)
class Susceptibilities:
    """Fluctuations of one run's chains: `chi` `(component, slice)` with its error, and what comes with it.

    `estimate` is the λ̂ of the same chains, whose status says whether they can be trusted. `loss_kernel` is
    None for a model that returns means, and under weights or weight decay; then ν is NaN.
    """

    components: tuple[str, ...]
    slices: tuple[str, ...]
    chi: Pairs
    heat_capacity: Measured
    singular_fluctuation: Measured
    loss_kernel: LossKernel | None
    readings: Readings
    estimate: LLCEstimate

    def __repr__(self) -> str:
        estimate = self.estimate
        width = max(map(len, self.components), default=0)
        more = ", …" if len(self.slices) > MOST_SHOWN else ""
        head = (
            f"Susceptibilities(heat capacity {measured(*self.heat_capacity)}, singular fluctuation "
            f"{measured(*self.singular_fluctuation)}, llc {measured(estimate.llc, estimate.llc_se)}, "
            f"{estimate.status.name}, nβ {estimate.nbeta:.4g}, γ {estimate.localization:.3g})"
        )
        rows = []
        for name, pairs in zip(self.components[:MOST_SHOWN], np.stack(self.chi, -1), strict=False):
            parts = [f"{s} {measured(*at)}" for s, at in zip(self.slices, pairs[:MOST_SHOWN], strict=False)]
            rows.append(f"  {name.ljust(width)}  {', '.join(parts)}{more}")
        left = len(self.components) - MOST_SHOWN
        return "\n".join([head, *rows, *([f"  … and {left} more components"] if left > 0 else [])])

    def to_dataset(self) -> "Dataset":
        """Return all results over the dimensions component, slice, row and example; errors end in _se."""
        from xarray import Dataset

        dims = ("component", "slice")
        table = Dataset(
            {"chi": (dims, self.chi.value), "chi_se": (dims, self.chi.se)},
            coords={"component": list(self.components), "slice": list(self.slices)},
            attrs={
                "nbeta": self.estimate.nbeta,
                "localization": self.estimate.localization,
                "status": self.estimate.status.name,
            },
        )
        scalars = {"heat_capacity": self.heat_capacity, "singular_fluctuation": self.singular_fluctuation}
        scalars["llc"] = Measured(self.estimate.llc, self.estimate.llc_se)
        for name, scalar in scalars.items():
            table[name], table[f"{name}_se"] = scalar.value, scalar.se
        if self.loss_kernel is None:
            return table
        return table.merge(self.loss_kernel.to_dataset(self.components, self.slices))


@broadcasting
def susceptibilities(
    model: LossFn | LocalPosterior,
    params: PyTree = None,
    data: PyTree | Data = None,
    *,
    components: Mapping[str, Restriction] | Sequence[str] | None = None,
    slices: Mapping[str, PyTree | Data] | None = None,
    rows: Sequence[int] | Literal["all"] = (),
    examples: int = 4096,
    **options: Unpack[Options],
) -> Susceptibilities:
    """Measure how the loss fluctuates over the local posterior: in whole, by component, slice and example.

    Over the chains of one run, at p(w) ∝ exp(-nβ L_n(w) - (γ/2)‖w - w*‖²):

        heat capacity          (nβ)² Var[L_n]
        singular fluctuation   ν = (β/2) Σᵢ Var[ℓᵢ],  β = nβ/n, over all n examples (the functional variance)
        susceptibility         χ[C, s] = -Cov[φ_C, L_s - L_n],  φ_C(w) = nβ (L_n(w*, only C moved) - L_n(w*))
        loss kernel            K_ij = Cov[ℓᵢ, ℓⱼ], and with it influence and attribution (`LossKernel`)

    χ is 1/nβ times the rate at which E[φ_C] changes as the data go over to slice s, L_n → (1-h) L_n + h L_s.
    φ_C carries nβ, as λ̂ does. Baker et al. leave nβ out and hold all but C at w*, in φ and in the chains:
    with `restrict` the component itself, χ/nβ is theirs, but that they take the mean of L_s - L_n over the
    whole posterior.

    Losses are differences from w*, read at every 16th draw. Data sets of up to `examples` examples are read
    in full. Of larger ones two random halves are read and covariances taken between them, which leaves no
    minibatch noise; its linear part is removed beforehand.

    Args:
        model: as for `lltc.estimate_llc`, or an `lltc.local_posterior(…)` in place of model, params and data.
        params: the checkpoint w*.
        data: as for `lltc.estimate_llc`: the data of L_n.
        components: names mapped to patterns (or a list of patterns), as for `lltc.estimate_llc_team`.
        slices: data sets by name, each like `data`, on which the same model is evaluated.
        rows: indices of the examples whose rows of the loss kernel are kept, or "all" (examples² numbers).
        examples: how many examples a reading sees, and how many, drawn at random, are followed one by one;
            default 4096. A reading costs (2 + components) · examples + slices · examples losses a chain.
        options: as in `lltc.Options`; `num_draws` is by default 4000, of which 250 are read. An `nbeta` near
            0 is the control: covariances over the prior alone.

    Returns:
        `Susceptibilities`. Errors are those of Monte Carlo, by the spread of the chains; the status of
        `estimate` says whether the chains have equilibrated.

    Raises:
        InputError: as `lltc.estimate_llc`, for components that select nothing that moves, slices that are no
            data, and rows outside the data.

    Source:
        Watanabe (2010), Asymptotic equivalence of Bayes cross validation and widely applicable information
        criterion, sections 2 and 3, for ν; Baker, Wang, Hoogland & Murfet (2025, arXiv:2504.18274) for χ.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, y, w = rng.normal(size=(200, 4)), np.zeros(200), np.zeros(4)
        >>> loss = lambda w, batch: 0.5 * (batch[0] @ w - batch[1]) ** 2
        >>> response = susceptibilities(
        ...     loss, w, (x, y), components={"front": "[:2]"}, slices={"long": (2 * x, y)}, nbeta=100,
        ...     localization=1.0, num_draws=2000, progress=False)
        >>> bool(-0.045 < response.chi.value[0, 0] < -0.015)  # near -3/nβ
        True
    """
    settings = complete("susceptibilities", options, num_draws=4000)
    slices = {} if slices is None else check_slices(slices)
    check_readings(settings["num_draws"])
    posterior = arrange("susceptibilities", model, params, data, settings)
    whole, key = posterior.params, as_key(settings["key"])
    named = name_components(components, whole) if components else {}
    masks = [
        moved_mask(posterior.target.layout, posterior.center, whole, name, pattern)
        for name, pattern in named.items()
    ]
    posterior = fitted(posterior, settings)
    observer = make_observer(posterior, whole, masks, slices, rows, examples, key)
    (estimate,) = draw_estimates(posterior, np.array([posterior.nbeta]), settings, observe=observer)
    return _conclude(observer, estimate, tuple(named), tuple(slices))


def _conclude(
    observer: Observer, estimate: LLCEstimate, components: tuple[str, ...], slices: tuple[str, ...]
) -> Susceptibilities:
    """Turn readings into covariances; runs that diverged or were stopped at once give NaN."""
    readings = observer.readings()
    known = estimate.status is not Status.diverged and readings.loss.shape[1] >= LEAST_READINGS
    chi = np.full((len(components), len(slices), 2), np.nan)
    nu, loss_kernel = Measured(np.nan, np.nan), None
    if known:
        for at in np.ndindex(chi.shape[:2]):
            chi[at] = covariance(readings.phi[at[0]], readings.loss - readings.slices[at[1]])
    if known and observer.stream is not None:
        loss_kernel = make_loss_kernel(observer.stream, observer.followed, readings)
        size = observer.posterior.data.size
        nu = singular_fluctuation(observer.stream, observer.followed, nbeta=estimate.nbeta, size=size)
    return Susceptibilities(
        components=components,
        slices=slices,
        chi=Pairs(chi[..., 0], chi[..., 1]),
        heat_capacity=estimate.heat_capacity,
        singular_fluctuation=nu,
        loss_kernel=loss_kernel,
        readings=readings,
        estimate=estimate,
    )
