"""How many chain-steps a second beside the PyTorch peer, on the same networks, weights, data and machine?

`make bench-speed-peers` writes benchmarks/results/speed_peers.{csv,md}. A round is a process of lltc and then
one of the peer, each with all cores to itself; a ratio is of the two rates of a round. peers/speed_worker.py
holds the peer's settings and their reasons. Its environments are made under benchmarks/.peers.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).parent / "peers"))

import jax
import numpy as np
from networks import Network, speed_networks
from peers import PINS, set_up
from provenance import describe_run
from speed import RESULTS, drawing
from timing import steps_a_second

HERE = Path(__file__).parent
HEADS = {"2-layer attention-only": 4, "6-layer transformer": 8}


class Kind(NamedTuple):
    """A way to run the peer: its environment, what is in it, and the ratio lltc aims at."""

    name: str
    environment: str
    packages: tuple[str, ...]
    target: int
    flags: tuple[str, ...] = ()


EXAMPLES = (
    Kind("devinterp 1.3.2", "devinterp", PINS["devinterp"], 20),
    Kind("devinterp 1.3.2, favoured", "devinterp", PINS["devinterp"], 20, ("--favoured",)),
)
# Torch's CPU build, as in peers.py.
LANGUAGE = ("devinterp==2.0.1", "torch==2.13.0", "transformers==5.23.0")
TOKENS = (Kind("devinterp 2.0.1", "devinterp2", LANGUAGE, 2),)


class Row(NamedTuple):
    """Median chain-steps a second of both sides, and the ratio's median, lowest and highest of the rounds."""

    network: str
    num_params: int
    num_chains: int
    batch_size: int
    peer: str
    loss_lltc: float
    loss_peer: float
    lltc: float
    peer_rate: float
    ratio: float
    lowest: float
    highest: float
    target: int


def own_rate(network: Network, least: float) -> dict[str, Any]:
    """Return what lltc's side is: the peer's fields, with the default kernel's rate."""
    some = jax.tree.map(lambda leaf: leaf[: network.batch_size], network.data)
    return {
        "rate": steps_a_second(drawing(network), least) * network.num_chains,
        "loss": float(network.loss(network.params, some).mean()),
        "num_params": network.num_params,
    }


def specify(network: Network, folder: Path, least: float) -> Path:
    """Write the network's weights and data, and what the peer has to know, and return the file."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(network.params)
    arrays = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    arrays |= {f"data/{name}": np.asarray(leaf) for name, leaf in network.data.items()}
    np.savez(folder / "arrays.npz", **arrays)
    num_examples = len(next(iter(network.data.values())))
    spec = {
        "arrays": str(folder / "arrays.npz"),
        "heads": HEADS.get(network.name, 0),
        "num_chains": network.num_chains,
        "batch_size": network.batch_size,
        "nbeta": num_examples / np.log(num_examples),
        "seconds": least,
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    return folder / "spec.json"


def ask(command: list[Any], folder: Path) -> dict[str, Any]:
    """Return what a process prints last."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "TMPDIR": str(folder)}
    environment.pop("OMP_NUM_THREADS", None)
    answer = subprocess.check_output(list(map(str, command)), text=True, env=environment)
    return json.loads(answer.splitlines()[-1])


def measure(network: Network, arguments: argparse.Namespace) -> list[Row]:
    """Run both sides in turn and return a row a way to run the peer."""
    kinds = TOKENS if "tokens" in network.data else EXAMPLES
    mine: list[dict[str, Any]] = []
    theirs: dict[Kind, list[dict[str, Any]]] = defaultdict(list)
    with TemporaryDirectory() as name:
        folder = Path(name)
        spec = specify(network, folder, arguments.seconds)
        own = [sys.executable, __file__, "--rate", network.name, "--seconds", arguments.seconds]
        for _ in range(arguments.rounds):
            mine.append(ask(own, folder))
            for kind in kinds:
                python = set_up(kind.environment, arguments.home, kind.packages)
                theirs[kind].append(ask([python, HERE / "peers/speed_worker.py", spec, *kind.flags], folder))
    return [compare(network, kind, mine, theirs[kind]) for kind in kinds]


def compare(network: Network, kind: Kind, mine: list[dict], theirs: list[dict]) -> Row:
    """Return the row of the rounds, having made sure that both sides have the same network."""
    same = np.isclose(mine[0]["loss"], theirs[0]["loss"], rtol=1e-5)
    if not same or mine[0]["num_params"] != theirs[0]["num_params"]:
        raise SystemExit(f"{network.name} differs: {mine[0]} here, {theirs[0]} in {kind.name}.")
    rates = np.array([[ours["rate"], peer["rate"]] for ours, peer in zip(mine, theirs, strict=True)])
    ratio, lowest, highest = np.quantile(rates[:, 0] / rates[:, 1], [0.5, 0, 1]).tolist()
    return Row(
        network=network.name,
        num_params=network.num_params,
        num_chains=network.num_chains,
        batch_size=network.batch_size,
        peer=f"{kind.name}, torch {theirs[0]['torch']}",
        loss_lltc=mine[0]["loss"],
        loss_peer=theirs[0]["loss"],
        lltc=float(np.median(rates[:, 0])),
        peer_rate=float(np.median(rates[:, 1])),
        ratio=ratio,
        lowest=lowest,
        highest=highest,
        target=kind.target,
    )


def write(rows: list[Row], arguments: argparse.Namespace) -> None:
    """Write the table as CSV and as Markdown."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "speed_peers.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(rows)
    rounds, least = arguments.rounds, arguments.seconds
    lines = [
        "# Speed beside the PyTorch peer",
        "",
        f"`python benchmarks/speed_peers.py --rounds {rounds} --seconds {least:g}`",
        f"({describe_run()}).",
        "Chain-steps a second of `lltc.chains.loop.sample` with the default kernel and of the peer's call,",
        "on the same weights, data, batch size and chains: `loss` is the first batch's at w\\*, by either.",
        f"Each has all cores to itself, in turn: {rounds} rounds of a process of either; the",
        "ratio is the rounds' median (lowest–highest). Set-up and compilation do not count: a rate is from",
        f"the difference of a run of 2 steps and one {least:g} s or more longer (favoured: {4 * least:g} s).",
        "lltc also evaluates w\\* in every step, which is not counted as a chain-step.",
        "",
        "The peer's networks are `torch.nn` modules. 1.3.2 by default runs chains one after another; its",
        "batches come from an ordinary `DataLoader` over a `TensorDataset`. *Favoured*: batches are indexed",
        "at once, and `cores=` starts a process a core. 2.0.1 takes autoregressive language models only and",
        "has no option for chains side by side; its default loss, which evaluates one token more than it",
        "uses, is replaced by one that does not.",
        "",
        "| network | parameters | chains | batch | peer | loss, lltc | peer | chain-steps/s, lltc | peer |"
        " ratio | target | met |",
        "|" + "---|" * 12,
        *(
            f"| {row.network} | {row.num_params:,} | {row.num_chains} | {row.batch_size} | {row.peer} | "
            f"{row.loss_lltc:.6g} | {row.loss_peer:.6g} | {row.lltc:.4g} | {row.peer_rate:.4g} | "
            f"{row.ratio:.2f} ({row.lowest:.2f}–{row.highest:.2f}) | {row.target} | "
            f"{'yes' if row.ratio >= row.target else 'no'} |"
            for row in rows
        ),
    ]
    (arguments.out / "speed_peers.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="substring of the networks' names")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="the least a timed run takes")
    parser.add_argument("--home", type=Path, default=HERE / ".peers", help="where the environments go")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--rate", default="", help="print lltc's rate on the network of this name, and end")
    arguments = parser.parse_args()
    rows = []
    for network in speed_networks():
        if arguments.rate == network.name:
            print(json.dumps(own_rate(network, arguments.seconds)))
        elif not arguments.rate and arguments.only in network.name:
            rows += measure(network, arguments)
            print(*rows[-len(EXAMPLES) :], sep="\n", flush=True)
    if rows:
        write(rows, arguments)


if __name__ == "__main__":
    main()
