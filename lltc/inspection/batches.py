"""Whether the loss belongs to single examples, and is the same at every call."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.loop import Run
from lltc.diagnostics.status import Status
from lltc.inspection.findings import Finding
from lltc.inspection.sampled import Sample, losses_at, nudge

ROUNDINGS, FEW_ROUNDINGS, MOST_ROUNDED = 64.0, 4.0, 0.03
ALIKE = 0.02
RANDOM = (
    "The loss is not the same at two calls on the same params and batch, so that no difference of losses "
    "means anything: switch to evaluation (dropout, augmentation, noise), and let params and batch be all "
    "that the model depends on."
)
POSITION = (
    "The loss of an example depends on its position in the batch, as dropout by a key that the model closes "
    "over makes it: switch to evaluation, and compute each example's loss from that example alone."
)
COMPANY = (
    "The loss of an example depends on the other examples of its batch (batch normalization in training "
    "mode, a contrastive loss, other batch statistics), so that minibatches have no common loss: switch to "
    "evaluation with the running averages, or let one example hold all that belongs together."
)
UNEVEN = (
    "The mean loss of a batch is not the mean of its halves' means, as where tokens are averaged over padded "
    "sequences: return one loss an example, such as the mean over its own tokens."
)
SCALED = (
    "The loss of a batch of {whole} is {ratio:.3g} times that of the same examples in batches of {half} (a "
    "sum for a mean, or a division by the batch size): return one loss an example, each by itself."
)


class Compared(NamedTuple):
    """Losses of the same examples, `(m,)` of each or `()`: in two places of two batches, and apart.

    `halves` `(2, m/2)` are those of the halves by themselves, or `(2,)` means; `allowed` is what rounding
    may make of it.
    """

    whole: np.ndarray
    moved: np.ndarray
    reversed: np.ndarray
    halves: np.ndarray
    allowed: float


def look_at_batches(run: Run, sample: Sample, position: jax.Array, eps: float) -> list[Finding]:
    """Return whether losses change with the call, the place in the batch or the company there."""
    first, second = (_compare(run, sample, position, eps) for _ in range(2))
    if not np.isfinite(first.whole).all():
        return []
    if np.abs(first.whole - second.whole).max() > first.allowed:
        return [Finding("randomness", "refused", RANDOM)]
    findings = _judge_examples(first) if run.posterior.target.per_example else _judge_means(first, sample)
    if findings:
        # What a model draws by NumPy is part of its compiled program; another program has other numbers.
        own = np.arange(sample.at_once)[None]
        anew = losses_at(run, sample, position[None], own, traced_anew=True)
        if np.abs(first.whole - anew[0]).max() > first.allowed:
            return [Finding("randomness", "refused", RANDOM)]
    return findings


def _compare(run: Run, sample: Sample, position: jax.Array, eps: float) -> Compared:
    """Evaluate the examples together, elsewhere among others, backwards, by halves, and a rounding away."""
    size, half = sample.at_once, sample.at_once // 2
    own = np.arange(size)
    company = np.arange(len(sample.rows) - half, len(sample.rows))
    rows = np.stack([own, np.concatenate([company, own[:half][::-1]]), own[::-1], own])
    places = jnp.stack([position] * 3 + [position + nudge(run, position, eps)])
    whole, moved, backwards, near = losses_at(run, sample, places, rows)
    halves = losses_at(run, sample, places[:2], own.reshape(2, half))
    # Sixty-four roundings of bfloat16 would hide a half of the loss.
    roundings = float(np.clip(MOST_ROUNDED / eps, FEW_ROUNDINGS, ROUNDINGS))
    allowed = roundings * (np.abs(near - whole).max() + eps * np.abs(whole).max())
    return Compared(whole, moved, backwards, halves, float(allowed))


def _judge_examples(losses: Compared) -> list[Finding]:
    half = len(losses.whole) // 2
    own = losses.whole[:half]
    if _apart(losses.reversed[::-1], losses.whole) > losses.allowed:
        return [Finding("position in the batch", "refused", POSITION)]
    apart = _apart(losses.halves.reshape(-1), losses.whole)
    if apart > losses.allowed and (scaled := _scaled(losses.whole, losses.halves.reshape(-1), half)):
        return [scaled]
    if apart > losses.allowed or _apart(losses.moved[half:][::-1], own) > losses.allowed:
        return [Finding("company in the batch", "refused", COMPANY)]
    return []


def _judge_means(losses: Compared, sample: Sample) -> list[Finding]:
    mean = np.asarray(losses.halves.mean())
    apart = abs(losses.whole - mean)
    if apart > losses.allowed and (scaled := _scaled(losses.whole, np.atleast_1d(mean), sample.at_once // 2)):
        return [scaled]
    if abs(losses.whole - losses.reversed) > losses.allowed:
        return [Finding("position in the batch", "refused", POSITION)]
    return [Finding("mean over the batch", "refused", UNEVEN)] if apart > losses.allowed else []


def _apart(losses: np.ndarray, others: np.ndarray) -> float:
    return float(np.abs(losses - others).max())


def _scaled(whole: np.ndarray, halves: np.ndarray, half: int) -> Finding | None:
    """Return the finding where batches of twice the size have half the losses, or twice."""
    ratio = float(np.sum(whole * halves) / np.sum(halves**2)) if np.any(halves) else np.nan
    fits = np.abs(whole - ratio * halves).max() < ALIKE * np.abs(whole).max()
    if not (fits and min(abs(ratio - 2), abs(ratio - 0.5)) < ALIKE):
        return None
    sentence = SCALED.format(whole=2 * half, half=half, ratio=ratio)
    return Finding("batch size", "status", sentence, Status.coupled)
