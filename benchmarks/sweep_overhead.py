"""What a sweep costs beyond its estimates: its time less the seconds the estimates themselves report.

`python benchmarks/sweep_overhead.py --checkpoints 48 --width 32` sweeps random networks on random data, then
again with nothing to do, and prints the seconds.
"""

import argparse
import tempfile
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import lltc
from lltc.checkpoints import save_npz

EXAMPLES, INPUTS, OUTPUTS = 1797, 64, 10


def outputs(params, batch):
    """Return the outputs of a network with one hidden layer."""
    return jnp.tanh(batch @ params["first"]) @ params["second"]


def make_checkpoints(folder: Path, count: int, width: int) -> None:
    """Write checkpoints of random networks."""
    rng = np.random.default_rng(0)
    for step in range(count):
        first = rng.normal(size=(INPUTS, width)) / np.sqrt(INPUTS)
        second = rng.normal(size=(width, OUTPUTS)) / np.sqrt(width)
        save_npz(folder / f"step_{step}.npz", {"first": np.float32(first), "second": np.float32(second)})


def timed_sweep(home: Path, out: str, **options) -> tuple[float, float]:
    """Return the seconds of a sweep and of the estimates in it."""
    data = np.float32(np.random.default_rng(1).normal(size=(EXAMPLES, INPUTS)))
    model = lltc.behavioral(outputs, "kl")
    began = time.perf_counter()
    swept = lltc.sweep(home / "in", model, data, out=home / out, progress=False, **options)
    return time.perf_counter() - began, float(swept.curve["seconds"].sum())


def main() -> None:
    """Sweep and print what is left when the estimates' own seconds are taken away."""
    parser = argparse.ArgumentParser(description="Time a sweep beside its estimates.")
    parser.add_argument("--checkpoints", type=int, default=48)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--num-draws", type=int, default=1000)
    chosen = parser.parse_args()
    options = {"num_draws": chosen.num_draws, "nbeta": 240.0, "localization": 10.0}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        make_checkpoints(home / "in", chosen.checkpoints, chosen.width)
        timed_sweep(home, "first", **(options | {"num_draws": 8, "num_warmup": 8}))
        whole, estimates = timed_sweep(home, "out", **options)
        again, _ = timed_sweep(home, "out", **options)
    rest = whole - estimates
    print(
        f"{chosen.checkpoints} estimates     {estimates:8.2f} s ({estimates / chosen.checkpoints:.2f} s each)"
    )
    share, each = 100 * rest / estimates, 1e3 * rest / chosen.checkpoints
    print(f"the rest         {rest:8.2f} s ({share:.1f} %, {each:.0f} ms each)")
    print(f"nothing to do    {again:8.2f} s")


if __name__ == "__main__":
    main()
