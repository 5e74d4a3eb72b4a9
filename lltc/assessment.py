"""From draws to numbers: λ̂, its error budget and sensitivities, the chains' health, a status."""

from typing import NamedTuple

import numpy as np

from lltc.diagnostics import ErrorBudget, Status, controlled, error_budget, judge, mixing
from lltc.posterior import LocalPosterior
from lltc.sampling import Draws
from lltc.warmup import is_hot


class Measured(NamedTuple):
    """A number and its standard error."""

    value: float
    se: float


class Assessment(NamedTuple):
    """All that one set of draws says; every number is in units of λ̂ unless named a share.

    `draws` `(chain, draw)` are nβ(L - L(w*)), linear minibatch noise regressed away. `heat_capacity` is (nβ)²
    Var[L_n], an estimate of λ beside the energy's; `virial_share` is (nβ E[(w - w*)·∇L] + γ E‖w - w*‖²)/d, 1
    in equilibrium; `prior_share` is E‖w - w*‖² over the prior's d/γ; `gradient_contribution` is nβ E[(w -
    w*)·∇L_n(w*)].
    """

    llc: float
    llc_se: float
    status: Status
    ess: float
    rhat: float
    hot_cold_gap: float
    budget: ErrorBudget
    heat_capacity: Measured
    d_llc_d_log_nbeta: Measured
    d_llc_d_log_localization: Measured
    gradient_contribution: float
    acceptance: float
    virial_share: float
    prior_share: float
    draws: np.ndarray


def assess(
    posterior: LocalPosterior, draws: Draws, *, heat: float, complete: bool, finite: bool
) -> Assessment:
    """Return the assessment of `draws`; `heat` is the predicted minibatch heat, which is subtracted.

    Chains that are not `finite`, or too few draws to say anything, give NaN.
    """
    energy = np.asarray(draws.energy, dtype=np.float64)
    series = posterior.nbeta * controlled(energy.mean(-1), np.asarray(draws.control, np.float64))
    if not finite or series.shape[1] < 8:
        return _unknown(Status.interrupted if finite else Status.diverged, series)
    hot = is_hot(len(series))
    mixed = mixing(series, hot)
    dimension, gamma = posterior.num_params, posterior.localization
    distance = np.asarray(draws.distance, np.float64)
    virial = posterior.nbeta * np.asarray(draws.virial, np.float64).mean(1) + gamma * distance.mean(1)
    by_nbeta, capacity = _nbeta_sensitivity(series, posterior.nbeta * energy)
    by_gamma = _localization_sensitivity(series, distance, gamma)
    spread = spread_error(by_gamma.value, virial, gamma * distance.mean(), dimension)
    budget = error_budget(series, hot, spread=spread, heat=0.5 * heat)
    acceptance = float(np.mean(draws.accepted))
    llc, share = float(series.mean()) - heat, float(virial.mean()) / dimension
    return Assessment(
        llc=llc,
        llc_se=budget.total,
        status=judge(llc, budget, mixed, acceptance=acceptance, virial_share=share, complete=complete),
        ess=mixed.ess,
        rhat=mixed.rhat,
        hot_cold_gap=mixed.gap,
        budget=budget,
        heat_capacity=capacity,
        d_llc_d_log_nbeta=by_nbeta,
        d_llc_d_log_localization=by_gamma,
        gradient_contribution=posterior.nbeta * float(np.mean(draws.tilt)),
        acceptance=acceptance,
        virial_share=share,
        prior_share=gamma * float(distance.mean()) / dimension,
        draws=series,
    )


def spread_error(by_gamma: float, virial: np.ndarray, prior_energy: float, dimension: int) -> float:
    """Return how far λ̂ may still move because flat directions have not spread out.

    In equilibrium nβ E[(w - w*)·∇L] + γ E‖w - w*‖² = d (`virial`, by chain). Chains that fall short of it
    look like equilibrated ones of a stronger localization γ' = γ + deficit/E‖w - w*‖²; at the measured
    sensitivity ∂λ̂/∂log γ that is |∂λ̂/∂log γ · log(γ'/γ)|. One standard error of the virial is allowed for.
    """
    noise = virial.std(ddof=1) / np.sqrt(len(virial))
    deficit = max(dimension - virial.mean() - noise, 0.0)
    return float(abs(by_gamma) * np.log1p(deficit / prior_energy)) if prior_energy > 0 else 0.0


def _nbeta_sensitivity(series: np.ndarray, halves: np.ndarray) -> tuple[Measured, Measured]:
    """Return ∂λ̂/∂log nβ = λ̂ - C and the heat capacity C, by the covariance of disjoint half batches."""
    centred = halves - halves.mean((0, 1))
    capacities = (centred[..., 0] * centred[..., 1]).mean(1)
    return _over_chains(series.mean(1) - capacities), _over_chains(capacities)


def _localization_sensitivity(series: np.ndarray, distance: np.ndarray, gamma: float) -> Measured:
    """Return ∂λ̂/∂log γ = -(γ/2) Cov(nβL, ‖w - w*‖²), its error from the spread of the chains."""
    product = (series - series.mean()) * (distance - distance.mean())
    return _over_chains(-0.5 * gamma * product.mean(1))


def _over_chains(values: np.ndarray) -> Measured:
    return Measured(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))


def _unknown(status: Status, series: np.ndarray) -> Assessment:
    nothing, unmeasured = np.nan, Measured(np.nan, np.nan)
    budget = ErrorBudget(nothing, nothing, nothing, nothing)
    return Assessment(
        *(nothing, nothing, status, nothing, nothing, nothing, budget, unmeasured, unmeasured, unmeasured),
        *(nothing, nothing, nothing, nothing, series),
    )
