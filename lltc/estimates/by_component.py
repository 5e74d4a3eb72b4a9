"""A team of probes: the refined learning coefficients of a network's components."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from lltc.errors import InputError
from lltc.estimates.llc import estimate_llc
from lltc.estimates.record import LLCEstimate
from lltc.posterior.components import Restriction, name_components, select
from lltc.posterior.data import Data, as_data
from lltc.posterior.layout import locate
from lltc.posterior.target import default_localization
from lltc.types import Model, PyTree

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
            f"  {name.ljust(width)}  {e.llc:.4g} ± {e.llc_se:.2g}  of {e.num_params:,} parameters, "
            f"{e.status.name}"
            for name, e in self.estimates.items()
        ]
        return "\n".join([f"LLCTeam(nβ {self.nbeta:.4g}, γ {self.localization:.4g})", *rows])

    def to_dataset(self) -> "Dataset":
        """Return llc, llc_se, loss, status and more over the dimension `component`; nβ, γ as attributes."""
        from xarray import Dataset

        found = self.estimates.values()
        columns: dict[str, Any] = {"llc": self.llc, "llc_se": self.llc_se}
        columns["loss"] = np.array([estimate.init_loss for estimate in found])
        columns["status"] = np.array([estimate.status.name for estimate in found])
        columns |= {name: np.array([getattr(estimate, name) for estimate in found]) for name in COLUMNS}
        return Dataset(
            {name: ("component", values) for name, values in columns.items()},
            coords={"component": list(self.components)},
            attrs={"nbeta": self.nbeta, "localization": self.localization},
        )


def estimate_llc_team(
    model: Model,
    params: PyTree,
    data: PyTree | Data,
    *,
    components: Mapping[str, Restriction] | Sequence[str],
    key: jax.Array | int = 0,
    nbeta: float | None = None,
    localization: float | None = None,
    **options: Any,
) -> LLCTeam:
    """Estimate the refined learning coefficient of each component: it alone moves, the rest stays at w*.

    λ̂_C = nβ(E[L_n(w_C, w*)] - L_n(w*)) over p(w_C) ∝ exp(-nβ L_n(w_C, w*) - (γ/2)‖w_C - w*_C‖²). All share
    data, nβ, γ and key, hence minibatches, so that components compare like with like. Components with equal
    shapes in the same leaves, such as heads, share one compilation.

    Args:
        model: as for `lltc.estimate_llc`.
        params: the checkpoint w*.
        data: as for `lltc.estimate_llc`.
        components: names mapped to patterns, lists of patterns, functions or masks, or a list of patterns
            that name themselves; `lltc.list_components` shows beforehand what a pattern selects. "*" is the
            whole.
        key: JAX key or int.
        nbeta: nβ; default n/ln n.
        localization: γ of every component; default that of the whole, d/(½‖w*‖)² over all parameters.
        options: every other argument of `lltc.estimate_llc`.

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
        >>> found = estimate_llc_team(
        ...     loss, params, jnp.zeros(9), components=["a", "b"], nbeta=99, localization=1.0, progress=False)
        >>> found.components, bool(abs(found["b"].llc - 2.97) < 4 * found["b"].llc_se)
        (('a', 'b'), True)
    """
    if "restrict" in options:
        raise InputError(
            f"restrict={options['restrict']!r} was given, but what moves is named by components; put the "
            "patterns there."
        )
    named = name_components(components)
    masks = {name: as_masks(params, name, pattern) for name, pattern in named.items()}
    shared = as_data(data)
    gamma = default_localization(*locate(params)) if localization is None else localization
    return LLCTeam(
        {
            name: estimate_llc(
                model, params, shared, key=key, nbeta=nbeta, localization=gamma, restrict=mask, **options
            )
            for name, mask in masks.items()
        }
    )


def as_masks(params: PyTree, name: str, pattern: Restriction) -> PyTree:
    """Return the masks that a component selects, shaped like `params`; refuse one that selects nothing."""
    chosen = select(params, pattern, argument=f"components[{name!r}]")
    return jax.tree.unflatten(jax.tree.structure(params), chosen)
