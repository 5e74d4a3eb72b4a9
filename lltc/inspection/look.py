"""One look at the loss around w*, before any chain: whether it can be sampled as it is given."""

import numpy as np

from lltc.chains.loop import Run
from lltc.inspection.batches import look_at_batches
from lltc.inspection.findings import Finding, by_gravity
from lltc.inspection.gradients import look_at_gradients, make_directions
from lltc.inspection.leaves import look_at_leaves
from lltc.inspection.rows import look_at_rows
from lltc.inspection.sampled import draw_sample, reach_of
from lltc.inspection.slope import look_at_slope


def inspect(run: Run, *, thorough: bool = True) -> tuple[Finding, ...]:
    """Return what is found on up to 64 examples, the gravest first.

    The loss of an example must be the same at every call, in any place of any batch; gradients must add up to
    rises; what the leaves hold must be what was meant to move. Not `thorough`, where examples cost much, it
    is 16 examples and fewer groups of coordinates.
    """
    posterior = run.posterior
    findings = look_at_leaves(posterior)
    sample = draw_sample(run, thorough=thorough)
    if sample is None:
        return by_gravity(findings)
    directions = make_directions(run, thorough=thorough)
    reach, rises = reach_of(run, sample, directions.whole)
    if not np.isfinite(rises).all():
        return by_gravity(findings)
    eps = run.eps
    findings += look_at_batches(run, sample, reach * directions.whole[0], eps)
    findings += look_at_rows(run, sample, reach * directions.whole, eps)
    if not any(finding.kind == "refused" for finding in findings):
        findings += look_at_slope(run, sample)
        findings += look_at_gradients(run, sample, directions, reach, eps)
    return by_gravity(findings)
