"""Low-rank adapters as PEFT saves them, merged into the weights they were trained on."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from lltc.checkpoints.folder import open_checkpoint
from lltc.checkpoints.formats.lora import PAIRS, flat_names, half_of
from lltc.checkpoints.intake.arrays import is_quantized
from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.documents import read_json
from lltc.checkpoints.intake.files import reading
from lltc.checkpoints.intake.messages import printable
from lltc.checkpoints.intake.tree import nest
from lltc.errors import CheckpointError

SETTINGS = "adapter_config.json"
# What changes the weights otherwise than by scale · B A.
_UNLIKE = (
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "velora_config",
    "alora_invocation_tokens",
    "monteclora_config",
)
# Starts of A and B that leave the base as it was; others, such as PiSSA's, take s·B·A out of it.
_KEEPING_THE_BASE = (None, True, False, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True)
class MergedInto:
    """A loader of PEFT adapters: `loader(path)` returns the base's weights W, each with its s·B·A added.

    s is lora_alpha/r, or lora_alpha/√r with use_rslora, as `adapter_config.json` has them. Modules that were
    saved whole, and biases, take the place of the base's. Without this loader A and B alone are the params.

    Attributes:
        base: the checkpoint the adapters were trained on, in any format; its fingerprint is part of what
            defines a sweep.
        content: that fingerprint.

    Raises:
        CheckpointError: an adapter is damaged, fits no weight of the base, or is more than scale · B A, as
            DoRA is.

    Example:
        >>> import tempfile, numpy as np
        >>> from lltc.checkpoints import MergedInto, find_checkpoints, save_safetensors
        >>> home = tempfile.mkdtemp()
        >>> base = save_safetensors(f"{home}/base.safetensors", {"q.weight": np.eye(2)})
        >>> pair = {"lora_A.weight": np.ones((1, 2)), "lora_B.weight": np.ones((2, 1))}
        >>> pair = {f"base_model.model.q.{name}": array for name, array in pair.items()}
        >>> saved = save_safetensors(f"{home}/run/checkpoint-5/adapter_model.safetensors", pair)
        >>> _ = saved.with_name("adapter_config.json").write_text('{"peft_type": "LORA", "lora_alpha": 2}')
        >>> find_checkpoints(f"{home}/run", loader=MergedInto(base))[0].load()
        {'q': {'weight': array([[3., 2.], [2., 3.]])}}
    """

    base: str | PathLike[str]
    content: str = field(init=False)

    def __post_init__(self):
        checkpoint = open_checkpoint(self.base)
        object.__setattr__(self, "base", fspath(self.base))
        object.__setattr__(self, "content", checkpoint.fingerprint())

    def __call__(self, path: Path) -> dict[str, Any]:
        """Return the merged weights of the adapter in the folder `path`."""
        base, adapter = (flat_names(open_checkpoint(each).load()) for each in (self.base, path))
        with reading(path):
            settings = read_json(path / SETTINGS, Budget(path, 0))
            try:
                return nest(_merge(base, adapter, settings))
            except _MisfitError as error:
                raise CheckpointError(f"Cannot merge '{path}' into '{self.base}': {error}.") from error


class _MisfitError(ValueError):
    """Why an adapter cannot be merged."""


def _merge(
    base: Mapping[str, np.ndarray], adapter: Mapping[str, np.ndarray], settings: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    _check_kind(settings)
    merged = dict(base)
    whole = dict(adapter)
    for name in adapter:
        module, half = half_of(name)
        if half not in PAIRS:
            continue
        if (other := f"{module}.{PAIRS[half]}") not in adapter:
            raise _MisfitError(f"it holds '{printable(name)}' without its other half")
        down, up = whole.pop(name), whole.pop(other)
        change = _scale(module, len(down), settings) * _product(up, down)
        place = _place(f"{module}.weight", base)
        _check_base(place, base[place])
        turned = half == "lora_embedding_A" or bool(settings.get("fan_in_fan_out"))
        merged[place] = merged[place] + _fitted(change, merged[place].shape, place, turned=turned)
    for name, array in whole.items():
        place = _place(name, base)
        if base[place].shape != array.shape:
            raise _MisfitError(
                f"its '{printable(name)}' is of shape {array.shape}, the base's {base[place].shape}"
            )
        merged[place] = array
    return merged


def _check_kind(settings: Mapping[str, Any]) -> None:
    if settings.get("peft_type") != "LORA":
        kind = printable(str(settings.get("peft_type")), 40)
        raise _MisfitError(f"it is of the kind {kind}, not LORA; merge it with PEFT and save the whole model")
    if unlike := [name for name in _UNLIKE if settings.get(name)]:
        raise _MisfitError(
            f"it uses {', '.join(unlike)}, which adds more than s·B·A; merge it with PEFT and save the whole "
            "model"
        )
    start = settings.get("init_lora_weights")
    if start not in _KEEPING_THE_BASE:
        raise _MisfitError(
            f"its init_lora_weights is '{printable(str(start), 40)}', which changed the base before training;"
            " save it with path_initial_model_for_weight_conversion, or merge it with PEFT and save the "
            "whole model"
        )


def _check_base(name: str, array: np.ndarray) -> None:
    if is_quantized(array.dtype):
        raise _MisfitError(
            f"the base's '{printable(name)}' is of type {array.dtype}, quantized; pass the base as it was "
            "before"
        )


def _scale(module: str, rank: int, settings: Mapping[str, Any]) -> float:
    patterns = settings.get("alpha_pattern") or {}
    # PEFT takes these for regular expressions, which a file could make endless.
    if strange := [key for key in patterns if not re.fullmatch(r"[\w.]+", key)]:
        raise _MisfitError(
            f"its alpha_pattern holds the expression '{printable(strange[0])}' where names are read"
        )
    matching = (alpha for key, alpha in patterns.items() if f".{module}".endswith(f".{key}"))
    alpha = next(matching, settings["lora_alpha"])
    return alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)


def _product(up: np.ndarray, down: np.ndarray) -> np.ndarray:
    if up.ndim != 2 or down.ndim != 2 or up.shape[1] != down.shape[0]:
        raise _MisfitError(f"it holds halves of the shapes {up.shape} and {down.shape}, which are no B and A")
    return np.asarray(up, np.float32) @ np.asarray(down, np.float32)


def _place(name: str, base: Mapping[str, np.ndarray]) -> str:
    """Return the base's name for `name`: one of the two may carry outer levels that the other lacks."""
    places = [own for own in base if f".{own}".endswith(f".{name}") or f".{name}".endswith(f".{own}")]
    if name in places:
        return name
    if len(places) != 1:
        how = "several of the base's arrays could be" if places else "the base does not have"
        raise _MisfitError(f"it changes '{printable(name)}', which {how}; pass the base it was trained on")
    return places[0]


def _fitted(change: np.ndarray, shape: tuple[int, ...], name: str, *, turned: bool) -> np.ndarray:
    """Return the change as the base holds its weight: (out, in), or (in, out) where only that fits."""
    for candidate in (change.T, change) if turned else (change, change.T):
        if candidate.shape == shape:
            return candidate
    raise _MisfitError(
        f"it changes '{printable(name)}' of shape {shape} by a matrix of shape {change.shape}; pass the "
        "base it was trained on"
    )
