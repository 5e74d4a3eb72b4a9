"""Arrays as JAX takes them, or one sentence: nothing wraps, overflows or changes its type unsaid."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from lltc.errors import InputError, shown

KINDS = "biufc"


def as_array(name: str, leaf: Any) -> np.ndarray | jax.Array:
    """Return `leaf` as an array whose values JAX holds as they are, in the widths it is set to.

    Python and NumPy numbers in any byte order are taken; without `jax_enable_x64` wider ones become 32 bits
    where their values fit. Raises `InputError` for objects, texts, times and masked arrays, deleted arrays,
    integers beyond 32 bits and floats beyond float32.

    Example:
        >>> as_array("data", np.array([1, 2], ">i8")).dtype
        dtype('int32')
    """
    if isinstance(leaf, Tracer):
        raise InputError(
            f"{name} is a value being traced, but lltc runs compiled programs of its own and cannot be "
            "called under jit, grad, vmap or scan; call it outside."
        )
    if isinstance(leaf, jax.Array):
        if leaf.is_deleted():
            raise InputError(f"{name} is a JAX array that was deleted or donated; pass one that is alive.")
        if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            raise InputError(
                f"{name} holds {leaf.dtype}, such as random keys, but arrays of numbers are allowed; leave "
                "it out, or pass jax.random.key_data of it."
            )
        return leaf
    if isinstance(leaf, np.ma.MaskedArray):
        raise InputError(
            f"{name} is a masked array, whose mask JAX would drop; fill it, or leave the masked rows out."
        )
    try:
        array = np.asarray(leaf)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{name} is a {type(leaf).__name__} that NumPy cannot read ({error}); pass an array of numbers."
        ) from error
    if array.dtype.kind not in KINDS and not _is_extension(array.dtype):
        raise InputError(
            f"{name} holds {_describe(leaf, array)}, but arrays of numbers or booleans are allowed; convert "
            "it with np.asarray(…, dtype=…), or leave it out."
        )
    return _narrowed(name, array)


def as_indices(name: str, given: Any, size: int, of: str, *, empty: bool = False) -> np.ndarray:
    """Return indices into `size` things as integers, or refuse them; none at all are allowed where `empty`.

    Example:
        >>> as_indices("rows", [2, 0], 3, "data")
        array([2, 0])
    """
    try:
        indices = np.asarray(given)
    except ValueError:  # Lists of several lengths.
        indices = np.asarray(None)
    if empty and indices.shape == (0,):
        return indices.astype(int)
    whole = indices.ndim == 1 and len(indices) > 0 and indices.dtype.kind in "iu"
    if not whole or indices.min() < 0 or indices.max() >= size:
        raise InputError(
            f"{name} must be integers from 0 to {size - 1}, indices into {of}, but {shown(given)} was given; "
            "pass a list of such."
        )
    return indices.astype(int)


def _is_extension(dtype: np.dtype) -> bool:
    """True for numbers of another library, as ml_dtypes' bfloat16."""
    return dtype.isbuiltin == 2 and dtype.kind == "V"


def _describe(leaf: Any, array: np.ndarray) -> str:
    if array.dtype == object and not isinstance(leaf, np.ndarray):
        return f"a {type(leaf).__name__}"
    return f"values of type {array.dtype}"


def _narrowed(name: str, array: np.ndarray) -> np.ndarray:
    """Return `array` in the type JAX gives it, once its values are known to fit."""
    wide = array.astype(np.float64) if array.dtype.kind == "f" and array.dtype.itemsize > 8 else array
    native = wide.astype(wide.dtype.newbyteorder("="), copy=False)
    dtype = jax.dtypes.canonicalize_dtype(native.dtype)
    if dtype == native.dtype or not native.size:
        return native.astype(dtype, copy=False)
    if dtype.kind in "iu":
        low, high = jnp.iinfo(dtype).min, jnp.iinfo(dtype).max
        least, most = int(native.min()), int(native.max())
        if least < low or most > high:
            raise InputError(
                f"{name} holds integers from {least} to {most}, but JAX keeps {dtype} here, to {high}; "
                "number them anew from 0, or set jax_enable_x64."
            )
    with np.errstate(over="ignore"):
        narrow = native.astype(dtype)
    if dtype.kind in "fc" and not np.array_equal(np.isfinite(narrow), np.isfinite(native)):
        raise InputError(
            f"{name} holds numbers up to {np.nanmax(np.abs(native)):.3g}, beyond {dtype}; rescale them, or "
            "set jax_enable_x64."
        )
    return narrow
