"""Data on their way to another process: arrays travel, memory-mapped files are opened again there."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lltc.posterior.data import Data


@dataclass(eq=False)
class MappedRows:
    """Rows of a memory-mapped file, opened where they are read."""

    path: Path
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]

    @cached_property
    def _array(self) -> np.memmap:
        return np.memmap(self.path, self.dtype, mode="r", offset=self.offset, shape=self.shape)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self._array[rows]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_array"}


def hand_over(data: Data) -> Data:
    """Return `data` with its memory maps named by file, so that no file's content is sent along."""
    if not isinstance(data.rows, np.memmap | dict | list | tuple):
        return data
    return replace(data, rows=jax.tree.map(_by_name, data.rows))


def _by_name(leaf: Any) -> Any:
    """Return the file, offset and shape of a contiguous memory map; other leaves travel as they are."""
    if not isinstance(leaf, np.memmap) or leaf.filename is None or not leaf.flags.c_contiguous:
        return leaf
    whole = leaf
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    start = leaf.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return MappedRows(Path(leaf.filename).resolve(), leaf.dtype, whole.offset + start, leaf.shape)
