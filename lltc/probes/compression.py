"""What of a checkpoint can be left out: by the posterior's precision, and verified by doing it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Unpack

import jax
import jax.numpy as jnp
import numpy as np

from lltc.compilation import broadcasting
from lltc.errors import InputError
from lltc.estimates.effort import fitted
from lltc.estimates.options import Options, arrange, complete
from lltc.posterior.checks import check_positive
from lltc.posterior.data import Data
from lltc.posterior.layout import center_vector, unflatten
from lltc.posterior.target import LocalPosterior
from lltc.probes.omission import FLOAT_BITS, drop_bits, drop_directions, drop_parameters, measure_rises
from lltc.probes.sampled import watch
from lltc.probes.stiffness import Stiffness
from lltc.types import LossFn, PyTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

By = Literal["parameters", "directions", "precision"]
WAYS = {"parameters": drop_parameters, "directions": drop_directions, "precision": drop_bits}


@dataclass(frozen=True, eq=False, repr=False)
class CompressionCurve:
    """The loss as more and more of a checkpoint is left out; see `lltc.compression_curve`.

    `fraction` `(point,)` was left out, `rise` `(point,)` is L - L(w*) measured there, `baseline` `(point,)`
    the same with the order given by size alone. `removable` is the largest fraction up to which every rise
    is finite and within `tolerance` and `resolution`, what rounding losses and parameters to float32 changes
    in nats, `baseline_removable` that of the baseline, and `params` the checkpoint so reduced.
    """

    by: By
    fraction: np.ndarray
    rise: np.ndarray
    baseline: np.ndarray
    tolerance: float
    resolution: float
    params: PyTree

    @property
    def removable(self) -> float:
        """The largest fraction that can be left out within `tolerance`, in the posterior's order."""
        return _reach(self.fraction, self.rise, self.tolerance + self.resolution)

    @property
    def baseline_removable(self) -> float:
        """The same in the order of size alone."""
        return _reach(self.fraction, self.baseline, self.tolerance + self.resolution)

    def __repr__(self) -> str:
        of = {"precision": f"the {FLOAT_BITS} bits a parameter"}.get(self.by, f"the {self.by}")
        return (
            f"CompressionCurve({100 * self.removable:.1f} % of {of} can go within {self.tolerance:.3g} nats, "
            f"{100 * self.baseline_removable:.1f} % in the order of size alone)"
        )

    def to_dataset(self) -> "Dataset":
        """Return rise and baseline over the dimension `fraction`."""
        from xarray import Dataset

        return Dataset(
            {"rise": ("fraction", self.rise), "baseline": ("fraction", self.baseline)},
            coords={"fraction": self.fraction},
            attrs={"by": self.by, "tolerance": self.tolerance, "removable": self.removable},
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the rise of the loss over what is left out; matplotlib axes in, axes out."""
        from lltc.report.directions import plot_compression

        return plot_compression(self, ax=ax)


@broadcasting
def compression_curve(
    model: LossFn | LocalPosterior,
    params: PyTree = None,
    data: PyTree | Data = None,
    *,
    by: By = "parameters",
    reference: PyTree | None = None,
    stiffness: Stiffness | None = None,
    tolerance: float | None = None,
    directions: int = 64,
    examples: int = 4096,
    **options: Unpack[Options],
) -> CompressionCurve:
    """Leave out of a checkpoint what the posterior does not hold fast, more and more, and measure the loss.

    With δ = w* - w_ref and P what the loss adds to the posterior's precision, in the order of rising δ²P, the
    least missed first::

        directions   (eigenvectors v of the Hessian at w*) have δ's coordinate along them set to zero;
                     P_v = 1/Var_v - γ, Var_v from the chains
        parameters   are set to their reference; Pⱼ = Σ_v vⱼ² P_v
        precision    every δⱼ is rounded to a multiple of c/√(Pⱼ + γ) for growing c; of a float's 32 bits a
                     parameter takes log₂(1 + 2 max|δ|/step), not counting what it takes to tell the steps

    The baseline has the order of |δ| alone, and for precision one step for all parameters at equal bits.
    Where λ̂ is much smaller than d the posterior knows little of single parameters, and both are alike. P is
    local; how far it reaches is what the curve shows.

    Args:
        model: as for `lltc.estimate_llc`, or an `lltc.local_posterior(…)` in place of model, params and data.
        params: the checkpoint w*.
        data: as for `lltc.estimate_llc`; the loss is measured on up to `examples` of it.
        by: "parameters", "directions" or "precision".
        reference: the params w_ref that what is left out returns to, such as an earlier checkpoint; default
            zeros.
        stiffness: of this checkpoint, as in `Probe.stiffness_after`; no chains are then run.
        tolerance: nats by which the loss may rise; default 1/nβ.
        directions: how many of the stiffest directions are looked at where more than 512 parameters move; P
            is zero along all others, which are left out at once.
        examples: how many examples, drawn at random, the loss is measured on; default 4096.
        options: as in `lltc.Options`; `num_draws` at least 128 where given, `restrict` says which parameters
            may go, nβ and γ are those of `stiffness` where that is given.

    Returns:
        A `CompressionCurve` with `fraction`, `rise`, `baseline`, `removable` and the reduced `params`.

    Raises:
        InputError: as `lltc.estimate_llc`, for another `by`, a reference or a stiffness that does not fit.

    Source:
        LeCun, Denker & Solla (1990), Optimal brain damage, for the order; Hinton & van Camp (1993) for bits
        that the posterior makes superfluous.

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.sum((w[:2] - 1) ** 2) * jnp.ones(len(x))
        >>> curve = compression_curve(loss, jnp.array([1.0, 1, 3, 2]), jnp.zeros(9), nbeta=99, progress=False)
        >>> curve.removable, curve.baseline_removable
        (0.5, 0.0)
    """
    settings = complete("compression_curve", options)
    if stiffness is not None and not isinstance(stiffness, Stiffness):
        raise InputError(
            f"stiffness must be that of a checkpoint, but a {type(stiffness).__name__} was given; pass such "
            "as the stiffness_after of a probe, or None to sample anew."
        )
    if stiffness is not None and not isinstance(model, LocalPosterior):
        settings |= {"nbeta": stiffness.nbeta, "localization": stiffness.localization}
    posterior = arrange("compression_curve", model, params, data, settings)
    home = _reference(posterior, reference)
    if by not in WAYS:
        raise InputError(
            f"by must be 'parameters', 'directions' or 'precision', but {by!r} was given; pass one of these."
        )
    if stiffness is None:
        looking: dict[str, Any] = {"masks": {}, "directions": directions, "examples": examples}
        stiffness = watch(fitted(posterior, settings), settings, **looking).stiffness
    elif len(stiffness.directions) != posterior.num_params:
        raise InputError(
            f"stiffness is that of {len(stiffness.directions)} parameters, but {posterior.num_params} of "
            "params move; pass that of the same checkpoint and restrict."
        )
    if not np.isfinite(stiffness.variance.value).all():
        raise InputError(
            "stiffness has no variances because its chains diverged or were stopped, but the order comes "
            "from them; sample longer, or at a larger localization."
        )
    posterior = fitted(posterior, settings)
    layout, center = posterior.target.layout, posterior.center
    away = home - np.asarray(center_vector(layout, center), np.float64)
    steps = WAYS[by](-away, stiffness)
    (rise, size_of_loss), (baseline, _) = (
        measure_rises(posterior, away + left, examples) for left in (steps.delta, steps.plain)
    )
    tolerance = (
        1 / posterior.nbeta if tolerance is None else check_positive("tolerance", tolerance, zero=True)
    )
    # Of a quadratic, parameters rounded by ε of themselves cost ε² of what all of them do.
    whole = 0.5 * (stiffness.directions.T @ away) ** 2 @ stiffness.precision / stiffness.nbeta
    eps = float(np.finfo(posterior.dtype).eps)
    resolution = eps * (size_of_loss + eps * float(whole))
    reach = _reach(steps.fraction, rise, tolerance + resolution)
    left = away + steps.delta[np.searchsorted(steps.fraction, reach)]
    reduced = unflatten(layout, center, jnp.asarray(left, posterior.dtype))
    return CompressionCurve(by, steps.fraction, rise, baseline, tolerance, resolution, reduced)


def _reach(fraction: np.ndarray, rise: np.ndarray, tolerance: float) -> float:
    """Return the last fraction before the rise first exceeds the tolerance, or is no finite number."""
    beyond = np.flatnonzero(~(np.isfinite(rise) & (rise <= tolerance)))
    last = beyond[0] - 1 if len(beyond) else len(fraction) - 1
    return float(fraction[max(last, 0)])


def _reference(posterior: LocalPosterior, reference: PyTree | None) -> np.ndarray:
    """Return the moved coordinates `(d,)` of the reference."""
    if reference is None:
        return np.zeros(posterior.num_params)
    layout, center = posterior.target.layout, posterior.center
    shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(reference))
    if jax.tree.structure(reference) != layout.treedef or shapes != layout.shapes:
        raise InputError(
            "reference must have the leaves of params, but its tree or their shapes differ; pass an earlier "
            "checkpoint of the same network, or None for zeros."
        )
    leaves = tuple(jnp.asarray(leaf) for leaf in jax.tree.leaves(reference))
    return np.asarray(center_vector(layout, center._replace(leaves=leaves)), np.float64)
