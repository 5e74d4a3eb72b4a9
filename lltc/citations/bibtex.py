"""Which works stand behind a result, and their BibTeX."""

from collections.abc import Iterable, Iterator
from typing import Any

from lltc.bibliography import entries
from lltc.errors import InputError
from lltc.estimates.by_component import LLCTeam
from lltc.estimates.free_energy import Crossing
from lltc.estimates.ladder import LLCLadder
from lltc.estimates.record import LLCEstimate
from lltc.fluctuations.susceptibility import Susceptibilities
from lltc.fluctuations.tokens.record import LossRecord
from lltc.probes.compression import CompressionCurve
from lltc.probes.record import Probe
from lltc.sweeps import PathSweep, Runs, Sweep

ALWAYS = ("lltc", "lau2025local", "vehtari2021rank")
MINIBATCHES = ("baker2019control", "mira2013zero")
KERNELS = {
    "baoab": ("leimkuhler2013rational",),
    "leimkuhler_matthews": ("leimkuhler2013rational",),
    "euler": ("welling2011bayesian",),
    "ghmc": ("horowitz1991generalized", "neal2011mcmc"),
    "mala": ("roberts1996exponential",),
    "nuts": ("hoffman2014nuts", "phan2019composable"),
    "rmsprop": ("li2016preconditioned",),
    "sgnht": ("ding2014bayesian", "leimkuhler2016adaptive"),
}
# What a kernel of lltc is called when it is scheduled, or run by replicas that trade places.
SCHEDULED, EXCHANGED = "scheduled ", " with exchange"
EXCHANGE = ("swendsen1986replica", "syed2022nonreversible")
Result = (
    LLCEstimate
    | LLCLadder
    | LLCTeam
    | Sweep
    | PathSweep
    | Runs
    | Probe
    | Susceptibilities
    | LossRecord
    | CompressionCurve
    | Crossing
)


def citation(result: Result) -> str:
    """Return BibTeX of what stands behind a result: lltc, the estimator, the kernel, the transitions.

    Each entry comes once. A kernel of your own is named in a comment, for its source is known to you alone.
    Of a sweep, the kernel is that of its first estimate.

    Args:
        result: an `LLCEstimate`, `LLCLadder`, `LLCTeam`, `Sweep`, `PathSweep`, `Runs`, `Probe`,
            `Susceptibilities`, `LossRecord`, `CompressionCurve` or `Crossing`.

    Raises:
        InputError: for anything else.

    Example:
        >>> import jax.numpy as jnp, lltc
        >>> loss = lambda w, x: 0.5 * jnp.sum(w**2) * jnp.ones(len(x))
        >>> estimate = lltc.estimate_llc(loss, jnp.ones(2), jnp.zeros(50), progress=False)
        >>> [line for line in lltc.citation(estimate).splitlines() if line.startswith("@")][:2]
        ['@software{lltc,', '@inproceedings{lau2025local,']
    """
    kernels = list(dict.fromkeys(estimate.kernel for estimate in _estimates(result)))
    keys = [*ALWAYS, *(key for name in kernels for key in _behind_kernel(name)), *_behind_kind(result)]
    strangers = [f"% kernel {name}: cite its own source" for name in kernels if _plain(name) not in KERNELS]
    return "\n\n".join([*(entries()[key] for key in dict.fromkeys(keys)), *strangers])


def _plain(name: str) -> str:
    return name.removeprefix(SCHEDULED).removesuffix(EXCHANGED)


def _behind_kernel(name: str) -> tuple[str, ...]:
    """Return the sources of a kernel; minibatches' control variates come with all but NUTS."""
    exchange = EXCHANGE if name.endswith(EXCHANGED) else ()
    return KERNELS.get(_plain(name), ()) + exchange + (() if name == "nuts" else MINIBATCHES)


def _behind_kind(result: Result) -> Iterator[str]:
    """Yield what a result rests on beside its estimates."""
    match result:
        case LLCLadder():
            yield "watanabe2013widely"
        case LLCTeam():
            yield "wang2025differentiation"
        case Sweep() | PathSweep() | Runs():
            yield "fearnhead2006exact"
            if any(swept.components for swept in _sweeps(result)):
                yield "wang2025differentiation"
        case Probe() if result.by_component:
            yield "wang2025differentiation"
        case Susceptibilities():
            yield from ("baker2026structural", "watanabe2010asymptotic")
            if result.loss_kernel is not None:
                yield "adam2025loss"
        case LossRecord():
            yield from ("baker2026structural", "watanabe2010asymptotic", "adam2025loss", "kreer2026bayesian")
        case CompressionCurve():
            yield "lecun1990optimal"
        case Crossing():
            yield from ("watanabe2009algebraic", "chen2023dynamical")


def _estimates(result: Any) -> Iterable[LLCEstimate]:
    """Return the estimates in a result, or some that stand for them all."""
    match result:
        case LLCEstimate():
            return [result]
        case LLCLadder():
            return result.estimates
        case LLCTeam():
            return result.estimates.values()
        case Probe():
            return [result.before, result.after]
        case Susceptibilities() | LossRecord():
            return [result.estimate]
        case CompressionCurve() | Crossing():
            return []
        case Sweep() | PathSweep() | Runs():
            return [estimate for swept in _sweeps(result) for estimate in _first(swept)]
    raise InputError(
        f"result must be an estimate, ladder, team, sweep, probe, reading or another result of lltc, but a "
        f"{type(result).__name__} was given; pass what one of its functions returned."
    )


def _sweeps(result: Sweep | PathSweep | Runs) -> list[Sweep]:
    return [result] if isinstance(result, Sweep) else list(result.sweeps.values())


def _first(swept: Sweep) -> list[LLCEstimate]:
    """Return the first estimate of a sweep, in a list; an empty one where there is none."""
    status = swept.curve["status"].to_numpy()
    return [swept.estimate(int(step)) for step in swept.curve["step"].to_numpy()[status != "failed"][:1]]
