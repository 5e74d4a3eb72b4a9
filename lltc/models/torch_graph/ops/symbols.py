"""Arithmetic on sizes, which are plain numbers here, and taking one of several results."""

import math
import operator
from collections.abc import Callable
from typing import Any

from lltc.errors import InputError

_OPERATORS = "add sub mul truediv floordiv mod neg eq ne lt le gt ge and_ or_ not_"
# No size needs more; a file could make numbers too long for any memory.
_MOST_BITS = 64


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    def compute(*numbers: Any) -> Any:
        for number in numbers:
            if not isinstance(number, int | float) or (
                isinstance(number, int) and number.bit_length() > _MOST_BITS
            ):
                raise InputError("arithmetic on sizes takes numbers of up to 64 bits.")
        return function(*numbers)

    return compute


def power(x: float, y: float) -> float:
    """Return x to the power y, as a product of few factors."""
    if abs(y) > _MOST_BITS:
        raise InputError(f"a size to the power {y} is no size.")
    return x**y


SYMBOLS = {
    **{f"operator.{name}": _checked(getattr(operator, name)) for name in _OPERATORS.split()},
    "operator.pow": _checked(power),
    "operator.getitem": operator.getitem,
    "math.ceil": _checked(math.ceil),
    "math.floor": _checked(math.floor),
    "math.trunc": _checked(math.trunc),
    "math.sqrt": _checked(math.sqrt),
    "torch.sym_float": _checked(float),
    "torch.sym_int": _checked(int),
    "torch.sym_max": _checked(max),
    "torch.sym_min": _checked(min),
    "torch.sym_not": _checked(operator.not_),
    "torch.sym_ite": lambda condition, x, y: x if condition else y,
    "torch.sym_sqrt": _checked(math.sqrt),
}
