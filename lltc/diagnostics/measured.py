"""Numbers with their standard errors."""

from typing import NamedTuple

import numpy as np


class Measured(NamedTuple):
    """A number and its standard error."""

    value: float
    se: float


class Pairs(NamedTuple):
    """Numbers and their standard errors, arrays of one shape."""

    value: np.ndarray
    se: np.ndarray


def over_chains(values: np.ndarray) -> Pairs:
    """Return the mean over chains, the first axis, and its standard error by their spread."""
    return Pairs(values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values)))


def mean_of_chains(values: np.ndarray) -> Measured:
    """Return the mean of numbers `(chain,)` and its standard error by their spread."""
    return Measured(*map(float, over_chains(values)))
