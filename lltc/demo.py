"""The main job end to end on a network whose learning coefficients are known."""

import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lltc.models import behavioral
from lltc.report import sketch, table
from lltc.sweeps import Sweep, sweep
from lltc.toys import BottleneckRun, network_loss, network_outputs, train_bottleneck
from lltc.toys.bottleneck import KnownPlateau


class PlateauCheck(NamedTuple):
    """One known plateau beside the mean of the estimates on it."""

    plateau: KnownPlateau
    measured: float
    checkpoints: int

    @property
    def relative_error(self) -> float:
        """measured/exact - 1."""
        return self.measured / self.plateau.llc - 1


def run_demo(out: str | Path, *, progress: bool = True) -> Sweep:
    """Train the bottleneck network, sweep its checkpoints, print and draw the curve beside the truth.

    The 5-3-5 linear network learns its teacher's singular values 4, 1.2, 0.35 one at a time, so that its
    learning coefficient at nβ = 1000, γ = 1 climbs from 6.22 over 7.89 and 9.31 to 10.50. A second run goes
    on from the first.
    """
    began = time.perf_counter()
    folder = Path(out)
    run = _train(folder / "checkpoints")
    trained = time.perf_counter()
    print(
        f"trained  {len(run.steps)} Orbax checkpoints in {folder / 'checkpoints'} ({trained - began:.0f} s)"
    )
    swept = sweep(
        folder / "checkpoints",
        behavioral(outputs, "squared", loss=network_loss),
        run.data,
        out=folder / "sweep",
        nbeta=run.nbeta,
        localization=run.localization,
        progress=progress,
    )
    print(f"swept    {swept.curve.sizes['step']} checkpoints ({time.perf_counter() - trained:.0f} s)\n")
    print(table(swept.curve, swept.transitions))
    print()
    print(sketch(swept.curve["step"].values, swept.curve["llc"].values, swept.transitions))
    print()
    print(describe(swept, run))
    known = [(p.step_low, p.step_high, p.llc, f"exact {p.llc:.2f}") for p in run.plateaus]
    _save_picture(swept, known, folder / "curve.png")
    print(f"\npicture  {folder / 'curve.png'}")
    print(f"report   {swept.report(folder / 'report.html', known=known)}")
    print(f"time     {time.perf_counter() - began:.0f} s")
    return swept


def outputs(params: Any, batch: dict[str, jax.Array]) -> jax.Array:
    """Return the network's outputs on a batch `{"x": inputs, "y": targets}`."""
    return network_outputs(params, batch["x"])


def compare(swept: Sweep, run: BottleneckRun) -> list[PlateauCheck]:
    """Return each known plateau with the mean of the estimates at the checkpoints on it."""
    steps, llc = swept.curve["step"].values, swept.curve["llc"].values
    compared = []
    for plateau in run.plateaus:
        inside = (steps >= plateau.step_low) & (steps <= plateau.step_high)
        compared.append(PlateauCheck(plateau, float(np.mean(llc[inside])), int(inside.sum())))
    return compared


def describe(swept: Sweep, run: BottleneckRun) -> str:
    """Return the plateaus and markers, measured beside exact, as text."""
    lines = ["plateau            exact   measured    off   asymptotic λ"]
    for plateau, measured, count in compare(swept, run):
        where = f"{plateau.step_low}–{plateau.step_high}"
        off = f"{100 * (measured / plateau.llc - 1):+.1f} %"
        lines.append(
            f"{where:<16}{plateau.llc:>8.2f}{measured:>11.2f}{off:>8}{plateau.llc_limit:>11.1f}"
            f"   (mean of {count} checkpoints)"
        )
    lines.append("")
    for known, marker in zip(run.transitions, swept.transitions, strict=False):
        bracketed = "inside" if marker.step_low <= known.step <= marker.step_high else "outside"
        lines.append(
            f"{marker.kind} marked between steps {marker.step_low:.0f} and {marker.step_high:.0f}; the "
            "exact curve is "
            f"halfway at step {known.step}, {bracketed}"
        )
    if len(swept.transitions) != len(run.transitions):
        lines.append(f"{len(swept.transitions)} markers where {len(run.transitions)} transitions are known")
    return "\n".join(lines)


def _train(folder: Path) -> BottleneckRun:
    """Train anew; checkpoints already in `folder` stay, since training is deterministic."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        run = train_bottleneck(Path(temporary) / "checkpoints")
        if not folder.exists():
            (Path(temporary) / "checkpoints").rename(folder)
    return run


def _save_picture(swept: Sweep, known: list[tuple[int, int, float, str]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    swept.plot(figure.add_subplot(), known=known)
    figure.savefig(path, dpi=150)
