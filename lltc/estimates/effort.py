"""How much to draw and how, read from the options that say so."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lltc.chains.memory import read_memory
from lltc.chains.plan import fit
from lltc.errors import InputError
from lltc.kernels import Kernel
from lltc.posterior.checks import check_anchor_examples, check_step_size
from lltc.posterior.target import LocalPosterior

TARGET_REL_SE = 0.02
DURATION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|sec|m|min|h|)\s*", re.IGNORECASE)
UNITS = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}


class Effort(NamedTuple):
    """How much to draw and how: the options that are not the posterior's."""

    num_chains: int
    num_draws: int | None
    num_warmup: int | None
    target_rel_se: float = TARGET_REL_SE
    kernel: Kernel | None = None
    step_size: float | None = None
    preconditioner: Any = None
    anchor_examples: int | None = None
    memory: int = 0
    time: float | None = None


def read_time(time: str | float | None) -> float | None:
    """Return seconds: a number of them, or a text such as "90 s", "10 min" or "2h"; None for no end.

    Example:
        >>> read_time("10m"), read_time("1.5 h"), read_time(None)
        (600.0, 5400.0, None)
    """
    if time is None:
        return None
    match = DURATION.fullmatch(time) if isinstance(time, str) else None
    seconds = float(match[1]) * UNITS[match[2].lower()] if match else time
    if isinstance(seconds, str | bool) or not isinstance(seconds, int | float) or not 0 < seconds < np.inf:
        raise InputError(
            f"time must be a number of seconds > 0 or such as '10 min', but {time!r} was given; pass one, or "
            "None for no end."
        )
    return float(seconds)


def fitted(posterior: LocalPosterior, options: Mapping[str, Any]) -> LocalPosterior:
    """Return the posterior in the plan that its estimate will take, for all that is evaluated beside it."""
    effort = read_effort(options)
    return fit(posterior, effort.num_chains, effort.memory)


def read_effort(options: Mapping[str, Any]) -> Effort:
    """Return how much to draw and how; refuse what no run can be made of."""
    effort = Effort(**{name: options[name] for name in Effort._fields})
    effort = effort._replace(memory=read_memory(options["memory"]), time=read_time(options["time"]))
    check_anchor_examples(effort.anchor_examples)
    return effort._replace(step_size=check_step_size(effort.step_size))
