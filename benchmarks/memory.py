"""How much memory does drawing take? What XLA reserves for a step, in copies of the parameters.

Run with `make bench-memory`; writes benchmarks/results/memory.{csv,md}. Nothing is run: the compiled programs
say what they hold at most, the data set left out.
"""

import argparse
import csv
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from networks import Network, speed_networks
from provenance import describe_run
from speed import prepared

from lltc.chains.steps import advance

RESULTS = Path(__file__).parent / "results"


class Held(NamedTuple):
    """Bytes of the bare gradient, of drawing with all chains in flight or one, and of a further chain."""

    network: Network
    floor: int
    whole: int
    one: int
    further: int

    def copies(self, held: int) -> float:
        """Return bytes in float32 copies of the parameters."""
        return held / (4 * self.network.num_params)


def peak(program: Any) -> int:
    """Return the bytes a compiled program holds at most: arguments, results and what is in between."""
    memory = program.compile().memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
    )


def size(tree: Any) -> int:
    """Return the bytes of a pytree of arrays."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def gradient_program(network: Network) -> Any:
    """Return the bare value and gradient of all chains on one batch, lowered."""
    params = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * network.num_chains), network.params)
    batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[: network.batch_size]), network.data)
    gradient = jax.vmap(jax.value_and_grad(lambda w, some: network.loss(w, some).mean()), in_axes=(0, None))
    return jax.jit(gradient).lower(params, batch)


def drawing(network: Network, chain_batch: int | None) -> int:
    """Return the bytes that a chunk of draws holds, the data set left out."""
    run, settings, state = prepared(network, chain_batch)
    posterior = run.posterior
    arrays = posterior.data.arrays
    program = advance.lower(run.program, run.origin, state, settings, (1, 256), arrays)
    return peak(program) - size(arrays)


def measure(network: Network) -> Held:
    """Return what the three programs hold."""
    whole, one = drawing(network, None), drawing(network, 1)
    more = drawing(network._replace(num_chains=network.num_chains + 1), None)
    return Held(network, peak(gradient_program(network)), whole, one, more - whole)


def write(rows: list[Held], out: Path) -> None:
    """Write the table."""
    lines = [
        "# Memory of a step",
        "",
        f"`make bench-memory` ({describe_run()}): what XLA says each compiled program holds at most,",
        "in float32 copies of the parameters, activations included, the data set left out. The bare gradient",
        "has the chains' parameters and gradients, two copies a chain; drawing adds their velocities, w\\*,",
        "its gradients, and what turns vectors into leaves and back. Positions, velocities and gradients",
        "alone are three copies a chain: chains + 4 in all, beside the activations, is out of reach.",
        "",
        "| network | parameters | chains | bare gradient | drawing | a further chain | `chain_batch=1` |",
        "|---|---|---|---|---|---|---|",
    ]
    shown = [[row.copies(held) for held in row[1:]] for row in rows]
    for row, (floor, whole, one, further) in zip(rows, shown, strict=True):
        name, params, chains = row.network.name, row.network.num_params, row.network.num_chains
        lines.append(
            f"| {name} | {params:,} | {chains} | {floor:.1f} | {whole:.1f} | {further:.1f} | {one:.1f} |"
        )
    out.mkdir(parents=True, exist_ok=True)
    with (out / "memory.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["network", "num_chains", "floor", "drawing", "chain_batch_1", "further_chain"])
        writer.writerows(
            [row.network.name, row.network.num_chains, *copies]
            for row, copies in zip(rows, shown, strict=True)
        )
    (out / "memory.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    out = parser.parse_args().out
    write([measure(network) for network in speed_networks()], out)


if __name__ == "__main__":
    main()
