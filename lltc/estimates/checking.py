"""`lltc.check`: one look at model, checkpoint and data, without any chain."""

from typing import Unpack

import jax

from lltc.chains.cost import is_costly
from lltc.chains.gradients import measure_anchor
from lltc.chains.loop import Run
from lltc.chains.plan import within_memory
from lltc.chains.streams import RandomStream, as_key, as_seed
from lltc.compilation import broadcasting
from lltc.estimates.effort import Effort, read_effort
from lltc.estimates.estimator import choose_kernel
from lltc.estimates.options import Options, arrange, complete
from lltc.inspection.findings import Finding, Findings, by_gravity
from lltc.inspection.look import inspect
from lltc.inspection.rows import explain_not_finite
from lltc.posterior.data import Data
from lltc.posterior.target import LocalPosterior
from lltc.types import LossFn, PyTree


@broadcasting
def check(
    model: LossFn | LocalPosterior,
    params: PyTree = None,
    data: PyTree | Data = None,
    **options: Unpack[Options],
) -> Findings:
    """Look once at model, checkpoint and data, as every estimate does before its first chain.

    On up to 64 examples: the loss of each example is finite, the same at every call, and the same in any
    place of any batch; the gradient adds up to the rises of the loss; the leaves that move are those that
    were meant; the slope at w* is one that the posterior bears. `docs/checks.md` lists all that is looked at.

    Args:
        model: as for `lltc.estimate_llc`, or an `lltc.local_posterior(…)` in place of model, params and data.
        params: the checkpoint w*.
        data: as for `lltc.estimate_llc`.
        options: as in `lltc.Options`.

    Returns:
        `Findings`, with `found`, `ok`, `status` and `summary()`. What an estimate would refuse is among them.

    Raises:
        InputError: for what cannot even be evaluated, in one sentence.

    Example:
        >>> import jax.numpy as jnp
        >>> loss = lambda w, x: (x @ w) ** 2 / len(x)
        >>> x = jnp.arange(60.0).reshape(20, 3) / 60
        >>> findings = check(loss, jnp.ones(3), x)
        >>> findings
        Findings(batch size (status))
    """
    settings = complete("check", options)
    posterior = arrange("check", model, params, data, settings)
    effort = read_effort(settings)
    look = lambda plan: _look(plan, settings["key"], effort)
    return within_memory(posterior, effort.num_chains, effort.memory, look)


def _look(posterior: LocalPosterior, key: jax.Array | int, effort: Effort) -> Findings:
    key = as_key(key)
    seed = 0 if effort.anchor_examples is None else as_seed(key, RandomStream.anchor)
    anchor = measure_anchor(posterior, examples=effort.anchor_examples, seed=seed)
    run = Run(posterior, anchor, choose_kernel(posterior, effort.kernel, effort.step_size), key)
    findings = inspect(run, thorough=not is_costly(posterior, effort.num_chains))
    if sentence := explain_not_finite(posterior, anchor):
        findings = by_gravity([Finding("losses", "refused", sentence), *findings])
    return Findings(
        findings,
        num_params=posterior.num_params,
        size=sum(leaf.size for leaf in posterior.center.leaves),
        num_examples=posterior.data.count,
        example=posterior.data.example,
        nbeta=posterior.nbeta,
        localization=posterior.localization,
        loss=float(anchor.loss),
    )
