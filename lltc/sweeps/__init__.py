"""A folder of checkpoints → one file a checkpoint → the curve and its markers."""

from lltc.sweep.plan import checkpoint_key
from lltc.sweep.result import Sweep
from lltc.sweep.run import sweep

__all__ = ["Sweep", "checkpoint_key", "sweep"]
