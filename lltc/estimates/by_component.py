"""A team of probes: the refined learning coefficients of a network's components."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import jax
import numpy as np

from lltc.compilation import broadcasting
from lltc.errors import InputError
from lltc.estimates.estimator import draw_estimates
from lltc.estimates.options import Options, arrange, complete
from lltc.estimates.record import LLCEstimate
from lltc.posterior.components import Restriction, name_components, select
from lltc.posterior.data import Data
from lltc.posterior.layout import moved_mask, moving, through_ties
from lltc.posterior.target import LocalPosterior, restricted
from lltc.report.wording import measured
from lltc.types import LossFn, PyTree

if TYPE_CHECKING:
    from xarray import Dataset

COLUMNS = ("num_params", "ess", "rhat", "step_size", "seconds")


@dataclass(frozen=True, eq=False, repr=False)
class LLCTeam:
    """Estimates by component, all at one nβ and one γ; each moved its component and held the rest at w*."""

    estimates: dict[str, LLCEstimate]

    def __getitem__(self, component: str) -> LLCEstimate:
        return self.estimates[component]

    @property
    def components(self) -> tuple[str, ...]:
        """The names of the components."""
        return tuple(self.estimates)

    @property
    def nbeta(self) -> float:
        """The nβ of all estimates."""
        return next(iter(self.estimates.values())).nbeta

    @property
    def localization(self) -> float:
        """The γ of all estimates."""
        return next(iter(self.estimates.values())).localization

    @property
    def llc(self) -> np.ndarray:
        """λ̂ of each component `(component,)`."""
        return np.array([estimate.llc for estimate in self.estimates.values()])

    @property
    def llc_se(self) -> np.ndarray:
        """The standard errors of `llc` `(component,)`."""
        return np.array([estimate.llc_se for estimate in self.estimates.values()])

    def __repr__(self) -> str:
        width = max(map(len, self.components))
        rows = [
            f"  {name.ljust(width)}  {measured(e.llc, e.llc_se)}  of {e.num_params:,} parameters, "
            f"{e.status.name}"
            for name, e in self.estimates.items()
        ]
        return "\n".join([f"LLCTeam(nβ {self.nbeta:.4g}, γ {self.localization:.4g})", *rows])

    def to_dataset(self) -> "Dataset":
        """Return llc, llc_se, loss, status and more over the dimension `component`; nβ, γ as attributes."""
        from xarray import Dataset

        estimates = self.estimates.values()
        columns: dict[str, Any] = {"llc": self.llc, "llc_se": self.llc_se}
        columns["loss"] = np.array([estimate.init_loss for estimate in estimates])
        columns["status"] = np.array([estimate.status.name for estimate in estimates])
        columns |= {name: np.array([getattr(estimate, name) for estimate in estimates]) for name in COLUMNS}
        return Dataset(
            {name: ("component", values) for name, values in columns.items()},
            coords={"component": list(self.components)},
            attrs={"nbeta": self.nbeta, "localization": self.localization},
        )


@broadcasting
def estimate_llc_team(
    model: LossFn | LocalPosterior,
    params: PyTree = None,
    data: PyTree | Data = None,
    *,
    components: Mapping[str, Restriction] | Sequence[str],
    **options: Unpack[Options],
) -> LLCTeam:
    """Estimate the refined learning coefficient of each component: it alone moves, the rest stays at w*.

    λ̂_C = nβ(E[L_n(w_C, w*)] - L_n(w*)) over p(w_C) ∝ exp(-nβ L_n(w_C, w*) - (γ/2)‖w_C - w*_C‖²). All share
    data, nβ, γ and key, hence minibatches, so that components compare like with like. Components with equal
    shapes in the same leaves, such as heads, share one compilation.

    Args:
        model: as for `lltc.estimate_llc`, or an `lltc.local_posterior(…)` in place of model, params and data.
        params: the checkpoint w*.
        data: as for `lltc.estimate_llc`.
        components: names mapped to patterns, lists of patterns, functions or masks, or a list of patterns
            that name themselves; `lltc.list_components` shows beforehand what a pattern selects. "*" is the
            whole; "heads", "mlps", "layers" and "embeddings" are those of `lltc.ready_components`.
        options: as in `lltc.Options`, but `restrict`; γ is by default that of the whole, d/(½‖w*‖)² over all
            parameters.

    Returns:
        An `LLCTeam` with `estimates` by name, `llc`, `llc_se` and `to_dataset()`.

    Raises:
        InputError: as `lltc.estimate_llc`, and for components that select nothing.

    Source:
        Wang, Hoogland, van Wingerden, Furman & Murfet (2024, arXiv:2410.02984): the weight-refined LLC.

    Example:
        >>> import jax.numpy as jnp
        >>> loss = lambda w, x: 0.5 * (jnp.sum(w["a"]**2) + jnp.sum(w["b"]**2)) * jnp.ones(len(x))
        >>> params = {"a": jnp.zeros(2), "b": jnp.zeros(6)}
        >>> team = estimate_llc_team(
        ...     loss, params, jnp.zeros(9), components=["a", "b"], nbeta=99, localization=1.0, progress=False)
        >>> team.components, bool(abs(team["b"].llc - 2.97) < 4 * team["b"].llc_se)
        (('a', 'b'), True)
    """
    settings = complete("estimate_llc_team", options)
    if settings["restrict"] is not None:
        raise InputError(
            f"restrict={settings['restrict']!r} was given, but what moves is named by components; put the "
            "patterns there."
        )
    whole = arrange("estimate_llc_team", model, params, data, settings)
    masks = {
        name: _moving_masks(whole, name, pattern)
        for name, pattern in name_components(components, whole.params).items()
    }
    rungs = np.array([whole.nbeta])
    return LLCTeam(
        {name: draw_estimates(restricted(whole, mask), rungs, settings)[0] for name, mask in masks.items()}
    )


def as_masks(params: PyTree, name: str, pattern: Restriction) -> PyTree:
    """Return the masks that a component selects, shaped like `params`; refuse one that selects nothing."""
    chosen = select(params, pattern, argument=f"components[{name!r}]")
    return jax.tree.unflatten(jax.tree.structure(params), chosen)


def _moving_masks(posterior: LocalPosterior, name: str, pattern: Restriction) -> PyTree:
    """Return what of the posterior's params a component moves, shaped like them; refuse one without any."""
    layout, center, params = posterior.target.layout, posterior.center, posterior.params
    moved_mask(layout, center, params, name, pattern)
    chosen = through_ties(layout, select(params, pattern, argument=f"components[{name!r}]"))
    both = [np.logical_and(mask, moves) for mask, moves in zip(chosen, moving(layout, center), strict=True)]
    return jax.tree.unflatten(jax.tree.structure(params), both)
