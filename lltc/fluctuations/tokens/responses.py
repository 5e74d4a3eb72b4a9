"""How every component responds to every token, and by how much each chain says so."""

from dataclasses import dataclass

import numpy as np

from lltc.diagnostics.measured import Pairs
from lltc.diagnostics.status import Status
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
    def caveat(self) -> str:
        """What is said against the chains, as the name of their status, or nothing."""
        status = self.record.estimate.status
        return "" if status is Status.ok else status.name

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

        Squares are products of different chains, which share no errors. Their own errors are by leaving out
        one chain after the other, NaN of two chains. Near 0 that of the root is half the root of theirs.
        """
        weighed = self.terms * self.root_weight
        products = np.einsum("act,bct->cab", weighed, weighed, optimize=True)
        chains = range(len(weighed))
        square, without = _across(products), [_across(_left_out(products, chain)) for chain in chains]
        error = np.sqrt((len(chains) - 1) * np.var(without, 0))
        value = np.sqrt(np.maximum(square, 0))
        # No error at all is that of no response at all, as of a component that does nothing.
        scale = np.maximum(value, np.sqrt(error))
        return Pairs(value, np.divide(error, 2 * scale, out=np.zeros_like(error), where=scale != 0))


def _across(products: np.ndarray) -> np.ndarray:
    """Return the mean over pairs of different chains of products `(component, chain, chain)`; NaN of one."""
    count = products.shape[-1]
    total = products.sum((1, 2)) - np.trace(products, axis1=1, axis2=2)
    return total / (count * (count - 1)) if count > 1 else np.full(len(products), np.nan)


def _left_out(products: np.ndarray, chain: int) -> np.ndarray:
    """Return the products of the other chains."""
    return np.delete(np.delete(products, chain, 1), chain, 2)


def check_same(before: Responses, after: Responses) -> None:
    """Refuse responses of other components, to other tokens, or of other posteriors."""
    one, other = before.record.tokens, after.record.tokens
    alike = np.array_equal(one.example, other.example) and np.array_equal(one.position, other.position)
    if before.components != after.components or not alike:
        raise InputError(
            "two readings are compared that have other components or other tokens; read both with the same "
            "components, data and rows."
        )
    of_both = [(item.record.nbeta, item.record.estimate.localization) for item in (before, after)]
    if of_both[0] != of_both[1]:
        said = " and ".join(f"nβ {nbeta:.6g}, γ {gamma:.6g}" for nbeta, gamma in of_both)
        raise InputError(
            f"two readings are compared that have {said}, but responses depend on both; read both with the "
            "same nbeta and localization, passing them."
        )
