"""From draws to numbers: λ̂, its error budget and sensitivities, the chains' health, a status."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from lltc.chains.looks import Visit
from lltc.chains.rungs import is_hot
from lltc.chains.steps import Draws
from lltc.diagnostics.budget import (
    ErrorBudget,
    anchor_error,
    predicted_heat,
    rounding_error,
    spread_error,
    step_size_error,
    stiff_temperature,
)
from lltc.diagnostics.control_variates import controlled, sharpened
from lltc.diagnostics.measured import Measured, mean_of_chains
from lltc.diagnostics.mixing import equilibration_error, mixing, monte_carlo_error
from lltc.diagnostics.status import Status, judge
from lltc.posterior.target import LocalPosterior

REGULAR = 0.9
PAIRS = ("heat_capacity", "d_llc_d_log_nbeta", "d_llc_d_log_localization", "stiff_temperature")


@dataclass(frozen=True, eq=False, repr=False)
class Assessment:
    """All that one set of draws says; every number is in units of λ̂ unless named a share.

    `draws` `(chain, draw)` are nβ(L - L(w*)), linear minibatch noise regressed away; `llc` is their mean,
    less minibatch heat, and less their regression on the virial where that is sure to help (`sharpened`):
    `variance_left` is the share of the squared error that remains, 1 where nothing was done. `heat_capacity`
    is (nβ)² Var[L_n], an estimate of λ beside the energy's; `virial_share` is (nβ E[(w - w*)·∇L] + γ E‖w -
    w*‖²)/d, 1 in equilibrium; `stiff_temperature` is that of the stiff directions, 1 where the steps are
    small enough; `prior_share` is E‖w - w*‖² over the prior's d/γ; `gradient_contribution` is nβ E[(w -
    w*)·∇L_n(w*)]. `acceptance` is the share of moves made, or for a kernel that makes every move the share a
    Metropolis test would let pass.
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
    variance_left: float
    stiff_temperature: Measured
    virial_share: float
    prior_share: float
    draws: np.ndarray


def assess(
    posterior: LocalPosterior,
    nbeta: float,
    draws: Draws,
    visits: Sequence[Visit],
    *,
    reach: float,
    loss: float,
    eps: float,
    heated: bool = True,
    corrected: bool,
    partial_anchor: bool,
    arrivals: int | None = None,
    complete: bool,
    finite: bool,
) -> Assessment:
    """Return the assessment of `draws` made at `nbeta`; minibatch heat predicted from `visits` is subtracted.

    `reach` is that of the steps, ε(1 + c)/(1 - c); `loss` is the loss at w* that rises are differences from,
    0 where it is zero by construction, and `eps` the rounding it is computed with; `heated` says that noise
    warms the chains, `corrected` says that moves were accepted or refused,
    `partial_anchor` that ∇L_n(w*) is uncertain; `arrivals` is how often replicas that exchange came from the
    prior, and R-hat is then that of the distance from w* too. So it is where γ = 0 and λ̂ is less than 0.9
    d/2: nothing ends an arm there, and how far chains have come along it tells what they miss. Chains that
    are not `finite`, or too few draws to say anything, give NaN.
    """
    energy = np.asarray(draws.energy, dtype=np.float64)
    control = np.zeros((len(energy), 0)) if partial_anchor else np.asarray(draws.control, np.float64)
    series = nbeta * controlled(energy.mean(-1), control)
    if not finite or series.shape[1] < 8:
        return _unknown(Status.interrupted if finite else Status.diverged, series)
    hot = is_hot(len(series))
    mixed = mixing(series, hot)
    dimension, gamma = posterior.num_params, posterior.localization
    distance = np.asarray(draws.distance, np.float64)
    virial = nbeta * np.asarray(draws.virial, np.float64) + gamma * distance
    by_nbeta, capacity = _nbeta_sensitivity(series, nbeta * energy)
    by_gamma = _localization_sensitivity(series, distance, gamma)
    reached = float(virial.mean())
    if arrivals is not None:
        # Replicas from the prior see every arm: up to two errors the virial is off by noise.
        noise = 2 * monte_carlo_error(virial)
        reached += float(np.clip(dimension - reached, -noise, noise))
    heat = predicted_heat(visits, reach, nbeta) if heated else 0.0
    sharp = sharpened(series, virial - dimension, hot, expected=2 * heat)
    heat *= 1 - 2 * sharp.coefficient
    llc, share = float(sharp.series.mean()) - heat, float(virial.mean()) / dimension
    endless = corrected and gamma == 0 and llc < REGULAR * dimension / 2
    if endless or arrivals is not None:
        mixed = mixed._replace(rhat=float(np.fmax(mixed.rhat, mixing(distance, hot).rhat)))
    temperature = stiff_temperature(visits, full_batch=posterior.full_batch)
    acceptance = float(np.mean(draws.accepted)) if corrected else _mean_acceptance(visits)
    slip = nbeta * np.asarray(draws.slip, np.float64)
    spread = (
        0.0
        if sharp.coefficient
        else spread_error(llc, by_gamma.value, reached, gamma * distance.mean(), dimension)
    )
    budget = ErrorBudget(
        monte_carlo=monte_carlo_error(sharp.series),
        equilibration=equilibration_error(sharp.series, hot),
        spread=spread,
        heat=0.5 * abs(heat),
        step_size=0.0 if corrected else step_size_error(llc, temperature),
        anchor=anchor_error(series, slip) if partial_anchor else 0.0,
        rounding=rounding_error(llc, nbeta, loss, _num_rounded(posterior), eps),
    )
    moved = acceptance if corrected else 1.0
    return Assessment(
        llc=llc,
        llc_se=budget.total,
        status=judge(
            llc,
            budget,
            mixed,
            acceptance=moved,
            virial_share=reached / dimension,
            arrivals=arrivals,
            endless=endless,
            complete=complete,
        ),
        ess=mixed.ess,
        rhat=mixed.rhat,
        hot_cold_gap=mixed.gap,
        budget=budget,
        heat_capacity=capacity,
        d_llc_d_log_nbeta=by_nbeta,
        d_llc_d_log_localization=by_gamma,
        gradient_contribution=nbeta * float(np.mean(draws.tilt)),
        acceptance=acceptance,
        variance_left=(budget.monte_carlo / monte_carlo_error(series)) ** 2 if sharp.coefficient else 1.0,
        stiff_temperature=temperature,
        virial_share=share,
        prior_share=gamma * float(distance.mean()) / dimension,
        draws=series,
    )


def _num_rounded(posterior: LocalPosterior) -> int:
    """Return of how many numbers, each rounded by itself, the loss is the mean."""
    size = posterior.data.size
    return size if posterior.target.per_example else max(size // posterior.batch_size, 1)


def _mean_acceptance(visits: Sequence[Visit]) -> float:
    return float(np.mean([visit.acceptance for visit in visits])) if visits else np.nan


def _nbeta_sensitivity(series: np.ndarray, halves: np.ndarray) -> tuple[Measured, Measured]:
    """Return ∂λ̂/∂log nβ = λ̂ - C and the heat capacity C, by the covariance of disjoint half batches."""
    centred = halves - halves.mean((0, 1))
    capacities = (centred[..., 0] * centred[..., 1]).mean(1)
    return mean_of_chains(series.mean(1) - capacities), mean_of_chains(capacities)


def _localization_sensitivity(series: np.ndarray, distance: np.ndarray, gamma: float) -> Measured:
    """Return ∂λ̂/∂log γ = -(γ/2) Cov(nβL, ‖w - w*‖²), its error from the spread of the chains."""
    product = (series - series.mean()) * (distance - distance.mean())
    return mean_of_chains(-0.5 * gamma * product.mean(1))


def _unknown(status: Status, series: np.ndarray) -> Assessment:
    values: dict[str, Any] = {field.name: np.nan for field in fields(Assessment)}
    values |= dict.fromkeys(PAIRS, Measured(np.nan, np.nan))
    values |= {"status": status, "budget": ErrorBudget(*[np.nan] * 7), "draws": series}
    return Assessment(**values)
