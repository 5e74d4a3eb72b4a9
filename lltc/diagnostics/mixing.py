"""How far draws can be trusted: ESS, R-hat, Monte-Carlo error, the hot–cold gap."""

import sys
from typing import Any, NamedTuple

import numpy as np


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
    array_stats = _array_stats()
    ess: Any = array_stats.ess(series, chain_axis=0, draw_axis=1)
    rhat: Any = array_stats.rhat(series, chain_axis=0, draw_axis=1)
    gap, gap_se = hot_cold_gap(series, hot)
    return Mixing(float(ess), float(rhat), gap, gap_se)


def _array_stats() -> Any:
    """Return ArviZ's statistics of arrays; it adds to docstrings, of which `python -OO` leaves none."""
    from arviz_stats.base import stats_utils
    from arviz_stats.base.array import array_stats

    if sys.flags.optimize > 1:
        stats_utils.update_docstring = lambda *_, **__: None
    return array_stats


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
    averaged = series.mean(0)
    ess: Any = _array_stats().ess(averaged[None], chain_axis=0, draw_axis=1, method="mean")
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
