"""The local learning coefficient at several temperatures at once, and λ as a slope that needs no L(w*)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

import numpy as np

from lltc.compilation import broadcasting
from lltc.diagnostics.measured import Measured
from lltc.diagnostics.mixing import monte_carlo_error
from lltc.errors import InputError
from lltc.estimates.estimator import draw_estimates
from lltc.estimates.options import LadderOptions, arrange, complete
from lltc.estimates.record import LLCEstimate
from lltc.posterior.checks import check_ladder
from lltc.posterior.data import Data
from lltc.posterior.target import LocalPosterior
from lltc.report.wording import measured
from lltc.types import LossFn, PyTree


@dataclass(frozen=True, eq=False, repr=False)
class LLCLadder:
    """Estimates at rising nβ from one run, and λ as the slope of E[L_n] in 1/nβ.

    `slope` is (value, se): the weighted least-squares slope of E[L_n(w)] over 1/nβ. A loss at w* that is not
    the minimum, or that is known only up to a constant, shifts every λ̂ by nβ times the constant; the slope
    does not see it.
    """

    estimates: tuple[LLCEstimate, ...]
    slope: Measured

    @property
    def nbeta(self) -> np.ndarray:
        """Inverse temperatures nβ `(rung,)`, rising."""
        return np.array([estimate.nbeta for estimate in self.estimates])

    @property
    def llc(self) -> np.ndarray:
        """λ̂ at each nβ `(rung,)`."""
        return np.array([estimate.llc for estimate in self.estimates])

    @property
    def llc_se(self) -> np.ndarray:
        """The standard errors of `llc` `(rung,)`."""
        return np.array([estimate.llc_se for estimate in self.estimates])

    def __repr__(self) -> str:
        rungs = ", ".join(f"{e.nbeta:.4g}: {measured(e.llc, e.llc_se)}" for e in self.estimates)
        return f"LLCLadder(slope {measured(*self.slope)}; llc at nβ {rungs})"


@broadcasting
def estimate_llc_ladder(
    model: LossFn | LocalPosterior,
    params: PyTree = None,
    data: PyTree | Data = None,
    **options: Unpack[LadderOptions],
) -> LLCLadder:
    """Estimate λ̂ at every nβ of a ladder in one run, and λ as the slope of E[L_n] in 1/nβ.

    E[L_n] = L_n(w₀) + λ/(nβ) + … where w₀ is the best point nearby, so that the slope is free of L_n(w*) and
    of whether w* is w₀. Chains of all rungs share every batch; each rung has its own step size.

    Args:
        model: as for `lltc.estimate_llc`, or an `lltc.local_posterior(…)` in place of model, params and data.
        params: the checkpoint w*.
        data: as for `lltc.estimate_llc`.
        options: `nbeta`, two or more different inverse temperatures, by default n/ln n times ¼, ½, 1, 2;
            `num_chains` at each; all others as in `lltc.Options`, but `step_size`, which every rung has of
            its own. Draws go on until every rung is precise enough.

    Returns:
        An `LLCLadder` with `estimates`, in rising nβ, and `slope`. The error of the slope is its spread over
        chains and, in squares, what the rungs' budgets hold beside Monte Carlo.

    Raises:
        InputError: as `estimate_llc`, and for a ladder of fewer than two rungs.

    Source:
        Watanabe (2013), A widely applicable Bayesian information criterion, section 3, for the slope.

    Example:
        >>> import jax.numpy as jnp
        >>> loss = lambda w, x: 3 + 0.5 * jnp.sum((w - 0.1)**2) * jnp.ones(len(x))
        >>> found = estimate_llc_ladder(
        ...     loss, jnp.zeros(4), jnp.zeros(99), nbeta=[50, 100, 200], localization=1e-3, progress=False)
        >>> bool(abs(found.slope.value - 2) < 4 * found.slope.se)
        True
    """
    settings = complete("estimate_llc_ladder", options)
    if settings["step_size"] is not None:
        raise InputError(
            f"step_size={settings['step_size']!r} was given, but each rung of a ladder needs its own; leave "
            "it out and it is measured."
        )
    given = settings["nbeta"]
    rungs = None if given is None else check_ladder(given)
    single = None if rungs is None or isinstance(model, LocalPosterior) else float(rungs[-1])
    posterior = arrange("estimate_llc_ladder", model, params, data, settings | {"nbeta": single})
    if rungs is None:
        rungs = check_ladder(posterior.nbeta * np.array([0.25, 0.5, 1.0, 2.0]))
    estimates = draw_estimates(posterior, rungs, settings)
    return LLCLadder(estimates, slope_of(estimates))


def slope_of(estimates: Sequence[LLCEstimate]) -> Measured:
    """Return the weighted slope of E[L_n] over 1/nβ, weights (nβ)² as for errors in proportion to 1/nβ.

    All chains saw the same batches, so that the slope of every draw, over the chains k of all rungs, carries
    the Monte-Carlo error, batches that all share included; the rungs' other errors are carried through the
    same weights.
    """
    nbeta = np.array([estimate.nbeta for estimate in estimates])
    weights = nbeta**2 / np.sum(nbeta**2)
    centred = 1 / nbeta - weights @ (1 / nbeta)
    lever = weights * centred / (weights @ centred**2) / nbeta
    llc = np.array([estimate.llc for estimate in estimates])
    slopes = np.tensordot(lever, np.stack([estimate.draws for estimate in estimates]), 1)
    others = np.array([e.budget._replace(monte_carlo=0.0).total for e in estimates])
    noise = monte_carlo_error(slopes)
    return Measured(float(lever @ llc), float(np.hypot(noise, np.linalg.norm(lever * others))))
