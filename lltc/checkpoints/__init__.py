"""Checkpoints: folders become ordered (step, parameters), whatever library saved them."""

from lltc.checkpoints.adapters import MergedInto
from lltc.checkpoints.checkpoint import Checkpoint
from lltc.checkpoints.fit import fit_params
from lltc.checkpoints.folder import find_checkpoints, open_checkpoint
from lltc.checkpoints.formats.npz import save_npz
from lltc.checkpoints.formats.safetensors import save_safetensors
from lltc.checkpoints.intake.budget import Limits
from lltc.checkpoints.intake.steps import log_spaced_steps, parse_step
from lltc.checkpoints.saver import Saver
from lltc.checkpoints.torch_saver import TorchSaver

__all__ = [
    "Checkpoint",
    "Limits",
    "MergedInto",
    "Saver",
    "TorchSaver",
    "find_checkpoints",
    "fit_params",
    "log_spaced_steps",
    "open_checkpoint",
    "parse_step",
    "save_npz",
    "save_safetensors",
]
