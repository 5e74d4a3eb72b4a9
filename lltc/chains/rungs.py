"""The temperatures of one run, and which chains are whose."""

from typing import Any, NamedTuple

import numpy as np

from lltc.posterior.sharding import to_host


class Ladder(NamedTuple):
    """The inverse temperatures nβ `(rung,)` of one run, `num_chains` chains at each, a rung after another."""

    rungs: np.ndarray
    num_chains: int

    @property
    def hot(self) -> np.ndarray:
        """Which chains start hot, `(rung·chain,)`."""
        return np.tile(is_hot(self.num_chains), len(self.rungs))

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return values `(rung,)` given to the chains `(rung·chain,)`."""
        return np.repeat(values, self.num_chains)

    def split(self, values: Any) -> np.ndarray:
        """Return values of chains `(rung·chain, …)` by rung `(rung, chain, …)`."""
        return to_host(values).reshape(len(self.rungs), self.num_chains, *np.shape(values)[1:])


def is_hot(num_chains: int) -> np.ndarray:
    """Return which chains start hot, `(chain,)`: the second half."""
    return np.arange(num_chains) >= (num_chains + 1) // 2
