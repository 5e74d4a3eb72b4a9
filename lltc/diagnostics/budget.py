"""What the error of λ̂ is made of, and how large each part is."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lltc.chains.looks import Visit
from lltc.diagnostics.measured import Measured, mean_of_chains

ROUNDING = 1e-3
BATCH_SPREAD, FEW_VISITS = 0.25, 6


class ErrorBudget(NamedTuple):
    """Standard errors of λ̂, added in squares: what each known source of error may amount to.

    `monte_carlo`; `equilibration`, the hot–cold gap beyond its noise; `spread`, flat directions not yet
    explored; `heat`, what is uncertain of the minibatch heat that was subtracted; `step_size`, the stiff
    directions' temperature beyond its noise; `anchor`, a gradient at w* from part of the data; `rounding`, a
    per mille of λ̂, and what float32 cannot resolve of large losses.
    """

    monte_carlo: float
    equilibration: float
    spread: float
    heat: float
    step_size: float
    anchor: float
    rounding: float

    @property
    def total(self) -> float:
        """The root of the sum of squares."""
        return float(np.sqrt(np.sum(np.square(self))))

    @property
    def shrinking(self) -> float:
        """The sum of squares of what falls with the number of draws."""
        return self.monte_carlo**2 + self.equilibration**2 + self.spread**2


def rounding_error(llc: float, nbeta: float, loss: float, size: int, eps: float) -> float:
    """Return a per mille of λ̂, and what rounding by `eps` leaves unknown of the losses behind rises.

    A loss ℓ is known to ε|ℓ|/√12, ε = 2⁻²³ in float32, at w and at w*; the error at w* is the same in every
    draw, and averages over the n examples only: nβ ε|L_n(w*)|/√(6n).
    """
    resolution = eps * abs(loss)
    return float(np.hypot(ROUNDING * llc, nbeta * resolution / np.sqrt(6 * size)))


def anchor_error(series: np.ndarray, slip: np.ndarray) -> float:
    """Return how far λ̂ may be off because ∇L_n(w*) came from part of the data.

    With the doubt δ of that gradient the chains move in U + s, s = nβ δ·(w - w*). To second order in s λ̂ is
    then off by -Cov(nβL, s) + ½κ(nβL, s, s), κ the third joint cumulant; `slip` `(chain, draw)` is s for one
    δ drawn from the error's own distribution.
    """
    energy, shift = series - series.mean(), slip - slip.mean()
    return float(np.hypot(np.mean(energy * shift), 0.5 * np.mean(energy * shift**2)))


def predicted_heat(visits: Sequence[Visit], reach: float, nbeta: float) -> float:
    """Return by how much minibatch noise raises λ̂: reach (nβ)² tr C/8."""
    return reach * nbeta**2 * float(np.mean([visit.noise for visit in visits])) / 8 if visits else 0.0


def stiff_temperature(visits: Sequence[Visit], *, full_batch: bool = True) -> Measured:
    """Return E[nβ‖∇L‖² + γ(w - w*)·∇L]/E[ΔL] over visits and chains, its error from the chains' spread.

    All chains of a visit share its batch, unless that is `full_batch`: the spread of visits is added, which
    counts as a quarter of T in six visits more, as a batch of 512 examples gives, while there are few.
    """
    if not visits:
        return Measured(np.nan, np.nan)
    force, bend = (np.asarray([getattr(v, name) for v in visits], np.float64) for name in ("force", "bend"))
    if not (np.isfinite(force).all() and bend.mean() > 0):
        return Measured(np.nan, np.nan)
    ratio, count = force.mean() / bend.mean(), len(visits)
    left = force - ratio * bend
    error = mean_of_chains(left.mean(0)).se / bend.mean()
    if not full_batch:
        few = FEW_VISITS * (BATCH_SPREAD * max(ratio, 1.0)) ** 2
        spread = few + np.sum((left.mean(1) / bend.mean()) ** 2)
        error = np.hypot(error, np.sqrt(spread / (FEW_VISITS + count - 1) / count))
    return Measured(float(ratio), float(error))


def step_size_error(llc: float, temperature: Measured) -> float:
    """Return |T - 1|·λ̂ beyond three standard errors of the stiff directions' temperature T."""
    beyond = abs(temperature.value - 1) - 3 * temperature.se
    return abs(llc) * max(float(beyond), 0.0) if np.isfinite(beyond) else 0.0


def spread_error(llc: float, by_gamma: float, virial: float, prior_energy: float, dimension: int) -> float:
    """Return how far λ̂ may still move because flat directions have not spread out.

    In equilibrium nβ E[(w - w*)·∇L] + γ E‖w - w*‖² = d (`virial`). Chains that fall short of it
    look like equilibrated ones of a stronger localization γ' = γ + deficit/E‖w - w*‖²; at the measured
    sensitivity ∂λ̂/∂log γ that is |∂λ̂/∂log γ · log(γ'/γ)|, and no more than d/2, the largest λ. Its
    own noise is not allowed for: what chains miss of a far arm does not show in their spread. Of a quadratic
    the sensitivity is at most λ; beyond twice λ̂ a measured one is noise, which grows with d.
    """
    by_gamma = min(abs(by_gamma), 2 * abs(llc))
    deficit = max(dimension - virial, 0.0)
    if prior_energy <= 0:
        return 0.0
    return float(min(by_gamma * np.log1p(deficit / prior_energy), dimension / 2))
