"""What would a sweep of a large language model cost? Arithmetic on measured constants; runs nothing.

`python benchmarks/scale_cost.py` prints the table of docs/scale.md. The share of the gradient's speed and
the copies of the parameters held are read from results/speed.csv and results/memory.csv; what a GPU does a
second is an assumption, `--flops`.
"""

import argparse
import csv
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parent / "results"
FLOPS_A_TOKEN = 6  # forward and backward, per parameter: Kaplan et al. (2020, arXiv:2001.08361), section 2.1
NETWORK = "6-layer transformer"


class Cost(NamedTuple):
    """GPU hours of one estimate and of a sweep, and GB of memory, as a small batch's activations have it."""

    estimate: float
    sweep: float
    memory: float


def measured(file: str) -> dict[str, float]:
    """Return the numbers of the transformer's row in a results file."""
    with (RESULTS / file).open(newline="") as table:
        [row] = [row for row in csv.DictReader(table) if row.pop("network") == NETWORK]
    return {name: float(value) for name, value in row.items()}


def cost(num_params: float, chosen: argparse.Namespace) -> Cost:
    """Return what a network of `num_params` costs: every step evaluates all chains and w* on one batch."""
    share, memory = measured("speed.csv")["share"], measured("memory.csv")
    steps = chosen.num_warmup + chosen.num_draws
    sequences = steps * (chosen.num_chains + 1) * chosen.batch_size + chosen.anchor_examples
    tokens = sequences * chosen.context
    hours = FLOPS_A_TOKEN * num_params * tokens / (share * chosen.flops) / 3600
    further = memory["further_chain"]
    copies = memory["drawing"] + further * (chosen.num_chains - memory["num_chains"])
    return Cost(hours, hours * chosen.checkpoints, 4e-9 * num_params * copies)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-chains", type=int, default=4)
    parser.add_argument("--num-draws", type=int, default=1000)
    parser.add_argument("--num-warmup", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=16, help="sequences a step")
    parser.add_argument("--context", type=int, default=1024, help="tokens a sequence")
    parser.add_argument("--anchor-examples", type=int, default=10_000, help="sequences that give the anchor")
    parser.add_argument("--checkpoints", type=int, default=50)
    parser.add_argument("--flops", type=float, default=4e14, help="FLOP/s a GPU reaches in this network")
    chosen = parser.parse_args()
    print("| parameters | GPU hours an estimate | a sweep | GB, weights and chains |\n|---|---|---|---|")
    for name, num_params in (("124 M", 124e6), ("1 B", 1e9), ("7 B", 7e9), ("70 B", 70e9)):
        costs = cost(num_params, chosen)
        print(f"| {name} | {costs.estimate:.2g} | {costs.sweep:,.0f} | {costs.memory:,.0f} |")


if __name__ == "__main__":
    main()
