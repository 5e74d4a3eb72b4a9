"""`lltc.read`: draw once, keep the losses of every token, and work all else out of them."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import jax
import numpy as np

from lltc.chains.plan import within_memory
from lltc.chains.steps import OBSERVE_EVERY
from lltc.chains.streams import as_key
from lltc.compilation import broadcasting
from lltc.errors import InputError
from lltc.estimates.described_options import describe_option
from lltc.estimates.effort import Effort, read_effort
from lltc.estimates.estimator import check_readings, choose_kernel
from lltc.estimates.options import Options, arrange, complete
from lltc.estimates.record import LLCEstimate
from lltc.fluctuations.tokens.driver import draw_into
from lltc.fluctuations.tokens.kept import ESTIMATE
from lltc.fluctuations.tokens.reader import make_reader
from lltc.fluctuations.tokens.record import LossRecord
from lltc.fluctuations.tokens.resumption import (
    ReadingPlan,
    check_same_reading,
    identify,
    planned_as_before,
)
from lltc.fluctuations.tokens.store import FILE, Extent, hold, plan_arrays, predict_size
from lltc.posterior.checks import check_flag
from lltc.posterior.components import Restriction, name_components
from lltc.posterior.data import Data
from lltc.posterior.examples import weighed_by
from lltc.posterior.layout import moved_mask
from lltc.posterior.target import LocalPosterior
from lltc.types import LossFn, PyTree

OF_PRIOR = 4


@broadcasting
def read(
    model: LossFn | LocalPosterior,
    params: PyTree = None,
    data: PyTree | Data = None,
    *,
    store: str | Path,
    tokens: bool = True,
    components: Mapping[str, Restriction] | Sequence[str] | None = None,
    rows: Sequence[int] | None = None,
    control: bool = True,
    **options: Unpack[Options],
) -> LossRecord:
    """Draw once and keep the loss of every token at every 16th draw, for all that is worked out of them.

    Kept are ℓ_t(w) - ℓ_t(w*) with the whole network moved, and with each component C moved alone and the rest
    at w*; their means φ_C/nβ over all the data; and the same at draws of the prior alone, which are the
    posterior's as nβ → 0 and the control of every number. The `LossRecord` returned never samples again.

    The store is a folder with one HDF5 file. Its size, 4 bytes · draws · chains · (1 + components) · tokens
    and little more, is printed before the first step. A draw counts once it is on the disk: a process killed
    at any moment loses no other, and the same call goes on from there to the same bits. Of a finished store
    nothing is drawn again.

    Args:
        model: as for `lltc.estimate_llc`, with losses `(batch,)`; or a function that returns losses of tokens
            and a mask, `(batch, tokens)` both, where an example's loss is the mean where the mask is true.
        params: the checkpoint w*.
        data: as for `lltc.estimate_llc`; each reading goes through all of it.
        store: the folder, made when missing.
        tokens: False keeps the losses of examples also where the model returns those of tokens.
        components: names mapped to patterns (or a list of patterns), as for `lltc.estimate_llc_team`.
        rows: indices of the examples whose tokens are kept; default all. Means are over all the data.
        control: False leaves out the draws of the prior, a quarter as many as the others.
        options: as in `lltc.Options`, but observables, mesh, weights and weight_decay; `num_draws` is by
            default 4000, of which 250 are read, and rounded up to a multiple of 16. With `time` a reading
            stops where it is, and the same call goes on.

    Returns:
        A `LossRecord`, whose `estimate` is the λ̂ of the same chains.

    Raises:
        InputError: as `lltc.estimate_llc`; for a store of another reading, or in use, or too large for the
            disk; for a token that counts and has no finite loss, and an example without any.

    Source:
        Watanabe (2010), Asymptotic equivalence of Bayes cross validation and widely applicable information
        criterion; Baker, Wang, Hoogland & Murfet (2025, arXiv:2504.18274) for susceptibilities of tokens.

    Example:
        >>> import tempfile
        >>> rng = np.random.default_rng(0)
        >>> x, mask = rng.normal(size=(20, 5, 3)), np.arange(5) < 4
        >>> def model(w, batch):
        ...     losses = 0.5 * (batch[0] @ w) ** 2
        ...     return losses, batch[1]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     record = read(
        ...         model, np.zeros(3), (x, np.broadcast_to(mask, (20, 5))), components=["[0]", "[1:]"],
        ...         store=folder, nbeta=50, localization=1.0, num_draws=512, progress=False)
        ...     response = record.susceptibilities()
        >>> record.num_tokens, response.chi.value.shape
        (80, (2, 80))
    """
    settings = complete("read", options, num_draws=4000)
    _refuse(settings)
    tokens, control = check_flag("tokens", tokens), check_flag("control", control)
    posterior = arrange("read", model, params, data, settings)
    _refuse_weighed(posterior)
    layout, center, whole = posterior.target.layout, posterior.center, posterior.params
    named = name_components(components, whole) if components else {}
    masks = [moved_mask(layout, center, whole, name, pattern) for name, pattern in named.items()]
    effort = read_effort(settings)
    count = -(-int(settings["num_draws"]) // OBSERVE_EVERY)
    prior = -(-count // OF_PRIOR) if control and posterior.localization > 0 else 0
    folder, path = Path(store), Path(store) / FILE

    def draw(planned: LocalPosterior) -> LLCEstimate:
        reader, chosen = make_reader(planned, masks, rows, tokens=tokens)
        extent = Extent(count, prior, effort.num_chains, len(named), len(chosen.example))
        described = _describe(planned, effort, settings) | {"components": list(named), "extent": extent}
        plan = ReadingPlan(extent, tuple(named), chosen, identify(reader, chosen, described), reader.averaged)
        check_same_reading(path, plan.identity)
        if settings["progress"]:
            _announce(folder, plan, planned)
        return draw_into(path, planned, reader, plan, effort, settings)

    with hold(folder):
        posterior = planned_as_before(posterior, path)
        within_memory(posterior, effort.num_chains, effort.memory, draw, retries=0).save(folder / ESTIMATE)
    return LossRecord.load(folder)


def _describe(posterior: LocalPosterior, effort: Effort, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the numbers follow from, by which a store is known again."""
    return {
        "nbeta": posterior.nbeta,
        "localization": posterior.localization,
        "batch_size": posterior.batch_size,
        "linear": posterior.target.linear,
        "kernel": choose_kernel(posterior, effort.kernel, effort.step_size).name,
        "kernel given": describe_option(effort.kernel),
        "preconditioner": describe_option(effort.preconditioner),
        "tie": dict(settings["tie"] or {}),
        "key": np.asarray(jax.random.key_data(as_key(settings["key"]))).tolist(),
        **{name: settings[name] for name in ("num_warmup", "step_size", "anchor_examples")},
    }


def _refuse(settings: Mapping[str, Any]) -> None:
    check_readings(settings["num_draws"])
    if settings["num_draws"] is None:
        raise InputError("num_draws is None, but lltc.read makes a number known beforehand; pass one.")
    for name in ("observables", "mesh"):
        if settings[name] is not None:
            raise InputError(f"{name} is no option of lltc.read, which keeps losses alone; leave it out.")


def _refuse_weighed(posterior: LocalPosterior) -> None:
    """Refuse a loss that is no mean of the losses kept."""
    if option := weighed_by(posterior.target):
        raise InputError(
            f"{option} cannot be given to lltc.read: what it tells holds of a loss that is the plain mean "
            "over examples; leave it out, or repeat examples in data."
        )


def _announce(folder: Path, plan: ReadingPlan, posterior: LocalPosterior) -> None:
    """Say beforehand how much is read and what it takes."""
    extent = plan.extent
    size = predict_size(plan_arrays(extent, posterior.dtype))
    print(
        f"lltc.read: {extent.posterior} draws and {extent.prior} of the prior, {extent.chains} chains, "
        f"{extent.components} components and the whole, {extent.tokens:,} tokens: {size / 1e6:,.0f} MB in "
        f"{str(folder)!r}",
        file=sys.stderr,
    )
