"""What cannot become a graph of numbers in, numbers out, and the sentence that says so."""

import re

from lltc.errors import InputError, first_line
from lltc.export.operators import NAMES

_RANDOM = re.compile(
    "bernoulli|cauchy|exponential|geometric|log_normal|multinomial|normal(_functional)?|poisson|random"
    "|rand(int|n)?(_like)?|randperm|uniform"
)
_DATA = re.compile("_local_scalar_dense|item|masked_select|nonzero(_static)?|unique(_consecutive)?|_unique2?")


class ExportError(InputError):
    """What PyTorch itself cannot export; with the batch's size given, it sometimes can."""


def check_operator(target: str, line: str) -> None:
    """Raise where an ATen operator, such as "aten.rand.default", is none that lltc evaluates.

    Raises:
        InputError: it draws at random, makes sizes of data, or is not in the table.
    """
    name, _, overload = target.removeprefix("aten.").partition(".")
    if not target.startswith("aten.") or f"{name}.{overload}" in NAMES or name in NAMES:
        return
    base = name.rstrip("_")
    if _RANDOM.fullmatch(base):
        raise InputError(
            f"the module draws random numbers at {line}: a loss must be the same each time it is asked, so "
            "draw only where self.training is true."
        )
    if _DATA.fullmatch(base):
        raise InputError(
            f"the module makes sizes or Python numbers of its data at {line}: keep all sizes fixed, as by "
            "torch.where instead of a boolean mask."
        )
    raise InputError(
        f"the module uses {target} at {line}, which lltc does not evaluate; docs/torch.md lists what it does "
        "and how to add an operator."
    )


def explain(error: Exception, line: str) -> ExportError:
    """Return what PyTorch says of a module it cannot export as one sentence."""
    text = f"{type(error).__name__}: {error}"
    if re.search("data.dependent|DataDependent|unbacked|Could not guard", text):
        return ExportError(
            f"the module decides by its data at {line}: PyTorch's export cannot follow both ways, so use "
            "torch.where there."
        )
    return ExportError(
        f"torch.export does not take the module, stopped at {line} by {type(error).__name__}: "
        f"{first_line(error)}."
    )
