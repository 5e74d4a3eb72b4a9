"""Susceptibilities of tokens, and the structure in them: clusters, lines, patterning."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lltc.fluctuations.tokens.clusters import Clusters, find_clusters
from lltc.fluctuations.tokens.modes import Lines, find_lines
from lltc.fluctuations.tokens.patterning import Patterning, find_patterning
from lltc.fluctuations.tokens.responses import Responses
from lltc.report.wording import after_comma, measured

if TYPE_CHECKING:
    from xarray import Dataset

MOST_SHOWN = 8


class TokenSusceptibilities(Responses):
    """How every component responds to every token: `chi` and `correlation`, `(component, token)` each."""

    def __repr__(self) -> str:
        told = np.abs(self.chi.value) > 3 * self.chi.se
        strength = self.strength()
        order = np.argsort(-strength.value)
        rows = [
            f"  {self.components[at]}  {measured(float(strength.value[at]), float(strength.se[at]))}"
            for at in order[:MOST_SHOWN]
        ]
        head = (
            f"TokenSusceptibilities({len(self.components)} components, {self.record.num_tokens:,} tokens"
            f"{after_comma(self.caveat)}; "
            f"{100 * told.mean():.0f} % of the responses are more than three errors from 0); strongest first:"
        )
        return "\n".join([head, *rows])

    def cluster(self, *, min_size: int | None = None) -> Clusters:
        """Group tokens by the direction of their own response r[C, t] = -Cov[φ_C, ℓ_t], by HDBSCAN.

        Clustered is r_t/‖r_t‖, with each r[C] over its root mean square. Tokens whose response is nowhere
        four errors from 0 stay out, cluster -1, and so does what HDBSCAN takes for noise; groups with tokens
        nearer to one another than the median error of a direction are one. `min_size` is the least size of a
        group, by default 5 or 2 % of the tokens that respond. Stability is told by the clusters of each half
        of the chains. Needs scikit-learn.

        Source: Campello, Moulavi & Sander (2013) for HDBSCAN; Hennig (2007), Cluster-wise assessment of
        cluster stability.
        """
        return find_clusters(self, min_size)

    def lines(self) -> Lines:
        """Return the lines of the response, the singular vectors of χ √w that stand above its errors."""
        return find_lines(self)

    def patterning(self, target: Mapping[str, float], *, most: float = 0.5) -> Patterning:
        """Return the re-weighting of the tokens that moves a target most: χ inverted where it is known.

        The data go over to L_h = Σ_t w_t (1 + h_t) ℓ_t, of which E[φ_C] changes at the rate nβ Σ_t w_t h_t
        χ[C, t]. h is the least Σ_t w_t h_t² that brings the wanted changes, by the pseudo-inverse of χ √w in
        the singular vectors that stand above the errors of χ.

        Args:
            target: wanted changes by name: of E[φ_C] of components, the others being held, or of λ̂ as "llc".
            most: the largest change of a weight, in its own size; longer steps are shortened to it, as linear
                response holds for small ones alone. Default ½.

        Source: Wang & Murfet (2026, arXiv:2601.13548), Patterning: the dual of interpretability.
        """
        return find_patterning(self, target, most)

    def to_dataset(self) -> "Dataset":
        """Return χ, its correlation and their controls over component and token; errors end in _se."""
        from xarray import Dataset

        dims = ("component", "token")
        variables = {}
        for name, numbers in (("chi", self.chi), ("correlation", self.correlation)):
            for suffix, values in zip(("", "_se", "_control", "_control_se"), numbers, strict=True):
                variables[name + suffix] = (dims, values)
        tokens = {name: ("token", values) for name, values in self.record.tokens._asdict().items()}
        return Dataset(variables, coords={"component": list(self.components)} | tokens)
