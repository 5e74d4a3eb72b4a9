"""Runs of bytes in a store of arrays: in a file of their own, within one, or at hand."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from lltc.checkpoints.formats.zstd import Read
from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.files import file_size, open_file


class Value(NamedTuple):
    """`size` bytes at `offset` of a file, or of bytes at hand."""

    content: Path | bytes
    offset: int
    size: int

    @classmethod
    def of(cls, content: Path | bytes) -> "Value":
        """Return the value that is all of a file, or all of some bytes."""
        return cls(content, 0, len(content) if isinstance(content, bytes) else file_size(content))

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Yield a function of a position and a length that reads a part, no further than the value goes."""
        if isinstance(self.content, bytes):
            content = self.content[self.offset : self.offset + self.size]
            yield lambda position, length: content[position : position + length]
            return
        with open_file(self.content) as handle:
            if self.offset + self.size > os.fstat(handle.fileno()).st_size:
                raise ValueError(f"its file '{self.content.name}' ends early")

            def read(position: int, length: int) -> bytes:
                handle.seek(self.offset + position)
                return handle.read(max(0, min(length, self.size - position)))

            yield read

    def read(self, budget: Budget) -> bytes:
        """Return all of it."""
        budget.take(self.size, "its contents")
        with self.opened() as read:
            return read(0, self.size)
