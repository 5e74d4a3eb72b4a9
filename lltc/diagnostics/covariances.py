"""Covariances over chains with their errors: of recorded series, and of streams too wide to record."""

import numpy as np

from lltc.diagnostics.measured import Measured
from lltc.diagnostics.mixing import monte_carlo_error


def covariance(x: np.ndarray, y: np.ndarray) -> Measured:
    """Return Cov(x, y) of series `(chain, draw, 2)`, one half with the other, and its standard error.

    Chains move independently, so that mean(x)·mean(y) is taken over pairs of different chains: with overall
    means x̄, ȳ and those xₖ, yₖ of each of the K chains, Cov is the mean over chains of E_k[(x - x̄)(y - ȳ)] +
    (xₖ - x̄)(yₖ - ȳ)/(K - 1), unbiased however slowly they move. The error is the larger of that of the
    chains' averaged series and of the chains' spread.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(8, 500, 1)).repeat(2, -1)
        >>> found = covariance(x, 3 * x)
        >>> bool(abs(found.value - 3) < 4 * found.se)
        True
    """
    products = covariance_series(x, y)
    return Measured(float(products.mean()), monte_carlo_error(products))


def covariance_series(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the series `(chain, draw)` whose mean is Cov(x, y); see `covariance`."""
    dx, dy = x - x.mean((0, 1)), y - y.mean((0, 1))
    products = 0.5 * (dx[..., 0] * dy[..., 1] + dx[..., 1] * dy[..., 0])
    mx, my = dx.mean(1), dy.mean(1)
    between = 0.5 * (mx[:, 0] * my[:, 1] + mx[:, 1] * my[:, 0]) / max(len(x) - 1, 1)
    return products + between[:, None]


class Stream:
    """Sums over draws of examples' losses, of a few queries, and of their products: O(queries · examples).

    Nothing of the size examples × examples is held unless every example is a query.
    """

    def __init__(self, queries: int, chains: int, examples: int):
        self.count = 0
        self.single = np.zeros((chains, examples))
        self.square = np.zeros((chains, examples))
        self.query = np.zeros((queries, chains))
        self.query_square = np.zeros((queries, chains))
        self.cross = np.zeros((queries, chains, examples))

    def add(self, each: np.ndarray, query: np.ndarray) -> None:
        """Take in one draw: losses `(chain, example)` and queries `(query, chain)`."""
        self.count += 1
        self.single += each
        self.square += each**2
        self.query += query
        self.query_square += query**2
        for row, values in zip(self.cross, query, strict=True):
            row += values[:, None] * each

    def variances(self) -> np.ndarray:
        """Return the variance of each example's loss, by chain `(chain, example)`; its mean is unbiased."""
        mean = self.single / self.count
        return by_chain(self.square / self.count, mean, mean)

    def query_variances(self) -> np.ndarray:
        """Return the variance of each query, by chain `(chain, query)`; its mean is unbiased."""
        mean = self.query.T / self.count
        return by_chain(self.query_square.T / self.count, mean, mean)

    def covariances(self, query: int) -> np.ndarray:
        """Return the covariance of one query with each example, by chain `(chain, example)`."""
        means = self.query[query][:, None] / self.count
        return by_chain(self.cross[query] / self.count, self.single / self.count, means)


def by_chain(product: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the terms of `covariance` from each chain's means of x·y, x and y, chains first."""
    all_x, all_y = x.mean(0), y.mean(0)
    within = product - all_x * y - x * all_y + all_x * all_y
    return within + (x - all_x) * (y - all_y) / max(len(x) - 1, 1)
