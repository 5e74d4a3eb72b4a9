"""Does a fifth of the estimates find the markers of them all? A 5-3-5 linear network, 400 checkpoints.

Run with `make bench-refinement`; writes benchmarks/results/refinement.md.
"""

import argparse
import tempfile
import time
from pathlib import Path

from provenance import describe_run

from lltc import Sweep, behavioral, sweep, sweep_adaptively
from lltc.demo import outputs
from lltc.toys import network_loss, train_bottleneck

RESULTS = Path(__file__).parent / "results"


def describe(name: str, swept: Sweep, seconds: float) -> list[str]:
    """Return a line a marker."""
    count = swept.curve.sizes["step"]
    return [
        f"| {name} | {count} | {seconds:.0f} | {t.kind} | {t.step_low:g}–{t.step_high:g} | "
        f"{t.halfway[0]:g}–{t.halfway[1]:g} | {t.delta_llc:+.2f} ± {t.delta_llc_se:.2f} |"
        for t in swept.transitions
    ]


def main() -> None:
    """Train, sweep twice, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=int, default=400)
    parser.add_argument("--budget", type=int, default=80)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = train_bottleneck(Path(folder) / "checkpoints", num_checkpoints=arguments.checkpoints)
        pairs = list(zip(run.steps, run.params, strict=True))
        model = behavioral(outputs, "squared", loss=network_loss)
        settings = {"nbeta": run.nbeta, "localization": run.localization, "progress": False}
        began = time.perf_counter()
        few = sweep_adaptively(
            pairs, model, run.data, out=Path(folder) / "few", budget=arguments.budget, **settings
        )
        halfway = time.perf_counter()
        every = sweep(pairs, model, run.data, out=Path(folder) / "all", **settings)
        ended = time.perf_counter()
    lines = [
        "# A sweep within a budget",
        "",
        f"`make bench-refinement` ({describe_run()}): the 5-3-5 linear network of the demo, "
        f"{len(pairs)} checkpoints.",
        "",
        "| sweep | estimates | seconds | marker | between steps | halfway | Δλ |",
        "|---|---|---|---|---|---|---|",
        *describe(f"budget {arguments.budget}", few, halfway - began),
        *describe("all checkpoints", every, ended - halfway),
    ]
    (RESULTS / "refinement.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
