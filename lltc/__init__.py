"""Local learning coefficients over training: untuned estimates, curves with marked transitions."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lltc.version import VERSION

if TYPE_CHECKING:
    from lltc.checkpoints import Saver as Saver
    from lltc.checkpoints import find_checkpoints as find_checkpoints
    from lltc.checkpoints import log_spaced_steps as log_spaced_steps
    from lltc.components import Component as Component
    from lltc.components import Components as Components
    from lltc.components import list_components as list_components
    from lltc.diagnostics import Status as Status
    from lltc.errors import CheckpointError as CheckpointError
    from lltc.errors import InputError as InputError
    from lltc.estimate import LLCEstimate as LLCEstimate
    from lltc.ladder import LLCLadder as LLCLadder
    from lltc.ladder import estimate_llc_ladder as estimate_llc_ladder
    from lltc.llc import estimate_llc as estimate_llc
    from lltc.loss_kernel import LossKernel as LossKernel
    from lltc.models import behavioral as behavioral
    from lltc.phases import Crossing as Crossing
    from lltc.phases import Phase as Phase
    from lltc.phases import free_energy_crossing as free_energy_crossing
    from lltc.probes import CompressionCurve as CompressionCurve
    from lltc.probes import Probe as Probe
    from lltc.probes import compression_curve as compression_curve
    from lltc.probes import probe as probe
    from lltc.reference import reference_llc as reference_llc
    from lltc.susceptibility import Susceptibilities as Susceptibilities
    from lltc.susceptibility import susceptibilities as susceptibilities
    from lltc.sweeps import Comparison as Comparison
    from lltc.sweeps import Dictionary as Dictionary
    from lltc.sweeps import Observations as Observations
    from lltc.sweeps import PathSweep as PathSweep
    from lltc.sweeps import Point as Point
    from lltc.sweeps import Runs as Runs
    from lltc.sweeps import Sweep as Sweep
    from lltc.sweeps import compare as compare
    from lltc.sweeps import observe as observe
    from lltc.sweeps import sweep as sweep
    from lltc.sweeps import sweep_adaptively as sweep_adaptively
    from lltc.sweeps import sweep_path as sweep_path
    from lltc.sweeps import sweep_runs as sweep_runs
    from lltc.team import LLCTeam as LLCTeam
    from lltc.team import estimate_llc_team as estimate_llc_team
    from lltc.transitions import Transition as Transition
    from lltc.transitions import find_transitions as find_transitions

_HOMES = {
    "CheckpointError": "lltc.errors",
    "Comparison": "lltc.sweeps",
    "Component": "lltc.components",
    "Components": "lltc.components",
    "CompressionCurve": "lltc.probes",
    "Crossing": "lltc.phases",
    "Dictionary": "lltc.sweeps",
    "InputError": "lltc.errors",
    "LLCEstimate": "lltc.estimate",
    "LLCLadder": "lltc.ladder",
    "LLCTeam": "lltc.team",
    "LossKernel": "lltc.loss_kernel",
    "Observations": "lltc.sweeps",
    "PathSweep": "lltc.sweeps",
    "Phase": "lltc.phases",
    "Point": "lltc.sweeps",
    "Probe": "lltc.probes",
    "Runs": "lltc.sweeps",
    "Saver": "lltc.checkpoints",
    "Status": "lltc.diagnostics",
    "Susceptibilities": "lltc.susceptibility",
    "Sweep": "lltc.sweeps",
    "Transition": "lltc.transitions",
    "behavioral": "lltc.models",
    "compare": "lltc.sweeps",
    "compression_curve": "lltc.probes",
    "estimate_llc": "lltc.llc",
    "estimate_llc_ladder": "lltc.ladder",
    "estimate_llc_team": "lltc.team",
    "find_checkpoints": "lltc.checkpoints",
    "find_transitions": "lltc.transitions",
    "free_energy_crossing": "lltc.phases",
    "list_components": "lltc.components",
    "log_spaced_steps": "lltc.checkpoints",
    "observe": "lltc.sweeps",
    "probe": "lltc.probes",
    "reference_llc": "lltc.reference",
    "susceptibilities": "lltc.susceptibility",
    "sweep": "lltc.sweeps",
    "sweep_adaptively": "lltc.sweeps",
    "sweep_path": "lltc.sweeps",
    "sweep_runs": "lltc.sweeps",
}
_ROOMS = ("checkpoints", "kernels", "models", "probes", "toys")

__version__ = VERSION
__all__ = [*_HOMES, *_ROOMS, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import lltc` and `lltc --help` do not wait for JAX."""
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return import_module(f"lltc.{name}")
    raise AttributeError(f"module 'lltc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
