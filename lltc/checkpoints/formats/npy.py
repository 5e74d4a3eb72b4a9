"""Arrays as NumPy writes them one by one (.npy), read without NumPy's reader, which believes the header."""

import re
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from lltc.checkpoints.intake.arrays import as_array, checked_shape, num_bytes, number_type
from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.messages import printable

MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000
_CHUNK = 1 << 20
_ITEM = (
    r"""["']descr["']\s*:\s*["'](?P<descr>[^"']+)["']"""
    r"""|["']fortran_order["']\s*:\s*(?P<fortran>True|False)"""
    r"""|["']shape["']\s*:\s*\((?P<shape>[0-9L,\s]*)\)"""
)
_HEADER = re.compile(rf"\s*\{{\s*(?:(?:{_ITEM})\s*(?:,\s*)?){{3}}\}}\s*", re.ASCII)
_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}
_ORDERS: dict[str, Any] = {"": "=", "=": "=", "<": "<", ">": ">", "|": "|"}
_NUMBERS = re.compile(r"([<>|=]?)([biufc])([0-9]{1,2})", re.ASCII)
_NAMELESS = re.compile(r"[<|]V([0-9]{1,2})", re.ASCII)
_TEXT = re.compile(r"([<>|=]?)U([0-9]{1,9})", re.ASCII)


class Header(NamedTuple):
    """What the head of an array states: its type as NumPy spells it, its order and its shape."""

    descr: str
    order: Any
    shape: tuple[int, ...]


def read_header(stream: BinaryIO) -> Header:
    """Return the head of the array that begins at the position of `stream`.

    Raises:
        ValueError: none begins there, or it is no plain array.
    """
    start = _exactly(stream, len(MAGIC) + 2)
    if start[: len(MAGIC)] != MAGIC or start[len(MAGIC)] not in (1, 2, 3):
        raise ValueError("an array in it does not begin as NumPy's do")
    length = int.from_bytes(_exactly(stream, 2 if start[len(MAGIC)] == 1 else 4), "little")
    if length > _MAX_HEADER:
        raise ValueError(f"an array in it has a header of {length:,} bytes; {_MAX_HEADER:,} are allowed")
    match = _HEADER.fullmatch(_exactly(stream, length).decode("latin1"))
    if match is None or None in match.groups():
        raise ValueError("an array in it has a header that is not one of numbers")
    lengths = [text.strip().rstrip("L") for text in match["shape"].split(",")]
    shape = checked_shape([int(text) for text in lengths if text])
    return Header(match["descr"], "F" if match["fortran"] == "True" else "C", shape)


def read_numbers(stream: BinaryIO, header: Header, budget: Budget, name: str) -> np.ndarray:
    """Return the array behind `header`; nameless bytes, which may be bfloat16, come as NumPy's void.

    Raises:
        ValueError: it holds something other than numbers, or ends early.
    """
    dtype = _number_type(header.descr, name)
    return as_array(_read(stream, header, dtype, budget, name), dtype, header.shape, order=header.order)


def read_text(stream: BinaryIO, header: Header, budget: Budget) -> str:
    """Return the one text that an array of NumPy's text type without dimensions holds."""
    match = _TEXT.fullmatch(header.descr)
    if match is None or header.shape:
        raise ValueError("its list of names is no text")
    dtype = np.dtype(f"{match[1]}U{int(match[2])}")
    budget.take(4 * dtype.itemsize, "its list of names")
    codes = np.frombuffer(_read(stream, header, dtype, budget, "its list of names"), "u4")
    codes = codes.byteswap() if match[1] == ">" else codes
    return "".join(map(chr, codes.tolist())).rstrip("\0")


def _number_type(descr: str, name: str) -> np.dtype:
    if descr.endswith("f1"):
        raise ValueError("NumPy wrote float8 without its type; save it as safetensors")
    if (match := _NAMELESS.fullmatch(descr)) and int(match[1]) > 0:
        return np.dtype(f"V{int(match[1])}")
    if match := _NUMBERS.fullmatch(descr):
        bits = "" if match[2] == "b" and match[3] == "1" else 8 * int(match[3])
        return number_type(f"{_KINDS[match[2]]}{bits}").newbyteorder(_ORDERS[match[1]])
    raise ValueError(
        f"array '{printable(name, 80)}' has the type {printable(descr, 40)}, but only numbers are read; "
        "leave it out when saving"
    )


def _read(stream: BinaryIO, header: Header, dtype: np.dtype, budget: Budget, name: str) -> np.ndarray:
    budget.take(num_bytes(header.shape, dtype), f"array '{printable(name, 80)}'")
    content = np.empty(0 if 0 in header.shape else num_bytes(header.shape, dtype), np.uint8)
    fill(stream, content)
    return content


def fill(stream: Any, content: np.ndarray) -> None:
    """Read the bytes of `content`, one after another so that no second copy of them is made."""
    position = 0
    while position < content.size:
        piece = stream.read(min(_CHUNK, content.size - position))
        if not piece:
            raise ValueError("it ends before its last number")
        content[position : position + len(piece)] = np.frombuffer(piece, np.uint8)
        position += len(piece)


def _exactly(stream: BinaryIO, length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise ValueError("it ends within the header of an array")
    return content
