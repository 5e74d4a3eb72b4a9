"""How much a zstd stream can unpack to, told from the lengths of its blocks alone (RFC 8878)."""

from collections.abc import Callable

_MAGIC = 0xFD2FB528
_SKIPPED, _SKIPPED_MASK = 0x184D2A50, 0xFFFFFFF0
_MAX_BLOCK = 1 << 17
# What decoders take at most where they are not told otherwise; a window is memory, whatever is in it.
_MAX_WINDOW = 1 << 27
# Blocks of nothing take time, too.
_LEAST = 1 << 12
_RAW, _REPEATED, _COMPRESSED = 0, 1, 2

Read = Callable[[int, int], bytes]


def unpacked_bound(read: Read, size: int, limit: int) -> int:
    """Return a number of bytes that `size` packed ones, got by `read(position, length)`, cannot exceed.

    The count ends where it is above `limit`.

    Raises:
        ValueError: they are no zstd stream.
    """
    position = total = 0
    while position < size and total <= limit:
        magic = _number(read, position, 4)
        if magic & _SKIPPED_MASK == _SKIPPED:
            position += 8 + _number(read, position + 4, 4)
            continue
        if magic != _MAGIC:
            raise ValueError("its packed numbers are damaged")
        frame, position = _frame_bound(read, position + 4, size, limit - total)
        total += frame
    return total


def _frame_bound(read: Read, position: int, size: int, limit: int) -> tuple[int, int]:
    """Return the bound of the frame whose header begins at `position`, and where the frame ends."""
    window, stated, has_checksum, position = _frame_header(read, position)
    if window > _MAX_WINDOW and stated is None:
        raise ValueError(f"it is packed with a window of {window:,} bytes; {_MAX_WINDOW:,} are allowed")
    largest, total, last = min(window, _MAX_BLOCK), 0, False
    while not last and total <= limit:
        if position >= size:
            raise ValueError("its packed numbers end early")
        head = _number(read, position, 3)
        last, kind, length = bool(head & 1), head >> 1 & 3, head >> 3
        if kind > _COMPRESSED or (kind != _COMPRESSED and length > largest):
            raise ValueError("its packed numbers are damaged")
        total += max(largest if kind == _COMPRESSED else length, _LEAST)
        position += 3 + (1 if kind == _REPEATED else length)
    if last and stated is not None and stated > total:
        raise ValueError("its packed numbers are fewer than they claim to be")
    return total, position + 4 * has_checksum


def _frame_header(read: Read, position: int) -> tuple[int, int | None, bool, int]:
    """Return the window, the content's size where it is stated, whether a checksum follows, and the end."""
    descriptor = _number(read, position, 1)
    single, has_checksum = bool(descriptor & 0x20), bool(descriptor & 4)
    position += 1
    window = 0
    if not single:
        byte = _number(read, position, 1)
        base = 1 << 10 + (byte >> 3)
        window, position = base + base // 8 * (byte & 7), position + 1
    position += (0, 1, 2, 4)[descriptor & 3]
    width = (int(single), 2, 4, 8)[descriptor >> 6]
    if not width:
        return window, None, has_checksum, position
    stated = _number(read, position, width) + (256 if width == 2 else 0)
    return (stated if single else window), stated, has_checksum, position + width


def _number(read: Read, position: int, width: int) -> int:
    content = read(position, width)
    if len(content) < width:
        raise ValueError("its packed numbers end early")
    return int.from_bytes(content, "little")
