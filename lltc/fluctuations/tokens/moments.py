"""Means, variances and covariances of losses in a store, a draw at a time, with their errors."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from lltc.diagnostics.covariances import Stream
from lltc.diagnostics.measured import Pairs, over_chains
from lltc.fluctuations.tokens.kept import KeptLosses

LEAST_OF_PRIOR = 8


class Contrast(NamedTuple):
    """A number or an array of them at the posterior, and as its control at the prior alone (nβ → 0).

    `se` and `control_se` are standard errors; the control is NaN where no prior was read.
    """

    value: np.ndarray
    se: np.ndarray
    control: np.ndarray
    control_se: np.ndarray


Each = Iterable[tuple[np.ndarray, np.ndarray]]


def covariance_terms(draws: Each) -> np.ndarray:
    """Return terms by chain `(chain, query, token)` whose mean over chains is Cov(query, token), unbiased.

    `draws` are pairs of queries `(query, chain)` and losses `(chain, token)`.
    """
    return _crossed(_stream(draws))


def covariances(draws: Each, *, correlation: bool = False) -> Pairs:
    """Return the covariances `(query, token)` of draws, as `covariance_terms` takes them, and their errors.

    With `correlation`, over both standard deviations. Errors are by the spread of the chains; those of
    correlations by leaving out one chain after the other.
    """
    if not correlation:
        return over_chains(covariance_terms(draws))
    stream = _stream(draws)
    return jackknife(_correlate, _crossed(stream), stream.query_variances(), stream.variances())


def _crossed(stream: Stream) -> np.ndarray:
    return np.stack([stream.covariances(number) for number in range(len(stream.query))], 1)


def _stream(draws: Each) -> Stream:
    stream = None
    for query, each in draws:
        stream = stream or Stream(len(query), *each.shape)
        stream.add(each, query)
    if stream is None:
        raise ValueError("there are no draws")
    return stream


def contrast(record: KeptLosses, function: Callable[[str], Pairs]) -> Contrast:
    """Return `function` of the posterior's draws and of the prior's, NaN where there are none."""
    record.check()
    value, se = function("posterior")
    if record.counts[1] < LEAST_OF_PRIOR:
        return Contrast(value, se, np.full_like(value, np.nan), np.full_like(value, np.nan))
    # Far from w* losses may leave the finite numbers, and then so does their control.
    with np.errstate(invalid="ignore", over="ignore"):
        return Contrast(value, se, *function("prior"))


def _correlate(crossed: np.ndarray, of_query: np.ndarray, of_token: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.maximum(of_query, 0))[:, None] * np.sqrt(np.maximum(of_token, 0))
    return np.divide(crossed, scale, out=np.zeros_like(crossed), where=scale > 0)


def jackknife(function: Callable[..., np.ndarray], *terms: np.ndarray) -> Pairs:
    """Return `function` of means over chains, the first axes, and its error by leaving out each chain."""
    count = len(terms[0])
    whole = [part.mean(0) for part in terms]
    without = lambda chain: [
        (count * mean - part[chain]) / (count - 1) for mean, part in zip(whole, terms, strict=True)
    ]
    left = np.stack([function(*without(chain)) for chain in range(count)])
    return Pairs(function(*whole), np.sqrt((count - 1) * left.var(0)))
