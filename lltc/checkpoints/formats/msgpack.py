"""msgpack parsed as plain data: what a file announces is believed only as far as its bytes go."""

import struct
from collections.abc import Callable
from typing import Any

from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.documents import unique_keys

_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_CODES = (">f", ">d", ">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q")
_NUMBERS = dict(zip(range(0xCA, 0xD4), _CODES, strict=True))
# Each kind by its first byte: how many bytes state its length.
_BINARY = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_TEXT = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXTENSION = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXTENSION = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_LIST = {0xDC: 2, 0xDD: 4}
_MAP = {0xDE: 2, 0xDF: 4}
_KEYS = (str, bytes, int, float, type(None))


def parse_msgpack(content: Any, extension: Callable[[int, memoryview], Any], budget: Budget) -> Any:
    """Return the one value `content` holds: dicts, lists, numbers, texts, and bytes as views of `content`.

    `extension(code, data)` makes what stands for values of kinds that msgpack leaves to its users.

    Raises:
        ValueError: the bytes are no msgpack, or more than one value.
        CheckpointError: the value is larger or deeper than `budget` allows.

    Example:
        >>> parse_msgpack(b"\\x81\\xa1w\\x92\\x01\\xc0", lambda code, data: None, Budget("file", 6))
        {'w': [1, None]}
    """
    cursor = _Cursor(memoryview(content), extension, budget)
    value = cursor.value(0)
    if cursor.position < len(cursor.content):
        raise ValueError("it goes on behind its end")
    return value


class _Cursor:
    def __init__(self, content: memoryview, extension: Callable[[int, memoryview], Any], budget: Budget):
        self.content, self.extension, self.budget = content, extension, budget
        self.position = 0

    def value(self, depth: int) -> Any:
        self.budget.count()
        self.budget.check_depth(depth)
        first = self.take(1)[0]
        if first <= 0x7F or first >= 0xE0:
            return first if first <= 0x7F else first - 0x100
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _NUMBERS:
            return struct.unpack(_NUMBERS[first], self.take(struct.calcsize(_NUMBERS[first])))[0]
        if first <= 0x8F or first in _MAP:
            return self.table(self.length(first, 0x80, _MAP), depth)
        if first <= 0x9F or first in _LIST:
            return [self.value(depth + 1) for _ in range(self.length(first, 0x90, _LIST))]
        if first <= 0xBF or first in _TEXT:
            return str(self.take(self.length(first, 0xA0, _TEXT)), "utf-8")
        if first in _BINARY:
            return self.take(self.number(_BINARY[first]))
        length = _FIXED_EXTENSION.get(first) or self.number(_EXTENSION[first])
        code = struct.unpack(">b", self.take(1))[0]
        return self.extension(code, self.take(length))

    def table(self, length: int, depth: int) -> dict[Any, Any]:
        pairs = []
        for _ in range(length):
            key = self.value(depth + 1)
            key = bytes(key) if isinstance(key, memoryview) else key
            if not isinstance(key, _KEYS):
                raise ValueError("it names a value by something other than a text or a number")
            pairs.append((key, self.value(depth + 1)))
        return unique_keys(pairs)

    def length(self, first: int, fixed: int, wide: dict[int, int]) -> int:
        return self.number(wide[first]) if first in wide else first - fixed

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def take(self, length: int) -> memoryview:
        piece = self.content[self.position : self.position + length]
        if len(piece) < length:
            raise ValueError("it ends before its last value")
        self.position += length
        return piece
