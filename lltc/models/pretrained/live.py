"""A network as transformers makes it, with its weights in float32 and an adapter put on by PEFT."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lltc.errors import InputError, LLCWarning, first_line
from lltc.export.program import quiet
from lltc.export.refusals import ExportError
from lltc.models.pretrained.source import Source

WORDS = {
    "causal_lm": "AutoModelForCausalLM",
    "masked_lm": "AutoModelForMaskedLM",
    "classification": "AutoModelForSequenceClassification",
}


def load_module(source: Source, word: str) -> Any:
    """Return the `torch.nn.Module` of a network, in evaluation mode.

    Args:
        source: its files.
        word: the loss by its name, which names the class where the configuration does not.

    Raises:
        ExportError: torch or transformers is not installed.
        InputError: transformers lacks the class, or it does not load.

    Warns:
        LLCWarning: the files hold arrays that the class has no use for.
    """
    try:
        import torch
        import transformers
    except ModuleNotFoundError:
        raise ExportError(
            f"'{source.name}' is not in lltc's cache of graphs for this kind of batch, and making it needs "
            "torch and transformers: run  pip install 'lltc[torch]' transformers."
        ) from None
    with silence():
        try:
            kind = _class(transformers, source, word)
            module, report = kind.from_pretrained(
                source.folder,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                local_files_only=True,
                trust_remote_code=False,
            )
        except InputError:
            raise
        # What a repository holds may make transformers fail in any way, and so may what it imports.
        except Exception as error:
            raise InputError(f"transformers does not load '{source.name}': {first_line(error)}.") from error
        _check_whole(source, report)
        module = _adapted(module, source) if source.adapter is not None else module.eval()
    if unused := sorted(report["unexpected_keys"]):
        warnings.warn(
            f"'{source.name}' holds {len(unused)} arrays that its class {kind.__name__} has no use for, the "
            f"first being '{unused[0]}': choose the loss or the class that they were saved from.",
            LLCWarning,
            stacklevel=2,
        )
    return module


@contextmanager
def silence() -> Iterator[None]:
    """Keep what transformers says while it loads, and its progress bars, away from who asks for a model."""
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        with quiet():
            yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _class(transformers: Any, source: Source, word: str) -> Any:
    """Return the class that the configuration names, else the Auto class of the loss's word.

    A class without a head gives no logits, so a word puts its own in the place of such a class.
    """
    name, kind = source.architecture, source.config.get("model_type")
    own = getattr(transformers, name or "", None)
    headless = word in WORDS and name in _headless(transformers)
    if isinstance(own, type) and issubclass(own, transformers.PreTrainedModel) and not headless:
        return own
    if "auto_map" in source.config and kind not in transformers.CONFIG_MAPPING:
        raise InputError(
            f"'{source.name}' is made by code of its own (trust_remote_code), which is never run here: load "
            "it yourself and give the module to lltc.models.torch."
        )
    if kind not in transformers.CONFIG_MAPPING:
        raise InputError(
            f"transformers {transformers.__version__} has neither the class {name!r} nor the model_type "
            f"{kind!r} of '{source.name}': install a version that does, or give the module to "
            "lltc.models.torch."
        )
    if word not in WORDS:
        raise InputError(
            f"'{source.name}' names no class that transformers has ({name!r}), and the loss names none "
            f"either: give one of the losses {sorted(WORDS)}, or the module to lltc.models.torch."
        )
    images = transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    of_images = word == "classification" and kind in images
    return getattr(transformers, "AutoModelForImageClassification" if of_images else WORDS[word])


def _headless(transformers: Any) -> set[str]:
    classes = transformers.models.auto.modeling_auto.MODEL_MAPPING_NAMES.values()
    return {name for names in classes for name in ([names] if isinstance(names, str) else names)}


def _check_whole(source: Source, report: dict[str, Any]) -> None:
    for reason, names in (
        ("lack", report["missing_keys"]),
        ("have in another shape", report["mismatched_keys"]),
    ):
        if names:
            first = sorted(name if isinstance(name, str) else name[0] for name in names)
            raise InputError(
                f"the weights of '{source.name}' {reason} {len(first)} arrays of its network, the first "
                f"being '{first[0]}': choose the loss or the class that they were saved from."
            )


def _adapted(module: Any, source: Source) -> Any:
    """Return the network with A and B put into it; all else in it is frozen."""
    try:
        import peft
    except ModuleNotFoundError:
        raise InputError(
            f"the adapter '{source.name}' needs the library peft, which is not installed: run  "
            "pip install peft."
        ) from None
    try:
        config = peft.PeftConfig.from_pretrained(source.adapter)
        if config.is_prompt_learning:
            raise InputError(
                f"the adapter '{source.name}' is of the kind {config.peft_type.value}, which adds to the "
                "inputs: adapters that change layers, such as LoRA, are taken."
            )
        # PEFT fills what a file lacks at random, and says so by a warning alone.
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            whole = peft.PeftModel.from_pretrained(module, source.adapter, is_trainable=True, config=config)
        if lacking := [entry.message for entry in told if "missing adapter keys" in str(entry.message)]:
            raise InputError(
                f"the adapter '{source.name}' is not whole: {first_line(lacking[0])}; fetch or save it anew."
            )
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"peft does not put '{source.name}' on its base: {first_line(error)}.") from error
    return whole.get_base_model().eval()
