"""A folder of checkpoints → one file a checkpoint → the curve and its markers."""

from lltc.sweeps.plan import checkpoint_key
from lltc.sweeps.result import Sweep
from lltc.sweeps.run import sweep

__all__ = ["Sweep", "checkpoint_key", "sweep"]
