"""Samplers: one file each, each a factory that returns a `Kernel(init, step)`."""

from lltc.kernels.euler import euler
from lltc.kernels.leimkuhler_matthews import leimkuhler_matthews
from lltc.kernels.protocol import Info, Kernel

__all__ = ["Info", "Kernel", "euler", "leimkuhler_matthews"]
