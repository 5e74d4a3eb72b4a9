"""How fast is a network of the size of GPT-2 small on a GPU, in bfloat16?

Run with `make bench-gpu`, or `benchmarks/gpu.sh` on a machine without a network; writes
benchmarks/results/gpu.md in under twelve minutes. Measured are chain-steps a second beside the bare gradient,
the most memory beside what the plan allowed, and the time to an error of 5 %. `--small` tries the same on any
device with a network of a few thousand parameters, and writes nothing unless `--out` is given.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from networks import Network, gpt2_small, transformer
from provenance import describe_run
from speed import measure, table

import lltc
from lltc.chains.memory import read_memory

RESULTS = Path(__file__).parent / "results"
TARGET, PATIENCE = 0.05, "6m"


@dataclass(frozen=True)
class Reached:
    """An estimate, the seconds it took, compilation included, and the most bytes in use beside the plan's."""

    estimate: lltc.LLCEstimate
    seconds: float
    planned: int
    peak: int


def in_bfloat16(network: Network) -> Network:
    """Return the network computing in bfloat16 from float32 params, its losses in float32."""
    assert network.outputs is not None
    coarse = lambda params: jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), params)
    outputs, loss = network.outputs, network.loss
    return network._replace(
        name=f"{network.name}, bfloat16",
        outputs=lambda params, batch: outputs(coarse(params), batch).astype(jnp.float32),
        loss=lambda params, batch: loss(coarse(params), batch).astype(jnp.float32),
    )


def reach(network: Network) -> Reached:
    """Estimate the network as behavioral, with nothing chosen but the error."""
    planned = read_memory(None)
    assert network.outputs is not None
    model = lltc.behavioral(network.outputs, "kl")
    began = time.perf_counter()
    estimate = lltc.estimate_llc(
        model, network.params, network.data, target_rel_se=TARGET, time=PATIENCE, progress=False
    )
    seconds = time.perf_counter() - began
    statistics: dict[str, Any] = jax.local_devices()[0].memory_stats() or {}
    return Reached(estimate, seconds, planned, statistics.get("peak_bytes_in_use", 0))


def lines_of(network: Network, reached: Reached) -> list[str]:
    """Return the page."""
    return [
        "# Speed on a GPU",
        "",
        f"`make bench-gpu` ({describe_run()}, {jax.devices()[0].device_kind}).",
        *table([measure(network)]),
        "",
        f"To an error of {TARGET:.0%} (behavioral loss, nothing else chosen, {PATIENCE} at most):",
        "",
        "```",
        reached.estimate.summary(),
        "```",
        "",
        f"{reached.seconds:.0f} s, compilation included; {reached.peak / 1e9:.2f} GB in use at most, where "
        f"the plan allowed {reached.planned / 1e9:.2f} GB.",
    ]


def main() -> None:
    """Measure and write, or say that there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tiny network, on any device")
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    if not given.small and jax.default_backend() == "cpu":
        raise SystemExit("benchmarks/gpu.py: JAX sees no GPU here; --small tries the script without one.")
    tiny: dict[str, Any] = {"layers": 1, "width": 16, "heads": 2, "vocabulary": 32, "context": 16}
    network = in_bfloat16(transformer(**tiny) if given.small else gpt2_small())
    lines = lines_of(network, reach(network))
    print("\n".join(lines))
    out = given.out or (None if given.small else RESULTS)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "gpu.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
