"""What became of an estimate: one status, judged from its errors and its chains' mixing."""

from enum import Enum

import numpy as np

from lltc.diagnostics.budget import ErrorBudget
from lltc.diagnostics.mixing import Mixing

MOST_RHAT = 1.05
MOST_VIRIAL = 1.5
LEAST_VIRIAL, LEAST_ENDLESS = 0.75, 0.95
LEAST_ACCEPTANCE = 0.05
LEAST_ESS = 50


class Status(Enum):
    """What became of an estimate; each member's value is a sentence with the cause and the remedy."""

    ok = "The chains mixed, hot and cold starts agree, and the error bar covers what is known."
    not_equilibrated = (
        "Chains started hot and cold, or chains among themselves, still disagree by more than their noise, "
        "or are far from equilibrium (the virial share is above 150 %): draw longer (num_warmup, num_draws) "
        "or tighten the localization."
    )
    unexplored = (
        "Flat directions have not spread out as far as the localization lets them (the virial share is "
        "below 75 %, or below 95 % where the localization is 0 and ends no arm), so the "
        "number may still move by more than its error: draw longer (num_draws), or raise the localization."
    )
    few_draws = (
        "The draws amount to fewer than 50 independent ones, or have no room for 50 passages from the prior, "
        "by which far arms of a valley are found; too few for the error bar: raise num_draws."
    )
    too_coarse = (
        "The steps are too large: the temperature of the stiff directions is off by more than a tenth, or "
        "fewer than 5 % of the moves are accepted: pass a smaller step_size, or none to have it measured."
    )
    negative = (
        "The loss fell along the chains, so the checkpoint is not a minimum and the number is no learning "
        "coefficient: use "
        "lltc.behavioral, a smaller nbeta or a larger localization."
    )
    wrong_gradient = (
        "The gradient of the loss does not add up to its rises (stop_gradient, rounding, a straight-through "
        "or a custom derivative), so the chains sample something else: give the loss the gradient of its "
        "value."
    )
    coupled = (
        "The loss of an example changes with the size of its batch (a sum for a mean, a division by the "
        "batch size), so minibatches sample something else: return one loss an example, each by itself."
    )
    unused = (
        "The loss does not change with the parameters that move, so there is nothing to measure: check that "
        "the model uses the params it is given, not weights of its own, and what restrict selects."
    )
    diverged = (
        "The loss or the weights left the finite numbers, so no estimate is given: pass a smaller step_size "
        "(or none, to have it "
        "measured), or a larger localization."
    )
    interrupted = (
        "The run was stopped by hand before all draws were made: run it again for the full precision."
    )
    failed = "The checkpoint could not be read or evaluated; its row carries the reason."


def judge(
    llc: float,
    budget: ErrorBudget,
    mixed: Mixing,
    *,
    acceptance: float,
    virial_share: float,
    arrivals: int | None = None,
    endless: bool = False,
    complete: bool,
) -> Status:
    """Return the status of finite draws; `arrivals` counts replicas that came from the prior.

    `endless` draws are those of a singular minimum at γ = 0. What the virial lacks there is the mass at the
    distance that chains have come to, as a surface integral, and so tells what lies beyond.
    """
    if not complete:
        return Status.interrupted
    if llc < -3 * max(budget.monte_carlo, 1e-12):
        return Status.negative
    if acceptance < LEAST_ACCEPTANCE:
        return Status.too_coarse
    least = LEAST_ENDLESS if endless else LEAST_VIRIAL
    if not np.isfinite(mixed.ess) and budget.monte_carlo == 0:
        return Status.ok if least <= virial_share <= MOST_VIRIAL else Status.unexplored
    if not mixed.ess >= LEAST_ESS or (arrivals is not None and arrivals < LEAST_ESS):
        return Status.few_draws
    apart = abs(mixed.gap) > 4 * mixed.gap_se and abs(mixed.gap) > 0.1 * abs(llc)
    if apart or mixed.rhat > MOST_RHAT or budget.spread > 0.1 * abs(llc):
        return Status.not_equilibrated
    if budget.step_size > 0.1 * abs(llc):
        return Status.too_coarse
    if virial_share > MOST_VIRIAL:
        return Status.not_equilibrated
    return Status.unexplored if virial_share < least else Status.ok
