"""Where transformers and PEFT put each array of a network's files: found by loading files of marks."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lltc.checkpoints.formats.safetensors import Place
from lltc.models.pretrained.live import silence

# Marks are whole numbers that no fresh parameter has; 32 bits hold them exactly.
_FIRST = 1 << 20
_OF_PEFT = ("base_layer", "original_module")


class Traced(NamedTuple):
    """Where a module's arrays come from.

    Attributes:
        spellings: the name in the files of each array, by all names it goes by in the module.
        twins: the pairs of names in the files that transformers ties where their values are equal.
    """

    spellings: dict[str, str]
    twins: tuple[tuple[str, str], ...]


def trace_names(module: Any, own: Mapping[str, Place], adapter: Mapping[str, Place]) -> Traced:
    """Return the name in the files of each array of a module.

    transformers calls arrays otherwise than some files do, and not by rules that could be stated. So the
    module is made once more, from files in which every array is filled with a number of its own; where the
    numbers come out, there the arrays belong. What it puts together from several arrays is left out.

    Args:
        module: the network, with its adapter where there is one.
        own: where the arrays of the network's own files lie.
        adapter: where those of an adapter lie.
    """
    base = _trace(module, own)
    if not adapter:
        return base
    of_adapter = {name.removeprefix("base_model.model."): name for name in adapter}
    spelled = {name: _spelled(name, base.spellings, of_adapter) for name in _all_names(module)}
    spellings = {name: spelling for name, spelling in spelled.items() if spelling is not None}
    return Traced(spellings, base.twins)


def _trace(module: Any, places: Mapping[str, Place]) -> Traced:
    import torch

    names = [*places]
    marks = {
        name: torch.tensor(float(_FIRST + at)).expand(places[name].shape) for at, name in enumerate(names)
    }
    try:
        with silence():
            marked = type(module).from_pretrained(
                None, config=module.config, state_dict=marks, dtype=torch.float32
            )
            # transformers before 5 ties arrays whatever their values.
            expand = getattr(marked, "get_expanded_tied_weights_keys", None)
            may_tie = {} if expand is None else expand(all_submodels=True)
    # What does not load this way cannot be remembered; the network works all the same.
    except Exception:
        return Traced({}, ())
    spellings = {}
    for name, tensor in _all_names(marked).items():
        values = tensor.detach().cpu().numpy()
        at = float(values.flat[0]) - _FIRST if values.size and values.min() == values.max() else -1
        if at in range(len(names)):
            spellings[name] = names[int(at)]
    pairs = ((spellings.get(name), spellings.get(other)) for name, other in may_tie.items())
    twins = {(one, other) for one, other in pairs if one is not None and other is not None and one != other}
    return Traced(spellings, tuple(sorted(twins)))


def _all_names(module: Any) -> dict[str, Any]:
    return {**dict(module.named_parameters(remove_duplicate=False)), **module.state_dict()}


def _spelled(name: str, base: Mapping[str, str], of_adapter: Mapping[str, str]) -> str | None:
    levels = name.split(".")
    if "modules_to_save" in levels or any(level.startswith("lora_") for level in levels):
        return of_adapter.get(_without(name, ("modules_to_save", "default")))
    return base.get(_without(name, _OF_PEFT))


def _without(name: str, levels: tuple[str, ...]) -> str:
    return ".".join(level for level in name.split(".") if level not in levels)
