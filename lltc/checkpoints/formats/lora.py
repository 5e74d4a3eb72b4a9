"""The names PEFT gives the halves A and B of a low-rank adapter W + s·B·A."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from lltc.checkpoints.intake.tree import flatten

PAIRS = {"lora_A.weight": "lora_B.weight", "lora_embedding_A": "lora_embedding_B"}
_PREFIX = "base_model.model."
log = logging.getLogger("lltc.checkpoints")


def flat_names(params: Any) -> dict[str, Any]:
    """Return the arrays of `params` by their names in the network, without what PEFT puts around it."""
    return {name.replace("/", ".").removeprefix(_PREFIX): leaf for name, leaf in flatten(params).items()}


def half_of(name: str) -> tuple[str, str]:
    """Return the module and the half that an array of an adapter is, "" where it is none.

    Example:
        >>> half_of("h.0.attn.lora_A.weight")
        ('h.0.attn', 'lora_A.weight')
    """
    match = re.fullmatch(r"(.+)\.(lora_[AB]\.weight|lora_embedding_[AB])", name)
    return (match[1], match[2]) if match else (name, "")


def tell_untrained(path: Path, params: Any) -> None:
    """Log that an adapter whose every B is zero changes nothing, as at the start of training."""
    ups = [leaf for name, leaf in flat_names(params).items() if half_of(name)[1] in PAIRS.values()]
    if ups and not any(np.any(np.asarray(up, np.float32)) for up in ups):
        log.warning("adapter '%s': every B is zero, so it is the base itself and its A have no effect", path)
