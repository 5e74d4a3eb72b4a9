"""Numbers of single losses' distributions: gain and variance, singular fluctuation, WAIC and WBIC."""

from collections.abc import Callable, Iterator

import numpy as np

from lltc.diagnostics.covariances import by_chain
from lltc.diagnostics.measured import Pairs, over_chains
from lltc.diagnostics.mixing import monte_carlo_error
from lltc.errors import InputError
from lltc.fluctuations.tokens.kept import KeptLosses
from lltc.fluctuations.tokens.moments import Contrast, contrast

CLOSE = 1e-6
Draws = Callable[[], Iterator[np.ndarray]]


def loss_gain(record: KeptLosses, component: str | None) -> Contrast:
    """See `LossRecord.loss_gain`."""
    return contrast(record, lambda kind: over_chains(_moments(record.losses(kind, component))[0]))


def variance(record: KeptLosses, component: str | None) -> Contrast:
    """See `LossRecord.variance`."""
    return contrast(record, lambda kind: over_chains(_variances(record.losses(kind, component))))


def singular_fluctuation(record: KeptLosses) -> Contrast:
    """See `LossRecord.singular_fluctuation`."""
    scale = 0.5 * record.nbeta / record.size
    return contrast(record, lambda kind: over_chains(scale * _variances(record.example_losses(kind)).sum(1)))


def waic(record: KeptLosses) -> Contrast:
    """See `LossRecord.waic`."""
    _refuse_unlikely(record, "WAIC")
    at_center = float(record.tokens.weight @ record.tokens.loss)
    return contrast(record, lambda kind: _waic(record, kind, at_center))


def _waic(record: KeptLosses, kind: str, at_center: float) -> Pairs:
    draws = lambda: record.example_losses(kind)
    beta = record.nbeta / record.size
    mean = over_chains(_moments(draws())[0]).value
    least = np.min([losses.min(0) for losses in draws()], 0)
    # exp(-ℓ) is taken relative to each example's least loss, so that nothing overflows.
    weight = np.mean([np.exp(least - losses).mean(0) for losses in draws()], 0)
    value = at_center + np.mean(least - np.log(weight)) + beta * _variances(draws()).mean()
    terms = [(beta * (losses - mean) ** 2 - np.exp(least - losses) / weight).mean(-1) for losses in draws()]
    return Pairs(np.asarray(value), np.asarray(monte_carlo_error(np.transpose(terms))))


def wbic(record: KeptLosses) -> Contrast:
    """See `LossRecord.wbic`."""
    _refuse_unlikely(record, "WBIC")
    wanted = record.size / np.log(max(record.size, 2))
    if abs(record.nbeta - wanted) > CLOSE * wanted:
        raise InputError(
            f"WBIC is n E[L_n] at nβ = n/ln n = {wanted:.6g}, but this was read at nβ = {record.nbeta:.6g}; "
            "read again without nbeta."
        )
    loss = record.estimate.init_loss

    def of(kind: str) -> Pairs:
        series = record.means(kind)[..., 0].T
        error = np.asarray(record.size * monte_carlo_error(series))
        return Pairs(np.asarray(record.size * (loss + series.mean())), error)

    return contrast(record, of)


def _refuse_unlikely(record: KeptLosses, name: str) -> None:
    """Refuse losses that are no negative log likelihoods, and draws from another posterior than theirs."""
    if record.relative:
        raise InputError(
            f"{name} is that of negative log likelihoods, but the losses of a behavioral model are distances "
            "from the checkpoint's own outputs; read again with the task's loss for model."
        )
    if record.averaged:
        raise InputError(
            f"{name} is that of negative log likelihoods, but an example's loss is here the mean over its "
            "tokens; read again with a model that returns their sum, losses (batch,)."
        )
    if not record.linear:
        raise InputError(
            f"{name} is that of the posterior, but these draws were made with linear=False, without the "
            "slope of the loss at params; read again with linear=True."
        )


def _moments(draws: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of losses and of their squares by chain `(chain, token)`."""
    total = square = np.zeros(())
    count = 0
    for losses in draws:
        total, square, count = total + losses, square + losses**2, count + 1
    return total / count, square / count


def _variances(draws: Iterator[np.ndarray]) -> np.ndarray:
    """Return terms by chain `(chain, token)` whose mean is each token's variance, unbiased."""
    mean, square = _moments(draws)
    return by_chain(square, mean, mean)
