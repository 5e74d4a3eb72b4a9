"""λ̂ against compressibility (Urdshals et al. 2025, arXiv:2510.12077): quantize, then measure the loss.

Each weight matrix is rounded to n levels between its largest weights of both signs, and `critical_bits` is
log₂ n where the mean loss has risen by ε. Where rounding errors are small, independent and uniform, a step Δ
raises the loss by Δ² tr H/24 for one step in all matrices: a matter of curvatures, not of their number.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from difficulty_law import autoencoder, linear, linear_network, train_autoencoder
from law_rows import Row, curvatures

import lltc
from lltc.demo import outputs as bottleneck_outputs
from lltc.toys import network_loss, network_outputs, train_bottleneck

TOLERANCES = (0.1, 0.01)
BITS = np.arange(1.0, 16.01, 0.125)
NUM_OFFSETS = 32


class Critical(NamedTuple):
    """Bits a weight at which the loss has risen by ε, with the standard error over offsets of the grid."""

    bits: float
    se: float


def quantized(params: Any, levels: jax.Array, key: jax.Array) -> Any:
    """Return the weights on a grid of `levels` over the range of each matrix, its offset drawn with `key`."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))

    def rounded(leaf: jax.Array, key: jax.Array) -> jax.Array:
        step = 2 * jnp.max(jnp.abs(leaf)) / levels
        offset = jax.random.uniform(key)
        return jnp.where(step > 0, step * (jnp.round(leaf / step + offset) - offset), leaf)

    return tree.unflatten([rounded(leaf, key) for leaf, key in zip(leaves, keys, strict=True)])


def rises(loss: Callable[[Any], jax.Array], params: Any) -> np.ndarray:
    """Return how far the mean loss rises, `(offset, bits)`."""
    keys = jax.random.split(jax.random.key(0), NUM_OFFSETS)
    one = lambda levels, key: loss(quantized(params, levels, key)) - loss(params)
    by_key = jax.jit(lambda levels: jax.lax.map(lambda key: one(levels, key), keys))
    return np.stack([np.asarray(by_key(2.0**bits)) for bits in BITS], axis=1)


def critical_bits(risen: np.ndarray, tolerance: float) -> Critical:
    """Return the bits above which the mean rise stays below `tolerance`; the error by leaving offsets out."""

    def crossing(mean: np.ndarray) -> float:
        above = np.flatnonzero(mean > tolerance)
        if len(above) == 0:
            return float(BITS[0])
        last = above[-1]
        if last + 1 == len(BITS):
            return float("nan")
        high, low = np.log(np.maximum(mean[[last, last + 1]], 1e-30))
        return float(BITS[last] + (BITS[1] - BITS[0]) * (high - np.log(tolerance)) / (high - low))

    count = len(risen)
    without = np.array([crossing(np.delete(risen, k, axis=0).mean(0)) for k in range(count)])
    return Critical(crossing(risen.mean(0)), float(np.sqrt((count - 1) * np.var(without))))


def correlations(x: Sequence[float], y: Sequence[float]) -> str:
    """Return Pearson's correlation, and in brackets Spearman's, that of places."""
    first, second = (np.argsort(np.argsort(values)) for values in (x, y))
    return f"{np.corrcoef(x, y)[0, 1]:.2f} ({np.corrcoef(first, second)[0, 1]:.2f})"


class Compressed(NamedTuple):
    """A network: its λ, λ̂ as text and number, the trace of its Hessian, and bits at the two tolerances."""

    name: str
    law: str
    shown: str
    llc: float
    trace: float
    bits: tuple[Critical, ...]


def lines_of(head: str, networks: Sequence[Compressed]) -> list[str]:
    """Return a table, and how bits go with λ̂ and with ½ log₂ tr H."""
    columns = [f"bits at {tolerance:g}" for tolerance in TOLERANCES]
    rows = [f"| {head} | λ | λ̂ | tr H | {' | '.join(columns)} |", "|---" * (4 + len(columns)) + "|"]
    for one in networks:
        bits = " | ".join(f"{critical.bits:.2f} ± {critical.se:.2f}" for critical in one.bits)
        rows.append(f"| {one.name} | {one.law} | {one.shown} | {one.trace:.3g} | {bits} |")
    llc, half = [one.llc for one in networks], [0.5 * np.log2(one.trace) for one in networks]
    for place, tolerance in enumerate(TOLERANCES):
        bits = [one.bits[place].bits for one in networks]
        rows += [
            "",
            f"Over these rows, bits at {tolerance:g} have a correlation of {correlations(llc, bits)} with λ̂, "
            f"of {correlations(half, bits)} with ½ log₂ tr H.",
        ]
    return rows


def compress(
    outputs: Callable[[Any, Any], jax.Array], params: Any, x: Any
) -> tuple[float, tuple[Critical, ...]]:
    """Return tr H and the critical bits of the loss ½‖f(x) - f*(x)‖²."""
    target = outputs(params, x)
    loss = lambda w: jnp.mean(0.5 * jnp.sum((outputs(w, x) - target) ** 2, axis=1))
    risen = rises(loss, params)
    trace = float(curvatures(outputs, params, x).sum())
    return trace, tuple(critical_bits(risen, tolerance) for tolerance in TOLERANCES)


def bottleneck_lines(count: int) -> list[str]:
    """Return the table of a training run whose λ is known at each plateau."""
    networks = []
    with tempfile.TemporaryDirectory() as folder:
        run = train_bottleneck(Path(folder) / "checkpoints")
        model = lltc.behavioral(bottleneck_outputs, "squared", loss=network_loss)
        settings: dict[str, Any] = {"nbeta": run.nbeta, "localization": run.localization, "progress": False}
        for place in np.linspace(0, len(run.steps) - 1, count).round().astype(int):
            step, params = run.steps[place], run.params[place]
            estimate = lltc.estimate_llc(model, params, run.data, **settings)
            on = [known.llc_limit for known in run.plateaus if known.step_low <= step <= known.step_high]
            shown = f"{estimate.llc:.2f} ± {estimate.llc_se:.2f}, {estimate.status.name}"
            compressed = compress(network_outputs, params, run.data["x"])
            law = f"{on[0]:g}" if on else "between"
            networks.append(Compressed(str(step), law, shown, estimate.llc, *compressed))
            print(step, shown, compressed, flush=True)
    return [
        f"Checkpoints of the 5-3-5 linear network of the demo, behavioral loss, nβ = {run.nbeta:g}, "
        f"γ = {run.localization:g}:",
        "",
        *lines_of("step", networks),
    ]


def network_lines(name: str, rows: Sequence[Row]) -> list[str]:
    """Return the table of linear networks ("rank") or autoencoders ("dimension") that were measured."""
    networks = []
    for row in rows:
        number = int(row.name.split()[1].rstrip(","))
        if name == "rank":
            outputs, (params, x) = linear, linear_network(number)
        else:
            outputs, (params, x, _) = autoencoder, train_autoencoder(number)
        estimate = row.estimate
        shown = f"{estimate.llc:.2f} ± {estimate.llc_se:.2f}"
        law = "none" if row.law is None else f"{row.law:g}"
        networks.append(Compressed(str(number), law, shown, estimate.llc, *compress(outputs, params, x)))
    title = "The linear networks" if name == "rank" else "The autoencoders"
    return [f"{title} of the section before:", "", *lines_of(name, networks)]
