"""A folder of checkpoints → one file a checkpoint, worked on anywhere → the curve and its markers."""

from lltc.sweeps.adaptive import sweep_adaptively
from lltc.sweeps.comparing import compare
from lltc.sweeps.comparison import Comparison
from lltc.sweeps.dictionary import Dictionary
from lltc.sweeps.observing import Observations, observe
from lltc.sweeps.paths import PathSweep, Point, sweep_path
from lltc.sweeps.preview import Preview, preview_runs, preview_sweep
from lltc.sweeps.result import Sweep
from lltc.sweeps.run import sweep
from lltc.sweeps.runs import Runs, sweep_runs
from lltc.sweeps.setup import checkpoint_key

__all__ = [
    "Comparison",
    "Dictionary",
    "Observations",
    "PathSweep",
    "Point",
    "Preview",
    "Runs",
    "Sweep",
    "checkpoint_key",
    "compare",
    "observe",
    "preview_runs",
    "preview_sweep",
    "sweep",
    "sweep_adaptively",
    "sweep_path",
    "sweep_runs",
]
