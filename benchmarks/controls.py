"""Sweeps that must not show a staircase: one checkpoint again and again, and a run whose rank never changes.

    python benchmarks/controls.py

prints both tables; benchmarks/transitions.py writes them into its results.
"""

import tempfile
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lltc
from lltc.models import behavioral
from lltc.toys import deep_linear, network_loss, network_outputs

WIDTHS = (5, 10, 10, 10, 10, 5)


def outputs(params: Any, batch: dict[str, jax.Array]) -> jax.Array:
    return network_outputs(params, batch["x"])


def train_linear(num_steps: int, num_checkpoints: int, *, rate: float = 0.02, key: int = 0):
    """Plain gradient descent on a full-rank linear teacher from the usual start; pairs of step and params.

    The network's map has full rank at every step, so that its behavioral learning coefficient is 5 · 5 / 2
    throughout: every point of the training run is a regular one.
    """
    keys = jax.random.split(jax.random.key(key), len(WIDTHS))
    layers = pairwise(WIDTHS)
    params = {
        f"layer{i + 1}": {"kernel": jax.random.normal(keys[i], (a, b)) / np.sqrt(a)}
        for i, (a, b) in enumerate(layers)
    }
    x = jnp.sqrt(5.0) * jnp.eye(5)
    data = {"x": x, "y": x @ jax.random.normal(keys[-1], (5, 5))}

    @jax.jit
    def descend(params):
        gradient = jax.grad(lambda w: jnp.mean(network_loss(w, data)))(params)
        return jax.tree.map(lambda w, g: w - rate * g, params, gradient)

    saved = np.unique(np.concatenate([[0], np.geomspace(1, num_steps, num_checkpoints - 1).round()])).astype(
        int
    )
    pairs = []
    for step in range(num_steps + 1):
        if step in saved:
            pairs.append((step, params))
        params = descend(params)
    return pairs, data


def sweep_repeated(out: str, count: int, **options: Any) -> lltc.Sweep:
    """The same converged checkpoint at `count` steps; only the chains' noise differs.

    Each has an integer of its own among its params: checkpoints without any difference are estimated once.
    """
    problem = deep_linear([5, 3, 5], rank=3)
    pairs = [(10 * k, {"network": problem.params, "number": np.int32(k)}) for k in range(count)]
    model = lambda params, batch: problem.model(params["network"], batch)
    fixed = {"nbeta": problem.nbeta, "localization": problem.localization, "progress": False}
    return lltc.sweep(pairs, model, problem.data, out=out, **fixed, **options)


def sweep_trained(out: str, num_steps: int, num_checkpoints: int, **options: Any) -> lltc.Sweep:
    """The run of `train_linear`, against the checkpoints' own outputs."""
    pairs, data = train_linear(num_steps, num_checkpoints)
    model = behavioral(outputs, "squared", loss=network_loss)
    fixed: dict[str, Any] = {"nbeta": 1e3, "localization": 1.0, "progress": False}
    return lltc.sweep(pairs, model, data, out=out, **fixed, **options)


def control_rows(quick: bool = False) -> list[list[str]]:
    """A row a control: what it is, its curve in numbers, statuses, markers, seconds."""
    # The options keep the sweeps short: a control needs many checkpoints, not the last per cent of each.
    cases = {
        "one checkpoint of a 5-3-5 linear network": (sweep_repeated, (50,), {"num_draws": 1000}),
        "5-10-10-10-10-5 linear network, training run": (
            sweep_trained, (4000, 20), {"num_draws": 1500, "num_warmup": 1000},
        ),
    }  # fmt: skip
    rows = []
    for name, (run, arguments, options) in cases.items():
        arguments = (*arguments[:-1], 6) if quick else arguments
        options = options | ({"num_draws": 200, "num_warmup": 200} if quick else {})
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            swept = run(folder, *arguments, **options)
        rows.append([name, *describe(swept), f"{time.perf_counter() - began:.0f}"])
    return rows


def describe(swept: lltc.Sweep) -> list[str]:
    """The cells of `HEAD` between the name and the seconds."""
    llc, se = swept.curve["llc"].to_numpy(), swept.curve["llc_se"].to_numpy()
    steps = swept.curve["step"].to_numpy()
    off = (llc - np.average(llc, weights=se**-2.0)) / se
    statuses = Counter(swept.curve["status"].to_numpy().tolist()).most_common()
    return [
        str(len(llc)),
        f"{llc.mean():.3f}",
        f"{llc.std(ddof=1):.3f}",
        f"{np.median(se):.3f}",
        f"{np.sqrt(np.mean(off**2)):.2f}",
        ", ".join(f"{count} {name}" for name, count in statuses),
        str(len(swept.transitions)),
        str(len(lltc.find_transitions(steps, llc, se))),
    ]


HEAD = ["control", "checkpoints", "mean λ̂", "scatter", "median error", "scatter in errors", "status"]
HEAD += ["markers", "markers without the floor", "seconds"]

if __name__ == "__main__":
    for row in control_rows():
        print(dict(zip(HEAD, row, strict=True)))
