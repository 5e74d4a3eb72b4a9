"""How every component responds to every token, and by how much each chain says so."""

from dataclasses import dataclass

import numpy as np

from lltc.diagnostics.measured import Pairs, over_chains
from lltc.errors import InputError
from lltc.fluctuations.tokens.kept import KeptLosses
from lltc.fluctuations.tokens.moments import Contrast


@dataclass(frozen=True, eq=False, repr=False)
class Responses:
    """χ of every component and token, `chi` and `correlation`, `(component, token)` each.

    `terms` `(chain, component, token)` are those of which `chi.value` is the mean, and those of Cov[φ_C, L_n]
    are `with_mean` `(chain, component)`.
    """

    record: KeptLosses
    chi: Contrast
    correlation: Contrast
    terms: np.ndarray
    with_mean: np.ndarray

    @property
    def components(self) -> tuple[str, ...]:
        """The names of the components."""
        return self.record.components

    @property
    def root_weight(self) -> np.ndarray:
        """√w `(token,)` of the tokens' weights, scaled to sum to 1."""
        weight = self.record.tokens.weight
        return np.sqrt(weight / weight.sum())

    @property
    def own(self) -> np.ndarray:
        """Return terms by chain `(chain, component, token)` of -Cov[φ_C, ℓ_t], of the token by itself."""
        return self.terms - self.with_mean[..., None]

    def strength(self) -> Pairs:
        """Return how strongly components respond, the root mean square of χ over tokens `(component,)`.

        The share of its errors is taken out; errors are by leaving out one chain after the other.
        """
        count = len(self.terms)
        squares = lambda terms: np.sum((terms.mean(0) * self.root_weight) ** 2, -1)
        noise = np.sum((over_chains(self.terms).se * self.root_weight) ** 2, -1)
        value = np.sqrt(np.maximum(squares(self.terms) - noise, 0))
        left = [np.sqrt(squares(np.delete(self.terms, chain, 0))) for chain in range(count)]
        return Pairs(value, np.sqrt((count - 1) * np.var(left, 0)))


def check_same(before: Responses, after: Responses) -> None:
    """Refuse responses of other components, or to other tokens."""
    one, other = before.record.tokens, after.record.tokens
    alike = np.array_equal(one.example, other.example) and np.array_equal(one.position, other.position)
    if before.components != after.components or not alike:
        raise InputError(
            "two readings are compared that have other components or other tokens; read both with the same "
            "components, data and rows."
        )
