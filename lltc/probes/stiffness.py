"""How stiff the posterior is along the loss's directions, and what became stiff or soft between two."""

from dataclasses import dataclass

import numpy as np

from lltc.diagnostics.measured import Pairs
from lltc.probes.hessian import orthonormal
from lltc.report.wording import number

STIFF = 0.5
TURNED = 0.25
LEAST_CHANGE = 0.1


@dataclass(frozen=True, eq=False, repr=False)
class Stiffness:
    """Curvature of the loss and variance of the posterior along the stiffest directions at a checkpoint.

    `directions` `(d, k)` are orthonormal eigenvectors of the Hessian at w*, `curvature` `(k,)` its
    eigenvalues h, falling, `variance` `(k,)` the posterior variances along them with their errors, and
    `exact` says that k = d. `share` `(k,)` is nβ h Var, the part of a direction's confinement that the
    curvature at w* explains: nβh/(nβh + γ) on a quadratic, 0 along x⁴; it may exceed 1 where a valley bends.
    A direction is stiff where it is ½ or more.
    """

    directions: np.ndarray
    curvature: np.ndarray
    variance: Pairs
    exact: bool
    nbeta: float
    localization: float

    @property
    def share(self) -> np.ndarray:
        """How much of each direction's confinement its curvature at w* explains."""
        return self.nbeta * self.curvature * self.variance.value

    @property
    def stiff(self) -> np.ndarray:
        """Which directions are stiff."""
        return self.share >= STIFF

    @property
    def known(self) -> bool:
        """False where the chains diverged or were stopped, so that nothing can be told."""
        return bool(np.isfinite(self.variance.value).all())

    @property
    def num_stiff(self) -> int | None:
        """How many directions are stiff; None where that is not known."""
        return int(self.stiff.sum()) if self.known else None

    @property
    def precision(self) -> np.ndarray:
        """What the loss adds to the prior's precision along each direction: 1/Var - γ, nβh on a quadratic."""
        return np.maximum(1 / self.variance.value - self.localization, 0.0)

    @property
    def param_precision(self) -> np.ndarray:
        """The same of each parameter with the others held `(d,)`: Σ_v vⱼ² (1/Var_v - γ), over those seen."""
        return self.directions**2 @ self.precision

    @property
    def lower_bound(self) -> bool:
        """True when the least stiff direction looked at is stiff still, so that there may be more."""
        return not self.exact and bool(self.stiff[-1])

    def __repr__(self) -> str:
        bound = "at least " if self.lower_bound else ""
        of = f"{len(self.directions):,} directions" + ("" if self.exact else f", {len(self.curvature)} seen")
        at = f"nβ {self.nbeta:.4g}, γ {self.localization:.3g}"
        return f"Stiffness({bound}{number(self.num_stiff)} stiff of {of}, {at})"


@dataclass(frozen=True, eq=False, repr=False)
class StiffnessChange:
    """What became stiff or soft between two checkpoints.

    `stiffened` `(d, ·)` is an orthonormal basis of what is stiff after and was not before, `softened` the
    reverse; principal angles between both stiff spaces tell: what turned by less than 60° is the same. `size`
    `(m,)` and `directions` `(d, m)` are the eigenvalues and eigenvectors of the change of S = Σ s v vᵀ, s the
    share of each direction cut at 1: 1 for what stiffened, -1 for what softened, ±sin θ for what turned by θ;
    less than 0.1 is left out. Where the stiffness of either is not `known`, all counts are NaN.
    """

    stiffened: np.ndarray
    softened: np.ndarray
    size: np.ndarray
    directions: np.ndarray
    lower_bound: bool
    known: bool = True

    @property
    def num_stiffened(self) -> float:
        """How many directions became stiff."""
        return self.stiffened.shape[1] if self.known else np.nan

    @property
    def num_softened(self) -> float:
        """How many directions became soft."""
        return self.softened.shape[1] if self.known else np.nan

    @property
    def participation(self) -> float:
        """(Σ|c|)²/Σc² over the changes c of S: how many directions the change amounts to; 0 for none."""
        return participation_ratio(self.size) if self.known else np.nan

    @property
    def param_weight(self) -> np.ndarray:
        """How much of the change each parameter carries `(d,)`: the diagonal of |ΔS|, with the sum Σ|c|."""
        return self.directions**2 @ np.abs(self.size)

    @property
    def param_participation(self) -> float:
        """The same ratio over the parameters' weights: how many parameters carry the change."""
        return participation_ratio(self.param_weight) if self.known else np.nan

    @property
    def span(self) -> np.ndarray:
        """An orthonormal basis of what stiffened or softened."""
        return orthonormal(np.hstack([self.stiffened, self.softened]))


def participation_ratio(values: np.ndarray) -> float:
    """Return (Σ|c|)²/Σc², the number of equal entries that would be as spread out; 0 for no entries.

    Example:
        >>> participation_ratio(np.array([2.0, -2.0, 0.0]))
        2.0
    """
    total = float(np.sum(np.square(values)))
    return float(np.sum(np.abs(values)) ** 2 / total) if total > 0 else 0.0


def compare_stiffness(before: Stiffness, after: Stiffness) -> StiffnessChange:
    """Return what became stiff or soft, and by how much."""
    old, new = (stiffness.directions[:, stiffness.stiff] for stiffness in (before, after))
    left, cosines, right = np.linalg.svd(old.T @ new)
    unturned = int(np.sum(cosines**2 >= TURNED))
    size, directions = _difference(before, after)
    return StiffnessChange(
        stiffened=new @ right[unturned:].T,
        softened=old @ left[:, unturned:],
        size=size,
        directions=directions,
        lower_bound=before.lower_bound or after.lower_bound,
        known=before.known and after.known,
    )


def _difference(before: Stiffness, after: Stiffness) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues and eigenvectors of S_after - S_before that are not small."""
    shares = [np.nan_to_num(np.clip(stiffness.share, 0.0, 1.0)) for stiffness in (before, after)]
    scaled = [
        stiffness.directions * np.sqrt(share)
        for stiffness, share in zip((before, after), shares, strict=True)
    ]
    columns = np.hstack(scaled)
    basis = orthonormal(columns)
    within = basis.T @ columns
    signs = np.repeat([-1.0, 1.0], [len(share) for share in shares])
    values, vectors = np.linalg.eigh((within * signs) @ within.T)
    large = np.abs(values) >= LEAST_CHANGE
    return values[large], basis @ vectors[:, large]
