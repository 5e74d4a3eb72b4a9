"""Patterning: the re-weighting of the data that moves a response most, as the linear response inverts."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lltc.diagnostics.measured import Pairs, over_chains
from lltc.errors import InputError
from lltc.fluctuations.tokens.modes import find_noise
from lltc.fluctuations.tokens.moments import covariance_terms
from lltc.fluctuations.tokens.responses import Responses
from lltc.posterior.checks import as_number
from lltc.report.wording import after_comma, measured

WHOLE = "llc"


@dataclass(frozen=True, eq=False, repr=False)
class Patterning:
    """A re-weighting of the data: what each token weighs, and what is expected of it.

    `weights` `(token,)` are the new weights over the old ones, of mean 1; `names` are the components whose
    E[φ_C], or "llc" whose λ̂, change by `expected`, by linear response. `kept` of `modes` patterns of the
    response stood above its errors and are used. `cost` is the mean square of `weights` - 1. `caveat` is the
    status of the chains where it is not ok.
    """

    names: tuple[str, ...]
    weights: np.ndarray
    expected: Pairs
    kept: int
    modes: int
    cost: float
    caveat: str = ""

    def __repr__(self) -> str:
        rows = [
            f"  {name}  {measured(*pair)}" for name, *pair in zip(self.names, *self.expected, strict=True)
        ]
        low, high = self.weights.min(), self.weights.max()
        head = (
            f"Patterning({self.kept} of {self.modes} modes above the errors; weights from {low:.3g} to "
            f"{high:.3g} times the old ones{after_comma(self.caveat)}); expected changes:"
        )
        return "\n".join([head, *rows])


def find_patterning(responses: Responses, target: Mapping[str, float], most: float) -> Patterning:
    """See `TokenSusceptibilities.patterning`."""
    _check(responses, target, most)
    names = (*responses.components, WHOLE) if WHOLE in target else responses.components
    rates = responses.terms
    if WHOLE in target and not responses.record.linear:
        raise InputError(
            "target holds llc, but these draws were made with linear=False, whose λ̂ is not that of the "
            "losses kept; leave it out, or read again with linear=True."
        )
    if WHOLE in target:
        rates = np.concatenate([rates, _llc_rates(responses)], 1)
    root = np.sqrt(responses.record.tokens.weight)
    scaled = responses.record.nbeta * rates * root
    aim = np.array([float(target.get(name, 0.0)) for name in names])
    left, values, right = np.linalg.svd(scaled.mean(0), full_matrices=False)
    rank = int(np.sum(values > find_noise(scaled)))
    if not rank:
        raise InputError(
            "no pattern of these responses stands above its errors, so that none can be aimed at; read more "
            "draws, or components that respond."
        )
    # h √w⁻¹ of least norm; the weights' mean stays 1, as a common factor changes no response.
    change = right[:rank].T @ ((left[:, :rank].T @ aim) / values[:rank])
    relative = change / root
    relative = relative - root**2 @ relative / (root**2).sum()
    factor = most / max(np.abs(relative).max(), np.finfo(float).tiny)
    relative = relative * min(factor, 1.0)
    expected = over_chains(scaled @ (relative * root))
    cost = float(root**2 @ relative**2)
    return Patterning(names, 1 + relative, expected, rank, len(values), cost, responses.caveat)


def _llc_rates(responses: Responses) -> np.ndarray:
    """Return terms by chain `(chain, 1, token)` of dλ̂ over nβ, as the data go over to a token.

    λ̂ = nβ E[L_n - L_n(w*)], so that E[δ_t] is added to -nβ Cov[L_n, δ_t] with δ_t = ℓ_t - L_n, both less w*.
    """
    record = responses.record
    means = record.means()[..., 0]

    def draws():
        for number, losses in enumerate(record.losses()):
            yield record.nbeta * means[number][None], losses - means[number][:, None]

    crossed = covariance_terms(draws())
    gained = np.zeros((record.num_chains, record.num_tokens))
    for _, each in draws():
        gained += each / record.counts[0]
    return gained[:, None] - crossed


def _check(responses: Responses, target: Mapping[str, float], most: float) -> None:
    allowed = (*responses.components, WHOLE)
    if not isinstance(target, Mapping) or not target or any(name not in allowed for name in target):
        raise InputError(
            f"target must map some of {', '.join(allowed)} to wanted changes, but {target!r} was given; pass "
            "such."
        )
    changes = [as_number(value) for value in target.values()]
    if not all(change is not None and np.isfinite(change) for change in changes) or not any(changes):
        raise InputError(f"target must hold finite changes that are not all 0, but {target!r} was given.")
    if not 0 < (as_number(most) or 0) <= 1:
        raise InputError(f"most must lie above 0 and up to 1, but {most!r} was given: weights stay positive.")
