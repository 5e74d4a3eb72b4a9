"""The record of one reading, and all that is worked out of it."""

from collections.abc import Mapping, Sequence

from lltc.fluctuations.tokens import criteria
from lltc.fluctuations.tokens.analyses import (
    KernelSketch,
    find_influence,
    find_loss_kernel,
    find_susceptibilities,
    sketch_kernel,
)
from lltc.fluctuations.tokens.kept import KeptLosses
from lltc.fluctuations.tokens.moments import Contrast
from lltc.fluctuations.tokens.susceptibilities import TokenSusceptibilities


class LossRecord(KeptLosses):
    """The losses of every token at every kept draw, and what follows from them; nothing here samples again.

    All numbers are a `Contrast`: (value, se, control, control_se), the control at the prior alone.
    """

    def susceptibilities(self, *, alone: bool = False) -> TokenSusceptibilities:
        """Return χ[C, t] = -Cov[φ_C, ℓ_t - L_n] of every component and token.

        φ_C = nβ (L_n(C alone moved) - L_n(w*)), and χ is 1/nβ times the rate at which E[φ_C] changes as the
        data go over to the token t; over all tokens its mean by weight is 0. `alone` takes ℓ_t and L_n, too,
        with C alone moved.

        Source: Baker, Wang, Hoogland & Murfet (2025, arXiv:2504.18274).
        """
        return find_susceptibilities(self, alone=alone)

    def loss_kernel(self, rows: Sequence[int], *, correlation: bool = False) -> Contrast:
        """Return K_st = Cov[ℓ_s, ℓ_t] `(row, token)` of the tokens `rows` with all, or their correlations.

        Source: Adam, Furman & Hoogland (2025, arXiv:2509.26537).
        """
        return find_loss_kernel(self, rows, correlation=correlation)

    def sketch_kernel(self, width: int = 256, *, key: int = 0) -> KernelSketch:
        """Return the whole loss kernel as a product of random projections `(token, width)`, never multiplied.

        Source: Johnson & Lindenstrauss (1984); Achlioptas (2003), Database-friendly random projections.
        """
        return sketch_kernel(self, width, key)

    def influence(
        self, queries: Mapping[str, Sequence[int]] | Sequence[int], *, correlation: bool = False
    ) -> Contrast:
        """Return the Bayesian influence -Cov[ℓ_t, ℓ_q] `(query, token)` of every token on each query.

        A query is a token, or by name a set of tokens, whose mean loss it is. nβ·weight_t times the influence
        is the rate at which E[ℓ_q] changes with the logarithm of the weight of t in L_n.

        Source: Kreer, Wu, Adam, Furman & Hoogland (2025, arXiv:2509.26544).
        """
        return find_influence(self, queries, correlation=correlation)

    def loss_gain(self, component: str | None = None) -> Contrast:
        """Return E[ℓ_t] - ℓ_t(w*) `(token,)`, with all moved or one component alone."""
        return criteria.loss_gain(self, component)

    def variance(self, component: str | None = None) -> Contrast:
        """Return Var[ℓ_t] `(token,)`, with all moved or one component alone."""
        return criteria.variance(self, component)

    def singular_fluctuation(self) -> Contrast:
        """Return ν = (β/2) Σᵢ Var[ℓᵢ] over the n examples, β = nβ/n; its control is that of the prior."""
        return criteria.singular_fluctuation(self)

    def waic(self) -> Contrast:
        """Return WAIC = -(1/n) Σᵢ ln E[exp(-ℓᵢ)] + (β/n) Σᵢ Var[ℓᵢ], nats an example, β = nβ/n.

        The error is that of Monte Carlo.

        Source: Watanabe (2010), definition 2 and theorem 1, at any β.
        """
        return criteria.waic(self)

    def wbic(self) -> Contrast:
        """Return WBIC = n E[L_n] at nβ = n/ln n, nats; refused at any other temperature.

        Source: Watanabe (2013), A widely applicable Bayesian information criterion, definition 3.
        """
        return criteria.wbic(self)
