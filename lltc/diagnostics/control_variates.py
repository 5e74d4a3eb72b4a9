"""Taking out of a series what is known to have mean zero."""

from typing import NamedTuple

import numpy as np

from lltc.diagnostics.mixing import equilibration_error, monte_carlo_error

MOST_LEFT = 0.15
AGREEMENT = 0.1
SEGMENTS = 20
MOST_KURTOSIS, NEGLIGIBLE = 30.0, 0.05


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
    chain) have the same coefficient to 10 %, the error falls to 15 % or less, and what is left has no heavy
    tail (a kurtosis up to 30; that of a quadratic's ‖w - w*‖² is 15 at most), as it has where far arms are
    seen too seldom for its error to be known. A tail that ends within a twentieth of the series' standard
    deviation is no matter.

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
    farthest = np.abs(tried - tried.mean()).max()
    if farthest > NEGLIGIBLE * series.std() and _kurtosis(tried) > MOST_KURTOSIS:
        return Sharpened(series, 0.0)
    return Sharpened(tried, slow)


def _kurtosis(series: np.ndarray) -> float:
    """Return the fourth central moment over the squared variance, 3 of a Gaussian and 0 of a constant."""
    squared = (series - series.mean()) ** 2
    return float((squared**2).mean() / squared.mean() ** 2) if squared.any() else 0.0


def _coefficient(series: np.ndarray, control: np.ndarray, segment: int) -> float:
    """Return the regression coefficient of means over `segment` draws of each chain; 0 for no variance."""
    used = series.shape[1] // segment * segment
    means = [values[:, :used].reshape(-1, segment).mean(1) for values in (series, control)]
    left, right = (values - values.mean() for values in means)
    return float(left @ right / (right @ right)) if right.any() else 0.0
