"""One network beside a law: λ by the law, the Hessian's rank, what a Gaussian says at nβ and γ, and λ̂."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import lltc

RANK_CUT = 1e-11
HEAD = (
    "| network | parameters | law | ½ rank | at this nβ, γ | λ̂ | λ̂ - that | nβ | γ | status | CPU s |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
)


class Row(NamedTuple):
    """A network and its numbers: `law` is the published λ, `half_rank` and `at_nbeta` are of the Hessian."""

    name: str
    law: float | None
    half_rank: float
    at_nbeta: float
    estimate: lltc.LLCEstimate
    seconds: float


def curvatures(outputs: Callable[[Any, Any], jax.Array], params: Any, batch: Any) -> np.ndarray:
    """Return the eigenvalues of JᵀJ/n in float64, the Hessian of ½‖f - y‖² where f = y, largest first."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), (params, batch))
        flat, unravel = ravel_pytree(wide[0])
        of_one = lambda w, example: outputs(unravel(w), example[None])[0]
        jacobian = jax.vmap(jax.jacrev(of_one), (None, 0))(flat, wide[1]).reshape(-1, flat.size)
        values = jnp.linalg.eigvalsh(jacobian.T @ jacobian / len(wide[1]))
    return np.maximum(np.asarray(values)[::-1], 0.0)


def half_rank(values: np.ndarray) -> float:
    """Return half the number of curvatures that are not rounding errors."""
    return float(np.sum(values > RANK_CUT * values[0])) / 2


def gaussian_llc(values: np.ndarray, nbeta: float, localization: float) -> float:
    """Return ½ Σ nβ h/(nβ h + γ): λ̂ of the quadratic part of the loss, exact where that is all of it."""
    return float(0.5 * np.sum(nbeta * values / (nbeta * values + localization)))


def squared(outputs: Callable[[Any, Any], jax.Array]) -> Callable[[Any, Any], jax.Array]:
    """Return the loss ½‖f(x) - y‖² of every example of `{"x", "y"}`."""
    return lambda params, batch: 0.5 * jnp.sum((outputs(params, batch["x"]) - batch["y"]) ** 2, axis=1)


def measure(
    name: str,
    outputs: Callable[[Any, Any], jax.Array],
    params: Any,
    x: Any,
    y: Any,
    *,
    law: float | None,
    rank: int | None = None,
    moved: str | None = None,
    **options: Any,
) -> Row:
    """Return the row of `params`, whose outputs are `y`; `rank` where it is known better than by rounding."""
    began = time.process_time()
    data = {"x": jnp.asarray(x, jnp.float32), "y": jnp.asarray(y, jnp.float32)}
    estimate = lltc.estimate_llc(squared(outputs), params, data, restrict=moved, progress=False, **options)
    seconds = time.process_time() - began
    if moved is None:
        values = curvatures(outputs, params, x)
    else:
        values = curvatures(lambda part, batch: outputs(params | {moved: part}, batch), params[moved], x)
    gaussian = gaussian_llc(values, estimate.nbeta, estimate.localization)
    half = half_rank(values) if rank is None else rank / 2
    return Row(name, law, half, gaussian, estimate, seconds)


def line(row: Row) -> str:
    """Return a row of the table."""
    estimate = row.estimate
    off = estimate.llc - row.at_nbeta
    cells = (
        row.name,
        f"{estimate.num_params:,}",
        "none" if row.law is None else f"{row.law:g}",
        f"{row.half_rank:g}",
        f"{row.at_nbeta:.2f}",
        f"{estimate.llc:.2f} ± {estimate.llc_se:.2f}",
        f"{off:+.2f}, {off / estimate.llc_se:+.1f} errors",
        f"{estimate.nbeta:.0f}",
        f"{estimate.localization:.3g}",
        estimate.status.name,
        f"{row.seconds:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of the table, its head in two."""
    return [*HEAD, *(line(row) for row in rows)]
