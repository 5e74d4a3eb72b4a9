"""ESS and R-hat of draws `(chain, draw)`, in NumPy: importing ArviZ takes longer than most estimates draw.

Source: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021, arXiv:1903.08008), sections 3 and 4; the numbers
are ArviZ's.
"""

import numpy as np


def bulk_ess(series: np.ndarray) -> float:
    """Return the effective sample size of the rank-normalised halves of the chains."""
    return _ess(_normal_scores(_split(series)))


def mean_ess(series: np.ndarray) -> float:
    """Return the effective sample size of the mean, from the halves of the chains."""
    return _ess(_split(series))


def split_rhat(series: np.ndarray) -> float:
    """Return the larger of the rank-normalised R-hat of the halves of the chains, as they are and folded.

    R-hat² = ((n - 1) W + B) / (n W) with W the variance within and B/n between half chains of n draws.
    Needs two chains; NaN for one.

    Example:
        >>> draws = np.random.default_rng(0).normal(size=(4, 500))
        >>> split_rhat(draws) < 1.02
        True
    """
    if len(series) < 2:
        return float("nan")
    halves = _split(series)
    return max(_rhat(_normal_scores(values)) for values in (halves, abs(halves - np.median(halves))))


def _split(series: np.ndarray) -> np.ndarray:
    half = series.shape[1] // 2
    return np.concatenate([series[:, :half], series[:, -half:]]).astype(float)


def _normal_scores(values: np.ndarray) -> np.ndarray:
    """Return the normal quantiles of the ranks, ties sharing their mean rank, offset as by Blom (1958)."""
    from scipy.special import ndtri

    if np.isnan(values).any():
        return np.full(values.shape, np.nan)
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - 0.5 * (counts - 1))[place].reshape(values.shape)
    return ndtri((ranks - 3 / 8) / (values.size + 1 / 4))


def _rhat(values: np.ndarray) -> float:
    draws = values.shape[1]
    between, within = draws * values.mean(1).var(ddof=1), values.var(1, ddof=1).mean()
    return float(np.sqrt((between / within + draws - 1) / draws))


def _ess(values: np.ndarray) -> float:
    """Return chains·draws / τ, with τ the sum of Geyer's initial monotone sequence of autocorrelations."""
    if np.isnan(values).any():
        return float("nan")
    if np.ptp(values) < np.finfo(float).resolution:
        return float(values.size)
    draws = values.shape[1]
    covariance = _autocovariance(values).mean(0)
    within = covariance[0] * draws / (draws - 1)
    whole = covariance[0] + values.mean(1).var(ddof=1)
    correlation = 1 - (within - covariance) / whole
    correlation[0] = 1.0
    # Sums of neighbours, at even lags and the next, are positive and fall; noise shows where they do not.
    even, odd = correlation[: draws - 1 : 2], correlation[1::2]
    even = even[: len(odd)]
    sums = even + odd
    considered = max((draws - 1) // 2, 1)
    ends = np.flatnonzero(sums[:considered] <= 0)
    last = ends[0] if len(ends) else considered - 1
    kept = np.minimum.accumulate(sums[:last])
    tail = even[last] if sums[last] > 0 else max(even[last], 0.0)
    time = -1 + 2 * kept.sum() + tail
    return float(values.size / max(time, 1 / np.log10(values.size)))


def _autocovariance(values: np.ndarray) -> np.ndarray:
    """Return the autocovariance at every lag of each row, divided by the row's length."""
    draws = values.shape[1]
    length = 1 << (2 * draws - 1).bit_length()
    waves = np.fft.rfft(values - values.mean(1, keepdims=True), length)
    return np.fft.irfft(abs(waves) ** 2, length)[:, :draws] / draws
