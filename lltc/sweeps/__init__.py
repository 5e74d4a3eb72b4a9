"""A folder of checkpoints → one file a checkpoint, worked on anywhere → the curve and its markers."""

from lltc.sweeps.adaptive import sweep_adaptively
from lltc.sweeps.comparison import Comparison, compare
from lltc.sweeps.driver import sweep
from lltc.sweeps.jobs.request import checkpoint_key
from lltc.sweeps.observations import Observations, observe
from lltc.sweeps.paths import PathSweep, Point, sweep_path
from lltc.sweeps.preview import Preview, preview_runs, preview_sweep
from lltc.sweeps.reading.dictionary import Dictionary
from lltc.sweeps.record import Sweep
from lltc.sweeps.runs import Runs, sweep_runs

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
