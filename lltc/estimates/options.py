"""The arguments that all verbs share: named, documented, completed and checked in one place."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import jax
import numpy as np
from jax.sharding import Mesh

from lltc.chains.cost import with_affordable_batch
from lltc.chains.streams import as_key
from lltc.errors import InputError, shown
from lltc.estimates.effort import TARGET_REL_SE
from lltc.kernels import Kernel
from lltc.posterior.checks import check_counts, check_flag
from lltc.posterior.components import Restriction
from lltc.posterior.data import Data
from lltc.posterior.target import LocalPosterior, local_posterior
from lltc.types import LossFn, PyTree

Observable = Callable[[PyTree], jax.Array]


class _AtAnyTemperature(TypedDict, total=False):
    """The options that shape the numbers, but for the temperature; documented in `Options`."""

    localization: float | None
    batch_size: int | None
    restrict: Restriction | None
    linear: bool
    chain_batch: int | None
    micro_batch: int | None
    memory: str | float | None
    weights: Any
    weight_decay: float | None
    tie: Mapping[str, str] | None
    mesh: Mesh | None
    num_chains: int
    num_draws: int | None
    num_warmup: int | None
    target_rel_se: float
    step_size: float | None
    kernel: Kernel | None
    preconditioner: Any
    anchor_examples: int | None
    time: str | float | None


class SweepOptions(_AtAnyTemperature, total=False):
    """The options that shape the numbers of an estimate, as sweeps take them; documented in `Options`."""

    nbeta: float | None


class Options(SweepOptions, total=False):
    """What `lltc.estimate_llc` and the other verbs take beside model, params and data, all by name.

    Attributes:
        key: JAX key or int; the same key gives the same numbers. Default 0.
        nbeta: inverse temperature nβ; default n/ln n, n the number of examples in `data` (not in a batch).
        localization: γ; default d/(½‖w*‖)² over the d moved parameters, or 1 where w* = 0. With 0
            there is no prior: nothing ends the arms of a singular valley, and nothing leads there. Corrected
            moves are then ok only where the distance from w* has mixed and 95 % of the virial is there.
        num_chains: chains run side by side; default 8.
        num_draws: draws of each chain; by default 1000, then more until `llc_se` ≤ `target_rel_se`·λ̂, the
            status is ok and 90 % of the virial is there, or 16,000 are made: as many more as the error is
            expected to need, at most twice as many at a time. Where a step sees all the data and at most 512
            parameters move, draws are doubled, that must hold twice in a row, and up to 64,000 are made.
            A number given is kept to; see `kernel` for what draws of replicas that exchange cost.
        num_warmup: steps before drawing; default 1000. Where a step costs much (it computes more than a
            gigabyte of values), by default from 128 up, until hot and cold chains agree and ε stays, and the
            first look at the error comes after 128 draws.
        batch_size: examples a step; default 512, or all of up to 1024, fewer where they cost much
            (down to 16).
        step_size: ε of uncorrected, memoryless moves w ← w - (ε/2)∇U + √ε·noise; measured when None.
        target_rel_se: wanted `llc_se`/λ̂ when `num_draws` is None; default 0.02.
        restrict: which parameters move: a glob or globs over paths, a function `(path, leaf) -> mask`, or a
            pytree of masks.
        linear: False samples L(w) - ∇L(w*)·(w - w*) instead of L, for checkpoints that are not minima: their
            slope no longer pulls the chains downhill, though negative curvature still may.
        kernel: a sampler of `lltc.kernels`; by default `ghmc()` where a step sees all the data and at most
            512 parameters move, else `baoab()`. Where besides γ > 0, λ̂ is less than d/2 and few temperatures
            lead from the prior to the posterior (λ̂ up to about 2), replicas at nine of them, and at every nβ
            asked for, exchange places, so that no far arm of a narrow valley is missed, within the same
            number of gradients. Where `num_draws` is given, that many are made anew, of ten gradients each;
            too few of them for 50 arrivals from the prior (about 700 with 8 chains) are drawn without
            exchange, and are not ok.
        preconditioner: an Optax transformation with a second moment, such as `optax.scale_by_rms(0.99)`; it
            sees the gradients of the warm-up, and the diagonal scale it implies is then frozen.
        anchor_examples: how many examples, drawn at random, give ∇L_n(w*); default all. The error that part
            of the data brings is in the budget.
        time: seconds, or such as "10 min", after which no more draws are begun; what there is by then is
            assessed. Warm-up is made in any case. Default no end.
        memory: how much a run may take, such as "8 GB" or a number of bytes; default three quarters of what
            device, machine, control group and `ulimit` leave, rounded down to a power of two. Where all
            chains and examples of a step need more, fewer are evaluated at once: the numbers stay the same
            but for rounding.
        chain_batch: chains evaluated at once; by default all, or as many as `memory` allows.
        micro_batch: examples of a batch evaluated at once; by default all, or as many as `memory` allows.
        weights: what each example counts, numbers ≥ 0 `(n,)` or the key of such an array in `data`, for class
            balance or importance. L_n is Σ wᵢ ℓᵢ / Σ wᵢ and n is Σ wᵢ, also in the default nβ = n/ln n:
            integer weights are repeated rows, and weights of mean 1 are a loss multiplied with them.
            Losses of single examples (kernels, variances) are the weighted ones.
        weight_decay: c adds (c/2)(‖w‖² - ‖w*‖²) to L_n, over the parameters that move: the loss that training
            with weight decay c in the loss minimised. Default none.
        tie: leaves that are another one, such as {"head": "wte"} for a head written out beside the embedding
            it shares, equal to it or transposed: both move as one and count once. Default none.
        mesh: `jax.sharding.Mesh` with axes among chain, data and model, over which chains, the examples of a
            batch and params (each leaf as its own `NamedSharding` there says) are divided, across processes
            too (`jax.distributed`). The numbers stay the same but for rounding, of ill-conditioned posteriors
            within their errors (rounding turns the axes of equal stiffness).
        observables: functions of params recorded every 16th draw.
        progress: show a progress bar, and where more than half a minute is left, say once about how long it
            takes, on standard error; default True.
    """

    key: jax.Array | int
    observables: Mapping[str, Observable] | None
    progress: bool


class LadderOptions(_AtAnyTemperature, total=False):
    """What `lltc.estimate_llc_ladder` takes: `Options`, with several nβ instead of one."""

    nbeta: Sequence[float] | np.ndarray | None
    key: jax.Array | int
    observables: Mapping[str, Observable] | None
    progress: bool


POSTERIOR = (
    "nbeta",
    "localization",
    "batch_size",
    "restrict",
    "linear",
    "chain_batch",
    "micro_batch",
    "weights",
    "weight_decay",
    "tie",
    "mesh",
)
COUNTS = ("num_chains", "num_draws", "num_warmup", "target_rel_se")
DEFAULTS: dict[str, Any] = {
    "key": 0,
    "nbeta": None,
    "localization": None,
    "num_chains": 8,
    "num_draws": None,
    "num_warmup": None,
    "batch_size": None,
    "step_size": None,
    "target_rel_se": TARGET_REL_SE,
    "restrict": None,
    "linear": True,
    "kernel": None,
    "preconditioner": None,
    "anchor_examples": None,
    "chain_batch": None,
    "micro_batch": None,
    "memory": None,
    "weights": None,
    "weight_decay": None,
    "tie": None,
    "time": None,
    "mesh": None,
    "observables": None,
    "progress": True,
}


def complete(
    verb: str, options: Mapping[str, Any], defaults: Mapping[str, Any] = DEFAULTS, **changed: Any
) -> dict[str, Any]:
    """Return `options` with every default filled in, `changed` ones first; refuse a name that is none.

    Example:
        >>> complete("estimate_llc", {"num_draws": 400})["num_chains"]
        8
    """
    for name in options:
        if name not in defaults:
            near = difflib.get_close_matches(name, defaults, 1)
            raise InputError(
                f"{name} is no argument of {verb}, which takes {', '.join(defaults)}; "
                + (f"did you mean {near[0]}?" if near else "check its spelling.")
            )
    settings = {**defaults, **changed, **options}
    check_values(settings)
    return settings


def check_values(settings: Mapping[str, Any]) -> None:
    """Refuse options of a wrong kind before anything is computed from them."""
    if "num_chains" in settings:
        check_counts(**{name: settings[name] for name in COUNTS})
    if "key" in settings:
        as_key(settings["key"])
    if "progress" in settings:
        check_flag("progress", settings["progress"])
    functions = settings.get("observables")
    if functions is not None and not (
        isinstance(functions, Mapping) and all(map(callable, functions.values()))
    ):
        raise InputError(
            f"observables must be a dict of functions of params by name, but {shown(functions)} was given; "
            "pass such as {'norm': lambda params: …}, or None."
        )
    optax = settings.get("preconditioner")
    if optax is not None and not (hasattr(optax, "init") and hasattr(optax, "update")):
        raise InputError(
            f"preconditioner must be an Optax transformation, but {shown(optax)} was given; pass such as "
            "optax.scale_by_rms(0.99), or None."
        )


def arrange(
    verb: str,
    model: LossFn | LocalPosterior,
    params: PyTree,
    data: PyTree | Data,
    options: Mapping[str, Any],
) -> LocalPosterior:
    """Return the posterior that a verb works on: the one given in place of `model`, or a new one.

    Raises `InputError` for options that such a posterior has already, and where params or data are missing.
    """
    if not isinstance(model, LocalPosterior):
        if data is None:
            raise InputError(
                f"data is missing: {verb} takes (model, params, data), or one lltc.local_posterior(…) in "
                "their place; pass all three."
            )
        posterior = local_posterior(model, params, data, **{name: options[name] for name in POSTERIOR})
        if options["batch_size"] is None:
            return with_affordable_batch(posterior, options["num_chains"])
        return posterior
    if params is not None or data is not None:
        raise InputError(
            f"params or data were given beside a posterior, which holds its own; pass {verb} the posterior "
            "alone, or (model, params, data)."
        )
    changed = [name for name in POSTERIOR if options[name] is not DEFAULTS[name]]
    if changed:
        raise InputError(
            f"{changed[0]} was given beside a posterior, which has its own; pass it to lltc.local_posterior."
        )
    return model
