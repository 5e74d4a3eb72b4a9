"""One PyTorch module through lltc and through devinterp: the same weights, data and density; time to 2 %.

`make bench-one-module` writes benchmarks/results/one_module.md. An MLP, a ResNet, a GPT-NeoX and a char-level
GPT are trained in PyTorch and exported; lltc reads the export with nothing chosen but nβ and γ, once as it
stops by itself and once four times as long for a reference. devinterp runs at several learning rates, and the
best of them is chosen in hindsight: peers/module_worker.py says how.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from peers import PINS, set_up
from provenance import describe_run
from speed_peers import LANGUAGE

import lltc

HERE = Path(__file__).parent
RESULTS = HERE / "results"
NBETA, LOCALIZATION, BATCH = 500.0, 100.0, 32
RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
LONGER, TARGET = 4, 0.02
MODULES = {
    "MLP": ("devinterp 1.3.2", "devinterp"),
    "ResNet": ("devinterp 1.3.2", "devinterp"),
    "GPT-NeoX": ("devinterp 2.0.1", "devinterp2_module"),
    "char-level GPT": ("devinterp 2.0.1", "devinterp2_module"),
}
PACKAGES = (*LANGUAGE, "numpy", "lazy-loader", "expecttest")


class Run(NamedTuple):
    """An estimate, its error bar, the gradients of examples it took, and its seconds; lr is 0 for lltc."""

    lr: float
    llc: float
    llc_se: float
    gradients: int
    seconds: float

    def verdict(self, reference: lltc.LLCEstimate) -> str:
        """Say whether the bar is 2 %, and the value within three bars or 2 % of the reference."""
        off = abs(self.llc - reference.llc)
        if not np.isfinite(self.llc):
            return "diverged"
        if not self.llc_se <= TARGET * abs(self.llc):
            return "not reached"
        near = off <= max(3 * np.hypot(self.llc_se, reference.llc_se), TARGET * reference.llc)
        return "ok" if near else "biased"


def ask(python: Path, verb: str, folder: Path, name: str) -> list[dict[str, Any]]:
    """Return what devinterp's side prints, an entry a line."""
    command = [python, HERE / "peers" / "module_worker.py", verb, folder, name]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    answer = subprocess.check_output(list(map(str, command)), text=True, env=environment)
    return [json.loads(line) for line in answer.splitlines() if line.startswith("{")]


def estimate(folder: Path, **options: Any) -> tuple[lltc.LLCEstimate, Run]:
    """Return lltc's estimate, and it as a run; its seconds hold compilation."""
    model = lltc.models.torch_exported(folder / "module.pt2", "classification", inputs=lambda rows: rows)
    loss, data = lltc.behavioral(model.apply, "kl"), np.load(folder / "inputs.npy")
    jax.clear_caches()
    began = time.perf_counter()
    made = lltc.estimate_llc(
        loss,
        model.params,
        data,
        nbeta=NBETA,
        localization=LOCALIZATION,
        progress=False,
        **options,
    )
    seconds = time.perf_counter() - began
    # Each step evaluates w* too.
    gradients = round(made.evaluations * made.batch_size * (1 + 1 / made.num_chains))
    return made, Run(0.0, made.llc, made.llc_se, gradients, seconds)


def measure(name: str, home: Path, folder: Path, budget: float) -> list[str]:
    """Return the page's part on one module."""
    peer, environment = MODULES[name]
    (trained,) = ask(set_up("devinterp2_module", home, PACKAGES), "prepare", folder, name)
    own, run = estimate(folder)
    reference, _ = estimate(folder, num_draws=LONGER * own.draws.shape[1], key=1)
    spec = {
        "nbeta": NBETA,
        "localization": LOCALIZATION,
        "batch_size": BATCH,
        "most_seconds": budget * run.seconds,
        "rates": RATES,
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    python = set_up(environment, home, PINS.get(environment, PACKAGES))
    theirs = [Run(**told) for told in ask(python, "sample", folder, name)]
    honest = [peer_run.seconds for peer_run in theirs if peer_run.verdict(reference) == "ok"]
    if run.verdict(reference) != "ok":
        outcome = "lltc misses 2 %."
    elif honest:
        outcome = f"devinterp's best takes {min(honest) / run.seconds:.2g} times as long as lltc."
    else:
        outcome = f"devinterp does not reach an honest 2 % in {budget:g} times lltc's seconds."
    return [
        f"## {name}, {trained['num_params']:,} parameters",
        "",
        f"Trained to a loss of {trained['loss']:.2f} nats. Reference: {reference.llc:.2f} ± "
        f"{reference.llc_se:.2f} ({reference.status.name}). {outcome}",
        "",
        "| | step size | gradients | llc | off by | verdict | seconds |",
        "|---|---|---|---|---|---|---|",
        line(f"lltc, {own.status.name}", f"{own.step_size:.2g}, measured", run, reference),
        *(line(peer, f"{peer_run.lr:g}", peer_run, reference) for peer_run in theirs),
        "",
    ]


def line(label: str, step_size: str, run: Run, reference: lltc.LLCEstimate) -> str:
    """Return a row of the table."""
    return (
        f"| {label} | {step_size} | {run.gradients:.2g} | {run.llc:.2f} ± {run.llc_se:.2f} | "
        f"{100 * (run.llc / reference.llc - 1):+.1f} % | {run.verdict(reference)} | {run.seconds:.0f} |"
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=MODULES, help="one of the modules")
    parser.add_argument("--budget", type=float, default=4.0, help="most seconds of a run, in those of lltc")
    parser.add_argument("--home", type=Path, default=HERE / ".peers", help="where the environments go")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    lines = [
        "# One PyTorch module, two packages",
        "",
        f'`make bench-one-module ARGS="--budget {given.budget:g}"`',
        f"({describe_run()}).",
        "Modules are trained in PyTorch on 4,096 rows and kept in evaluation mode: images of ten patterns",
        "with noise, or the sources of Python's own library, 16 characters a row. The loss is KL from their",
        f"own predictions; nβ = {NBETA:g}, γ = {LOCALIZATION:g}.",
        "lltc reads the module's export, nothing else chosen; its seconds hold compilation. devinterp runs 4",
        f"chains with batches of {BATCH}, as many draws as steps of burn-in: 250, doubled until its bar (the",
        "chains' spread / 2) is 2 % or the next run would take more than "
        f"{given.budget:g} times lltc's seconds; what the",
        "shorter runs and the other learning rates took does not count.",
        f"The reference is lltc at {LONGER} times the draws and another key. *ok*: the bar is at most 2 %,",
        "and the value within three bars, or 2 %, of the reference. *biased*: the bar is met, the value is",
        "elsewhere. *not reached*: the bar is wider at the end.",
        "",
    ]
    for name in [given.only] if given.only else MODULES:
        with tempfile.TemporaryDirectory() as folder:
            part = measure(name, given.home, Path(folder), given.budget)
        print("\n".join(part), flush=True)
        lines += part
        # What takes long is kept as it comes.
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "one_module.md").write_text("\n".join(lines[:-1]) + "\n")


if __name__ == "__main__":
    main()
