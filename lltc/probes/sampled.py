"""Watching one checkpoint's chains for all that a probe compares."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lltc.chains.streams import RandomStream, as_key, as_seed
from lltc.diagnostics.covariances import Stream
from lltc.diagnostics.measured import Measured, Pairs, over_chains
from lltc.diagnostics.status import Status
from lltc.errors import InputError
from lltc.estimates.estimator import check_readings, draw_estimates
from lltc.estimates.record import LLCEstimate
from lltc.posterior.examples import choose_followed, tells_single
from lltc.posterior.target import LocalPosterior
from lltc.probes.hessian import find_directions
from lltc.probes.moments import Sight
from lltc.probes.shares import Moments, divide_llc
from lltc.probes.stiffness import Stiffness


class Seen(NamedTuple):
    """One checkpoint: its estimate, its stiffness, the parts of λ̂, variances of the losses of `rows`."""

    estimate: LLCEstimate
    stiffness: Stiffness
    parts: dict[str, Measured]
    rows: np.ndarray
    examples: Pairs | None


def watch(
    posterior: LocalPosterior,
    options: Mapping[str, Any],
    *,
    masks: Mapping[str, np.ndarray],
    directions: int,
    examples: int,
) -> Seen:
    """Return one checkpoint's estimate and what its chains showed; `masks` `(d,)` are components by name."""
    check_readings(options["num_draws"])
    check_looking(directions, examples)
    key = as_key(options["key"])
    seed = as_seed(key, RandomStream.directions)
    rows = choose_followed(posterior.data.size, examples, (), np.random.default_rng(seed)).examples
    curved = find_directions(posterior, directions, examples, seed)
    whole = np.ones((1, posterior.num_params), bool)
    stacked = np.concatenate(
        [np.reshape(list(masks.values()), (-1, posterior.num_params)).astype(bool), whole]
    )
    sight = Sight(posterior, curved.directions, rows, stacked)
    (estimate,) = draw_estimates(posterior, np.array([posterior.nbeta]), options, observe=sight)
    told = sight.enough and estimate.status is not Status.diverged
    variance = _variances(sight.along if told else None, len(curved.curvature))
    stiffness = Stiffness(
        directions=curved.directions,
        curvature=curved.curvature,
        variance=over_chains(variance),
        exact=curved.exact,
        nbeta=posterior.nbeta,
        localization=posterior.localization,
    )
    inside = curved.directions.T**2 @ stacked.T
    parts = [Measured(np.nan, np.nan)] * len(stacked)
    if told and np.isfinite(estimate.llc):
        moments = Moments(variance, curved.curvature, inside, *sight.means, stacked.sum(1))
        parts = divide_llc(estimate, moments)
    each = over_chains(_variances(sight.each if told else None, len(rows)))
    losses = each if tells_single(posterior.target) else None
    return Seen(estimate, stiffness, dict(zip(masks, parts, strict=False)), rows, losses)


def _variances(stream: Stream | None, size: int) -> np.ndarray:
    """Return the variances `(chain, size)` of what was streamed, or NaN where nothing can be told."""
    return stream.variances() if stream else np.full((2, size), np.nan)


def check_looking(directions: int, examples: int) -> None:
    """Refuse counts that are none."""
    for name, value in (("directions", directions), ("examples", examples)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name} must be an integer of at least 1, but {value!r} was given; raise it.")
