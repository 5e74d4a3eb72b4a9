"""How far draws can be trusted: ESS, R-hat, Monte-Carlo error, the hot–cold gap, and a status."""

from enum import Enum
from typing import Any, NamedTuple

import numpy as np

MOST_RHAT = 1.05
MOST_VIRIAL = 1.5
LEAST_VIRIAL = 0.75
LEAST_ACCEPTANCE = 0.05
MOST_LEFT = 0.15
AGREEMENT = 0.1
ROUNDING = 1e-3
SEGMENTS = 20


class Status(Enum):
    """What became of an estimate; each member's value is a sentence with the cause and the remedy."""

    ok = "The chains mixed, hot and cold starts agree, and the error bar covers what is known."
    not_equilibrated = (
        "Chains started hot and cold, or chains among themselves, still disagree by more than their noise, "
        "or are far from equilibrium (the virial share is above 150 %): draw longer (num_warmup, num_draws) "
        "or tighten the localization."
    )
    unexplored = (
        "Flat directions have not spread out as far as the localization lets them (the virial share is "
        "below 75 %), so the "
        "number may still move by more than its error: draw longer (num_draws), or raise the localization."
    )
    few_draws = (
        "The draws amount to fewer than 50 independent ones, too few for the error bar: raise num_draws."
    )
    too_coarse = (
        "The steps are too large for the stiff directions, whose temperature is off by more than a tenth: "
        "pass a smaller step_size, or none to have it measured."
    )
    negative = (
        "The loss fell along the chains, so the checkpoint is not a minimum and the number is no learning "
        "coefficient: use "
        "lltc.behavioral, a smaller nbeta or a larger localization."
    )
    diverged = (
        "The loss or the weights left the finite numbers, so no estimate is given: pass a smaller step_size "
        "(or none, to have it "
        "measured), or a larger localization."
    )
    interrupted = (
        "The run was stopped by hand before all draws were made: run it again for the full precision."
    )
    failed = "The checkpoint could not be read or evaluated; its row carries the reason."


class ErrorBudget(NamedTuple):
    """Standard errors of λ̂, added in squares: what each known source of error may amount to.

    `monte_carlo`; `equilibration`, the hot–cold gap beyond its noise; `spread`, flat directions not yet
    explored; `heat`, what is uncertain of the minibatch heat that was subtracted; `step_size`, the stiff
    directions' temperature beyond its noise; `anchor`, a gradient at w* from part of the data; `rounding`, a
    per mille of λ̂ for float32.
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


class Mixing(NamedTuple):
    """Bulk effective sample size, rank-normalised split R-hat, and hot minus cold with its noise."""

    ess: float
    rhat: float
    gap: float
    gap_se: float


def mixing(series: np.ndarray, hot: np.ndarray) -> Mixing:
    """Return the mixing diagnostics of `series` `(chain, draw)`; NaN where there is too little to tell.

    Source: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), through ArviZ.

    Example:
        >>> draws = np.random.default_rng(0).normal(size=(4, 500))
        >>> mixing(draws, np.array([False, False, True, True])).rhat < 1.02
        True
    """
    if series.shape[1] < 8 or np.ptp(series) == 0:
        return Mixing(np.nan, np.nan, np.nan, np.nan)
    from arviz_stats.base.array import array_stats

    ess: Any = array_stats.ess(series, chain_axis=0, draw_axis=1)
    rhat: Any = array_stats.rhat(series, chain_axis=0, draw_axis=1)
    gap, gap_se = hot_cold_gap(series, hot)
    return Mixing(float(ess), float(rhat), gap, gap_se)


def controlled(energy: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Return `energy` less its regression on the zero-mean `control`, both `(chain, draw)`.

    The coefficient is that of the chain-averaged series, whose mean is the estimate: chains share their
    batches.
    """
    if not control.size:
        return energy
    centred = control.mean(0) - control.mean()
    variance = np.sum(centred**2)
    if variance == 0 or not np.isfinite(variance):
        return energy
    return energy - control * (np.sum(centred * energy.mean(0)) / variance)


class Sharpened(NamedTuple):
    """A series `(chain, draw)` with a control variate taken out, its `coefficient` 0 where it was not."""

    series: np.ndarray
    coefficient: float


def sharpened(series: np.ndarray, virial: np.ndarray, hot: np.ndarray, *, expected: float = 0.0) -> Sharpened:
    """Return `series` less its regression on `virial`, both `(chain, draw)`, where that is sure to help.

    `virial` is nβ(w - w*)·∇L + γ‖w - w*‖² - d, whose mean is zero in equilibrium (Stein's identity for the
    field w - w*): near a nondegenerate minimum it is twice the energy's fluctuation, and little is left.
    While flat directions are still spreading out its mean is not zero, and the regression would carry that
    over. So nothing is done unless that mean is within three errors of what minibatch heat makes `expected`
    (half of which is allowed for), fast and slow fluctuations (draws, and means over 20 segments of each
    chain) have the same coefficient to 10 %, and the error falls to 15 % or less.

    Source: Mira, Solgi & Imparato (2013, arXiv:1012.2983), section 2, for the first-order polynomial.
    """
    length = series.shape[1] // SEGMENTS
    error = np.hypot(monte_carlo_error(virial), equilibration_error(virial, hot))
    if length == 0 or not abs(virial.mean() - expected) <= 3 * error + 0.5 * expected:
        return Sharpened(series, 0.0)
    slow, fast = (_coefficient(series, virial, segment) for segment in (length, 1))
    if abs(slow - fast) > AGREEMENT * max(abs(slow), abs(fast)):
        return Sharpened(series, 0.0)
    tried = series - slow * virial
    if monte_carlo_error(tried) > MOST_LEFT * monte_carlo_error(series):
        return Sharpened(series, 0.0)
    return Sharpened(tried, slow)


def _coefficient(series: np.ndarray, control: np.ndarray, segment: int) -> float:
    """Return the regression coefficient of means over `segment` draws of each chain; 0 for no variance."""
    used = series.shape[1] // segment * segment
    means = [values[:, :used].reshape(-1, segment).mean(1) for values in (series, control)]
    left, right = (values - values.mean() for values in means)
    return float(left @ right / (right @ right)) if right.any() else 0.0


def hot_cold_gap(series: np.ndarray, hot: np.ndarray) -> tuple[float, float]:
    """Return mean(hot) - mean(cold) of `series` `(chain, draw)` and its error from the chains' spread."""
    if hot.all() or not hot.any():
        return np.nan, np.nan
    means = series.mean(1)
    cold_means, hot_means = means[~hot], means[hot]
    within = np.sum((cold_means - cold_means.mean()) ** 2) + np.sum((hot_means - hot_means.mean()) ** 2)
    variance = within / max(len(means) - 2, 1)
    gap_se = np.sqrt(variance * (1 / len(cold_means) + 1 / len(hot_means)))
    return float(hot_means.mean() - cold_means.mean()), float(gap_se)


def monte_carlo_error(series: np.ndarray) -> float:
    """Return the standard error of the mean of `series` `(chain, draw)`.

    Chains share their minibatches, so the error is that of the chain-averaged series (its variance over its
    effective sample size), or the spread of the chains' means where that is larger, as it is when chains are
    slower than the run.
    """
    if series.shape[1] < 8 or np.ptp(series) == 0:
        return float("nan") if series.shape[1] < 8 else 0.0
    from arviz_stats.base.array import array_stats

    averaged = series.mean(0)
    ess: Any = array_stats.ess(averaged[None], chain_axis=0, draw_axis=1, method="mean")
    of_series = averaged.std(ddof=1) / np.sqrt(float(ess))
    of_chains = series.mean(1).std(ddof=1) / np.sqrt(series.shape[0])
    return float(max(of_series, of_chains))


def equilibration_error(series: np.ndarray, hot: np.ndarray) -> float:
    """Return half of what the hot–cold gap of `series` `(chain, draw)` exceeds its noise by, in squares.

    When chains have met, the gap has variance `gap_se²`; only what exceeds it says that they have not, and
    half of it separates the mean from either side.
    """
    gap, gap_se = hot_cold_gap(series, hot)
    return float(np.sqrt(max(gap**2 - gap_se**2, 0.0)) / 2) if np.isfinite(gap) else 0.0


def anchor_error(series: np.ndarray, slip: np.ndarray) -> float:
    """Return how far λ̂ may be off because ∇L_n(w*) came from part of the data.

    With the doubt δ of that gradient the chains move in U + s, s = nβ δ·(w - w*). To second order in s λ̂ is
    then off by -Cov(nβL, s) + ½κ(nβL, s, s), κ the third joint cumulant; `slip` `(chain, draw)` is s for one
    δ drawn from the error's own distribution.
    """
    energy, shift = series - series.mean(), slip - slip.mean()
    return float(np.hypot(np.mean(energy * shift), 0.5 * np.mean(energy * shift**2)))


def judge(
    llc: float,
    budget: ErrorBudget,
    mixed: Mixing,
    *,
    acceptance: float,
    virial_share: float,
    complete: bool,
) -> Status:
    """Return the status of finite draws."""
    if not complete:
        return Status.interrupted
    if llc < -3 * max(budget.monte_carlo, 1e-12):
        return Status.negative
    if acceptance < LEAST_ACCEPTANCE:
        return Status.few_draws
    if not np.isfinite(mixed.ess) and budget.monte_carlo == 0:
        return Status.ok
    if not mixed.ess >= 50:
        return Status.few_draws
    apart = abs(mixed.gap) > 4 * mixed.gap_se and abs(mixed.gap) > 0.1 * abs(llc)
    if apart or mixed.rhat > MOST_RHAT or budget.spread > 0.1 * abs(llc):
        return Status.not_equilibrated
    if budget.step_size > 0.1 * abs(llc):
        return Status.too_coarse
    if virial_share > MOST_VIRIAL:
        return Status.not_equilibrated
    return Status.unexplored if virial_share < LEAST_VIRIAL else Status.ok
