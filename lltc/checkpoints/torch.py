"""PyTorch files (.pt, .pth, .bin, .ckpt), read as weights only: tensors and plain containers, never code."""

from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np

from lltc.checkpoints.files import reading
from lltc.checkpoints.tree import keep_arrays, nest, select_params
from lltc.errors import CheckpointError, InputError


def read_torch(path: Path, params_key: str | None = None) -> Any:
    """Return the parameters of one PyTorch state dict or training checkpoint as nested dicts of NumPy arrays.

    Names nest at "."; leaves that are no numbers are left out. A whole pickled module is refused: reading
    it would run the code it carries.
    """
    try:
        torch = import_module("torch")
    except ImportError as error:
        raise InputError(
            "Reading PyTorch checkpoints needs torch; install it with: pip install torch"
        ) from error
    with reading(path):
        state = _load_weights(torch, path)
        tree = _nest_all(keep_arrays(state, _as_array))
    return select_params(tree, params_key, path)


def _load_weights(torch: Any, path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        # Torch's own message advises to run the code in the file.
        raise CheckpointError(
            f"Cannot read checkpoint '{path}': it is damaged, or holds Python objects beside tensors, which "
            "lltc never unpickles; save model.state_dict() or safetensors instead."
        ) from error


def _nest_all(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_nest_all(child) for child in tree]
    return nest({key: _nest_all(child) for key, child in tree.items()}) if isinstance(tree, dict) else tree


def _as_array(leaf: Any) -> np.ndarray | None:
    if isinstance(leaf, (bool, int, float, complex)):
        return np.asarray(leaf)
    if not hasattr(leaf, "detach"):
        return None
    import ml_dtypes

    torch = import_module("torch")
    tensor = leaf.detach().contiguous()
    name = str(tensor.dtype).removeprefix("torch.")
    if name.startswith(("bfloat", "float8")):
        raw = {1: torch.uint8, 2: torch.uint16}[tensor.itemsize]
        return tensor.view(raw).numpy().view(getattr(ml_dtypes, name))
    return tensor.numpy()
