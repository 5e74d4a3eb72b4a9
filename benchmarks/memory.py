"""How much memory does drawing take? What XLA reserves for a step, in copies of the parameters.

Run with `make bench-memory`; writes benchmarks/results/memory.md. Nothing is run: the compiled programs say
what they hold at most, the data set left out.
"""

import argparse
import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from networks import Network, speed_networks
from speed import prepared

from lltc.sampling import _advance

RESULTS = Path(__file__).parent / "results"


class Held(NamedTuple):
    """Bytes of the bare gradient, and of drawing with all chains in flight and with one."""

    network: Network
    floor: int
    whole: int
    one: int

    def copies(self, held: int) -> float:
        """Return bytes in float32 copies of the parameters."""
        return held / (4 * self.network.num_params)


def peak(program: Any) -> int:
    """Return the bytes a compiled program holds at most: arguments, results and what is in between."""
    found = program.compile().memory_analysis()
    return (
        found.argument_size_in_bytes
        + found.temp_size_in_bytes
        + found.output_size_in_bytes
        - found.alias_size_in_bytes
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


def drawing_program(network: Network, chain_batch: int | None) -> tuple[Any, int]:
    """Return the program of a chunk of draws, lowered, and the bytes of the data set it is given."""
    run, settings, state = prepared(network, chain_batch)
    posterior = run.posterior
    common = (posterior.target, run.kernel, run.batch_size, run.observables)
    dynamic = (run.key, posterior.center, run.anchor, state, settings, 1, 256)
    return _advance.lower(*common, *dynamic, posterior.data.arrays, None), size(posterior.data.arrays)


def measure(network: Network) -> Held:
    """Return what the three programs hold."""
    held = []
    for chain_batch in (None, 1):
        program, data = drawing_program(network, chain_batch)
        held.append(peak(program) - data)
    return Held(network, peak(gradient_program(network)), *held)


def write(rows: list[Held], out: Path) -> None:
    """Write the table."""
    lines = [
        "# Memory of a step",
        "",
        f"`make bench-memory` (JAX {jax.__version__}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{jax.default_backend()}): what XLA says each compiled program holds at most,",
        "in float32 copies of the parameters, activations included, the data set left out. The bare gradient",
        "has the chains' parameters and gradients; drawing adds their velocities, w\\* (as leaves and as a",
        "vector) and its gradient, and what turns vectors into leaves and back.",
        "",
        "| network | parameters | chains | bare gradient | drawing | more, a chain | `chain_batch=1` |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        floor, whole, one = (row.copies(held) for held in (row.floor, row.whole, row.one))
        more = (whole - floor) / row.network.num_chains
        lines.append(
            f"| {row.network.name} | {row.network.num_params:,} | {row.network.num_chains} | {floor:.1f} "
            f"| {whole:.1f} | {more:+.1f} | {one:.1f} |"
        )
    out.mkdir(parents=True, exist_ok=True)
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
