"""Samplers: one file each, each a factory that returns a `Kernel(init, step)`."""

from lltc.kernels.baoab import baoab
from lltc.kernels.euler import euler
from lltc.kernels.exchanging import EVERY, exchanging
from lltc.kernels.ghmc import ghmc
from lltc.kernels.leimkuhler_matthews import leimkuhler_matthews
from lltc.kernels.mala import mala
from lltc.kernels.optax_scale import scale_from_optax, scale_of
from lltc.kernels.preconditioned import MeasuringState, measuring
from lltc.kernels.protocol import Info, Kernel, Tuning
from lltc.kernels.rmsprop import rmsprop
from lltc.kernels.scheduled import scheduled
from lltc.kernels.sgnht import sgnht

__all__ = [
    "EVERY",
    "Info",
    "Kernel",
    "MeasuringState",
    "Tuning",
    "baoab",
    "euler",
    "exchanging",
    "ghmc",
    "leimkuhler_matthews",
    "mala",
    "measuring",
    "rmsprop",
    "scale_from_optax",
    "scale_of",
    "scheduled",
    "sgnht",
]
