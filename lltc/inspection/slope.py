"""How far the posterior lies downhill of the checkpoint, before the chains go there."""

import jax.numpy as jnp
import numpy as np

from lltc.chains.loop import Run
from lltc.inspection.findings import Finding
from lltc.inspection.sampled import DIRECTIONS, Sample, rises_along
from lltc.posterior.layout import center_vector

FACTOR = 16.0
TOLERATED = 2.0
ALONG = 0.9
DOUBTED = 2.0
SMALL = 1e-30


def look_at_slope(run: Run, sample: Sample) -> list[Finding]:
    """Return whether the log density rises by more than two nats along -∇L_n(w*).

    On a parabola along the slope g of curvature κ it rises by (nβ‖g‖)²/2(nβκ + γ), and λ̂ falls by that to
    twice that. κ is measured by steps both ways, in which the slope of the few examples looked at cancels.
    """
    posterior, anchor = run.posterior, run.anchor
    if posterior.target.relative or not posterior.target.linear:
        return []
    slope = np.asarray(anchor.gradient, float)
    size = float(np.linalg.norm(slope))
    doubt = 0.0 if anchor.doubt is None else DOUBTED * float(np.linalg.norm(anchor.doubt))
    if not np.isfinite(size) or size <= doubt:
        return []
    pull = posterior.nbeta * float(np.sqrt(size**2 - doubt**2))
    fall = 0.5 * pull * _way_down(run, sample, slope / size, pull)
    return [Finding("slope", "warning", _sentence(run, slope, size, fall))] if fall > TOLERATED else []


def _way_down(run: Run, sample: Sample, direction: np.ndarray, pull: float) -> float:
    """Return how far along a unit vector `(d,)` a force of nβ‖g‖ carries, against curvature and prior."""
    posterior = run.posterior
    gamma = posterior.localization
    longest = pull / gamma if gamma > 0 else float(np.sqrt(posterior.num_params))
    steps = longest * FACTOR ** -np.arange(DIRECTIONS // 2)
    ways = np.concatenate([steps, -steps])[:, None] * direction
    rises = rises_along(run, sample, jnp.asarray(ways, posterior.dtype))
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        curvatures = rises.reshape(2, -1).sum(0) / steps**2
        allowed = pull / np.maximum(posterior.nbeta * curvatures + gamma, SMALL)
        mismatch = np.where(np.isfinite(curvatures), np.abs(np.log(allowed / steps)), np.inf)
    nearest = int(np.argmin(mismatch))
    # A step that a curvature was measured over says nothing of steps much longer.
    return float(min(allowed[nearest], np.sqrt(FACTOR) * steps[nearest]))


def _sentence(run: Run, slope: np.ndarray, norm: float, fall: float) -> str:
    posterior = run.posterior
    weights = np.asarray(center_vector(posterior.target.layout, posterior.center), float)
    size = float(np.linalg.norm(weights))
    text = (
        f"The checkpoint is no minimum: by its slope ‖∇L_n‖ = {norm:.3g} the posterior's log density rises "
        f"by {fall:.3g} nats downhill, by which or twice which λ̂ falls short"
    )
    alike = -float(slope @ weights) / (norm * size) if size else 0.0
    if alike > ALONG:
        return (
            f"{text}; the slope is along the weights, as weight decay leaves it: pass "
            f"weight_decay={norm / size:.2g}, or linear=False."
        )
    return f"{text}; use lltc.behavioral, or linear=False, or a larger localization."
