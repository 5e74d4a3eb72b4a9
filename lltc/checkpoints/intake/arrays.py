"""Arrays over bytes that others wrote: numbers only, and never a byte beyond those that are there.

NumPy trusts whoever calls it. A type of Python objects makes addresses of the bytes, and shapes, strides and
offsets are multiplied in 64 bits, where they wrap. So types come from a list, and all bounds are computed in
Python's integers before NumPy sees them.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lltc.checkpoints.intake.messages import printable

_STANDARD = frozenset(
    ["bool"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    + ["float16", "float32", "float64", "complex64", "complex128"]
)
_EXTENSIONS = frozenset(
    ["bfloat16", "complex32", "bcomplex32", "float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn"]
    + [f"float8_{kind}" for kind in ("e3m4", "e4m3", "e4m3b11fnuz", "e4m3fn", "e4m3fnuz")]
    + [f"float8_{kind}" for kind in ("e5m2", "e5m2fnuz", "e8m0fnu")]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (1, 2, 4)]
)
_MAX_DIMENSIONS = 64
_MAX_LENGTH = 1 << 62


def number_type(name: Any) -> np.dtype:
    """Return the NumPy type of numbers called `name`, bfloat16 and float8 included.

    Raises:
        ValueError: there is none of that name; objects, text, dates and raw bytes are no numbers.

    Example:
        >>> number_type("bfloat16").itemsize
        2
    """
    import ml_dtypes

    if name in _STANDARD:
        return np.dtype(name)
    if name in _EXTENSIONS and hasattr(ml_dtypes, name):
        return np.dtype(getattr(ml_dtypes, name))
    raise ValueError(f"it holds values of type {printable(str(name), 60)}, which are not read")


def is_number_type(dtype: np.dtype) -> bool:
    """Tell whether arrays of `dtype` hold numbers and nothing else."""
    return dtype.name in _STANDARD or (dtype.isbuiltin == 2 and dtype.name in _EXTENSIONS)


def is_quantized(dtype: np.dtype) -> bool:
    """Tell whether numbers of `dtype` are codes that only mean something with their scales, as int8's are."""
    return dtype.name not in ("float16", "float32", "float64", "bfloat16", "complex64", "complex128")


def checked_shape(shape: Any) -> tuple[int, ...]:
    """Return a shape as a tuple of lengths; a `ValueError` where it is none."""
    if not isinstance(shape, (list, tuple)) or len(shape) > _MAX_DIMENSIONS:
        raise ValueError("an array in it has a shape that is no list of lengths")
    return tuple(checked_length(length) for length in shape)


def checked_length(number: Any, what: str = "a length") -> int:
    """Return a length, a size or an offset that a file states; a `ValueError` where it cannot be one."""
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < _MAX_LENGTH:
        raise ValueError(f"it states {what} that is no whole number from 0 to 2^62")
    return number


def num_bytes(shape: Sequence[int], dtype: np.dtype) -> int:
    """Return the bytes of an array; where a length is 0, those of its other lengths, as NumPy asks for."""
    return dtype.itemsize * math.prod(length or 1 for length in shape)


def as_array(content: Any, dtype: np.dtype, shape: Any, *, order: Any = "C") -> np.ndarray:
    """Return all bytes of `content` as an array, without a copy.

    Raises:
        ValueError: there are more or fewer bytes than the array has.
    """
    shape = checked_shape(shape)
    size = dtype.itemsize * math.prod(shape)
    if memoryview(content).nbytes != size or num_bytes(shape, dtype) >= _MAX_LENGTH:
        raise ValueError(
            f"an array in it has {memoryview(content).nbytes} bytes, where its shape and type want {size}"
        )
    flat = np.frombuffer(content, np.uint8)
    _check_truths(flat, dtype)
    return flat.view(dtype).reshape(shape, order=order)


def as_view(content: Any, dtype: np.dtype, offset: Any, shape: Any, strides: Any) -> np.ndarray:
    """Return a strided view of `content` that cannot be written to; offset and strides count numbers.

    Raises:
        ValueError: the view reaches beyond `content`, or backwards.
    """
    shape, strides = checked_shape(shape), checked_shape(strides)
    offset = checked_length(offset, "an offset")
    if len(shape) != len(strides):
        raise ValueError("an array in it has more lengths than strides, or fewer")
    flat = np.frombuffer(content, np.uint8)
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if 0 in shape:
        return as_array(b"", dtype, shape)
    if (last + 1) * dtype.itemsize > flat.size:
        raise ValueError("an array in it ends beyond its last number")
    _check_truths(flat, dtype)
    view = np.ndarray(
        shape, dtype, flat, offset * dtype.itemsize, [stride * dtype.itemsize for stride in strides]
    )
    view.flags.writeable = False
    return view


def _check_truths(flat: np.ndarray, dtype: np.dtype) -> None:
    # NumPy counts on truth values being 0 or 1, and writes out of bounds where they are not.
    if dtype == np.bool_ and flat.size and flat.max() > 1:
        raise ValueError("it holds a truth value that is neither 0 nor 1")
