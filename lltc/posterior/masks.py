"""Masks of what moves, one a leaf: made by functions, checked, joined."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lltc.errors import InputError, first_line


def mask_from(restrict: Callable[[str, Any], Any], name: str, leaf: Any, argument: str) -> Any:
    """Return the mask that a function makes of a leaf; what is no array counts by its truth."""
    try:
        mask = restrict(name, leaf)
        mask = mask if isinstance(mask, str | list) or hasattr(mask, "dtype") else bool(mask)
    except Exception as error:  # The function is the user's: it may fail in any way.
        raise InputError(
            f"{argument} is a function that failed on {name or 'params'} ({type(error).__name__}: "
            f"{first_line(error)}); it must take (path, leaf) and return a mask."
        ) from error
    return checked_mask(mask, name, leaf, argument)


def checked_mask(mask: Any, name: str, leaf: Any, argument: str) -> np.ndarray:
    """Return a mask as an array of truth values that fits its leaf, or refuse it."""
    mask = np.asarray(mask)
    if mask.ndim and mask.shape != np.shape(leaf):
        raise InputError(
            f"{argument} has a mask of shape {mask.shape} for {name or 'params'} of shape {np.shape(leaf)}, "
            "but each mask must be one boolean or have its parameter's shape; reshape it."
        )
    if mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
        raise InputError(
            f"{argument} has a mask for {name or 'params'} of type {mask.dtype} that is not all True or "
            "False; compare, as with leaf > 0, to make it so."
        )
    return mask


def any_mask(masks: Sequence[Any]) -> Any:
    """Return where any mask is true; masks are booleans or arrays of one shape."""
    return np.logical_or.reduce(np.broadcast_arrays(*masks))


def simplified(mask: Any) -> np.ndarray | bool:
    """Return True or False for a mask that is one of them throughout."""
    mask = np.asarray(mask, dtype=bool)
    if mask.all() or not mask.any():
        return bool(mask.all())
    return mask
