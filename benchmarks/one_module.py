"""One PyTorch module through lltc and devinterp 2: the same weights, data, density and number of gradients.

`make bench-one-module` writes benchmarks/results/one_module.md. A small GPT is trained in PyTorch and
exported; lltc reads the export with nothing chosen but nβ and γ, once as it stops by itself and once four
times as long for a reference. devinterp gets as many gradients as lltc used, at each of several learning
rates.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from peers import set_up
from provenance import describe_run
from speed_peers import LANGUAGE

import lltc

HERE = Path(__file__).parent
RESULTS = HERE / "results"
NBETA, LOCALIZATION, BATCH, CHAINS = 500.0, 100.0, 32, 4
RATES = (1e-5, 1e-4, 3e-4)
LONGER = 4
PACKAGES = (*LANGUAGE, "numpy", "lazy-loader", "expecttest")


def ask(python: Path, verb: str, folder: Path) -> list[dict[str, Any]]:
    """Return what devinterp's side prints, an entry a line."""
    command = [python, HERE / "peers" / "module_worker.py", verb, folder]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    answer = subprocess.check_output(list(map(str, command)), text=True, env=environment)
    return [json.loads(line) for line in answer.splitlines() if line.startswith("{")]


def estimate(folder: Path, **options: Any) -> tuple[lltc.LLCEstimate, float]:
    """Return lltc's estimate and its seconds; the first of a process compiles."""
    model = lltc.models.torch_exported(
        folder / "module.pt2", "causal_lm", inputs=lambda tokens: tokens[:, :-1]
    )
    loss = lltc.behavioral(model.apply, "kl")
    began = time.perf_counter()
    made = lltc.estimate_llc(
        loss,
        model.params,
        np.load(folder / "tokens.npy"),
        nbeta=NBETA,
        localization=LOCALIZATION,
        progress=False,
        **options,
    )
    return made, time.perf_counter() - began


def measure(home: Path, folder: Path) -> list[str]:
    """Return the page."""
    python = set_up("devinterp2_module", home, PACKAGES)
    (trained,) = ask(python, "prepare", folder)
    own, seconds = estimate(folder)
    draws = LONGER * own.draws.shape[1]
    reference, _ = estimate(folder, num_draws=draws, key=1)
    # Each step evaluates w* too.
    gradients = round(own.evaluations * own.batch_size * (1 + 1 / own.num_chains))
    steps = gradients // (CHAINS * BATCH)
    spec = {
        "nbeta": NBETA,
        "localization": LOCALIZATION,
        "batch_size": BATCH,
        "num_chains": CHAINS,
        "num_burnin_steps": steps // 2,
        "num_draws": steps - steps // 2,
        "rates": RATES,
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    rows = ask(python, "sample", folder)
    off = lambda llc: f"{100 * (llc / reference.llc - 1):+.1f} %"
    return [
        "# One PyTorch module, two packages",
        "",
        f"`make bench-one-module` ({describe_run()}).",
        f"A GPT of {trained['num_params']:,} parameters, trained in PyTorch to a loss of "
        f"{trained['loss']:.2f} nats on the sources of Python's own library; loss: KL from its own "
        f"predictions; nβ = {NBETA:g}, γ = {LOCALIZATION:g}.",
        "lltc reads the module's export. devinterp 2.0.1 gets as many gradients of examples "
        f"({gradients:.3g}): {CHAINS} chains, batches of {BATCH}, half of {steps:,} steps as burn-in. "
        f"The reference is lltc at {LONGER} times the draws and another key: "
        f"{reference.llc:.2f} ± {reference.llc_se:.2f} ({reference.status.value}).",
        "devinterp's `llc_mean` is over all steps, burn-in too; beside it stands the mean after burn-in,",
        "with the spread over chains.",
        "",
        "| | step size | llc | off by | after burn-in | off by | seconds |",
        "|---|---|---|---|---|---|---|",
        f"| lltc, nothing chosen | {own.step_size:.2g} (measured) | {own.llc:.2f} ± {own.llc_se:.2f}, "
        f"{own.status.value} | {off(own.llc)} | | | {seconds:.0f}, compilation included |",
        *(
            f"| devinterp 2.0.1 | {row['lr']:g} | {row['llc']:.2f} | {off(row['llc'])} | "
            f"{row['after_burnin']:.2f} ± {row['std']:.2f} | {off(row['after_burnin'])} | "
            f"{row['seconds']:.0f} |"
            for row in rows
        ),
    ]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=HERE / ".peers", help="where the environment goes")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = measure(given.home, Path(folder))
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "one_module.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
