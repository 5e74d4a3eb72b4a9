"""How much of the gradient's own speed is left? Chain-steps a second beside the bare gradient.

Run with `make bench-speed`; writes benchmarks/results/speed.{csv,md,png}. Every share is a ratio of times
taken in turn in one process, so that other work on the machine falls on both.
"""

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from networks import Network, speed_networks
from provenance import describe_run

from lltc.chains.loop import Run, sample, start
from lltc.chains.rungs import Ladder
from lltc.chains.steps import Settings
from lltc.chains.tuning import Tuned, make_settings
from lltc.estimates.estimator import prepare_run
from lltc.kernels import baoab
from lltc.posterior.target import local_posterior

RESULTS = Path(__file__).parent / "results"
SECONDS = 2.0
ROUNDS = 9
TARGET = 0.85
LEAST_STEPS = 16


class Share(NamedTuple):
    """Chain-steps a second of lltc beside the floor's, and the median over rounds of their ratio."""

    network: str
    num_params: int
    num_chains: int
    batch_size: int
    floor: float
    lltc: float
    share: float
    lowest: float
    highest: float


def bare_gradient(network: Network) -> Callable[[int], None]:
    """Return what runs `count` steps of value and gradient of all chains and w* on one batch, jitted."""
    chains = network.num_chains + 1
    params = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * chains), network.params)
    batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[: network.batch_size]), network.data)
    gradient = jax.vmap(jax.value_and_grad(lambda w, some: network.loss(w, some).mean()), in_axes=(0, None))

    @jax.jit
    def loop(params: Any, batch: Any, count: int) -> Any:
        def step(_: int, carry: Any) -> Any:
            params, total = carry
            losses, slopes = gradient(params, batch)
            # Each step depends on the last, or the compiler would take the gradient out of the loop.
            return jax.tree.map(lambda w, slope: w - 1e-9 * slope, params, slopes), total + losses

        return jax.lax.fori_loop(0, count, step, (params, jnp.zeros(chains)))

    return lambda count: jax.block_until_ready(loop(params, batch, count)) and None


def drawing(network: Network) -> Callable[[int], None]:
    """Return what draws `count` steps as `estimate_llc` does, recording and host round trips included."""
    run, settings, state = prepared(network)
    at = [state]

    def draw(count: int) -> None:
        at[0] = sample(run, at[0], settings, first=1, count=count).state

    return draw


def prepared(network: Network, chain_batch: int | None = None) -> tuple[Run, Settings, Any]:
    """Return a run of the default kernel at a small step, its settings and its first state."""
    posterior = local_posterior(
        network.loss,
        network.params,
        network.data,
        localization=1.0,
        batch_size=network.batch_size,
        chain_batch=chain_batch,
    )
    run = prepare_run(posterior, 0, None, kernel=baoab(), anchor_examples=64)
    ladder = Ladder(np.array([posterior.nbeta]), network.num_chains)
    settings = make_settings(
        run, ladder, ladder.spread(ladder.rungs), Tuned(np.array([1e-8]), np.array([0.9]))
    )
    positions = jnp.zeros((network.num_chains, posterior.num_params))
    return run, settings, start(run, positions, settings)


def seconds(task: Callable[[int], None], count: int) -> float:
    """Return how long `count` steps take."""
    began = time.perf_counter()
    task(count)
    return time.perf_counter() - began


def measure(network: Network) -> Share:
    """Time floor and lltc in turn, each for about two seconds a round, or 16 steps if they take longer."""
    floor, draw = bare_gradient(network), drawing(network)
    floor(2), draw(2)
    count = max(LEAST_STEPS, int(SECONDS / (seconds(floor, 2) / 2)))
    times = np.array([[seconds(floor, count), seconds(draw, count)] for _ in range(ROUNDS)])
    shares = times[:, 0] / times[:, 1]
    # w* counts as a chain of the floor: lltc evaluates it too, and gets no chain-step for it.
    rates = count * np.array([network.num_chains + 1, network.num_chains + 1]) / np.median(times, 0)
    return Share(
        network.name,
        network.num_params,
        network.num_chains,
        network.batch_size,
        *rates.tolist(),
        *np.quantile(shares, [0.5, 0, 1]).tolist(),
    )


def write(shares: list[Share], out: Path) -> None:
    """Write the table as CSV and as Markdown, and the picture."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "speed.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Share._fields)
        writer.writerows(shares)
    lines = [
        "# Speed beside the bare gradient",
        "",
        f"`make bench-speed` ({describe_run()}).",
        *table(shares),
    ]
    (out / "speed.md").write_text("\n".join([*lines, "", "![Shares](speed.png)"]) + "\n")
    draw_shares(shares).savefig(out / "speed.png", dpi=150)


def table(shares: list[Share]) -> list[str]:
    """Return what was compared, and a row a network."""
    return [
        "The floor is the jitted `value_and_grad` of the loss, of all chains and w\\*, on one batch. Both",
        f"count w\\* as a chain. A share is the median of {ROUNDS} rounds taken in turn (lowest–highest).",
        "",
        "| network | parameters | chains | batch | chain-steps/s, floor | lltc | share |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row.network} | {row.num_params:,} | {row.num_chains} | {row.batch_size} | {row.floor:.0f} | "
            f"{row.lltc:.0f} | {row.share:.2f} ({row.lowest:.2f}–{row.highest:.2f}) |"
            for row in shares
        ),
    ]


def draw_shares(shares: list[Share]) -> Figure:
    """Return a bar a network, its rounds' range, and the target."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    middle = np.array([row.share for row in shares])
    spread = np.abs(np.array([[row.lowest, row.highest] for row in shares]).T - middle)
    axes.barh(
        [row.network for row in shares], middle, xerr=spread, color="#4477aa", ecolor="#222222", capsize=3
    )
    axes.axvline(TARGET, color="#cc3311", linestyle="--", label=f"target {TARGET}")
    axes.axvline(1, color="#888888", linewidth=0.8, label="the bare gradient")
    axes.invert_yaxis()
    axes.set_xlabel("chain-steps a second, as a share of the bare gradient's")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="substring of the networks' names")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    shares = []
    for network in speed_networks():
        if arguments.only in network.name:
            shares.append(measure(network))
            print(shares[-1], flush=True)
    write(shares, arguments.out)


if __name__ == "__main__":
    main()
