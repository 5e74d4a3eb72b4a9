"""What changed between two checkpoints, and what of a checkpoint can be left out."""

from lltc.probes.compression import CompressionCurve, compression_curve
from lltc.probes.probing import probe
from lltc.probes.record import ComponentChange, ExampleChange, Probe
from lltc.probes.stiffness import Stiffness, StiffnessChange

__all__ = [
    "ComponentChange",
    "CompressionCurve",
    "ExampleChange",
    "Probe",
    "Stiffness",
    "StiffnessChange",
    "compression_curve",
    "probe",
]
