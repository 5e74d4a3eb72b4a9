"""Samplers: one file each, each a factory that returns a `Kernel(init, step)`."""

from lltc.kernels.baoab import baoab
from lltc.kernels.euler import euler
from lltc.kernels.ghmc import ghmc
from lltc.kernels.leimkuhler_matthews import leimkuhler_matthews
from lltc.kernels.protocol import Info, Kernel, Tuning

__all__ = ["Info", "Kernel", "Tuning", "baoab", "euler", "ghmc", "leimkuhler_matthews"]
