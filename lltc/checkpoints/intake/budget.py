"""What reading one checkpoint may cost: bytes of memory, items and depth, counted before they are made."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lltc.errors import CheckpointError, InputError

FLOOR = 1 << 30
PER_BYTE = 32
# A template vouches for its own size; a file may hold wider numbers than it wants.
_PER_TEMPLATE_BYTE = 4
_DEFAULTS = {"max_items": 2_000_000, "max_depth": 100}
# One tensor of a PyTorch file takes some forty opcodes, of which few remain as items.
_OPCODES_PER_ITEM = 5
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Limits:
    """How much one checkpoint may make of itself when it is read; what needs more is refused unread.

    Files can announce arrays that dwarf them. None takes the environment variable, where it is set, else the
    default.

    Attributes:
        max_bytes: the memory its arrays and structures may take (`LLTC_CHECKPOINT_BYTES`); by default 1 GiB
            and 32 bytes for every byte on disk, or four times the template where that is more, but no more
            than the machine has.
        max_items: how many arrays, containers and other values it may hold (`LLTC_CHECKPOINT_ITEMS`); by
            default 2,000,000.
        max_depth: how many levels they may nest (`LLTC_CHECKPOINT_DEPTH`); by default 100.

    Raises:
        InputError: a limit is not a positive integer.

    Example:
        >>> import tempfile, numpy as np
        >>> from lltc.checkpoints import Limits, open_checkpoint, save_npz
        >>> path = save_npz(tempfile.mkdtemp() + "/step_10.npz", {"w": np.zeros(1000)})
        >>> open_checkpoint(path).load(limits=Limits(max_bytes=100_000))["w"].nbytes
        8000
    """

    max_bytes: int | None = None
    max_items: int | None = None
    max_depth: int | None = None

    def __post_init__(self):
        for name in ("max_bytes", "max_items", "max_depth"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise InputError(f"{name} is {value!r}, but must be a positive integer or None; pass one.")

    def stated(self, name: str) -> int | None:
        """Return the limit `name` as the caller or the environment states it, None where neither does."""
        value = getattr(self, name)
        text = os.environ.get(variable(name), "")
        if value is not None or not text:
            return value
        if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text)):
            raise InputError(f"{variable(name)} is {text!r}, but must be a positive integer; set one.")
        return int(text)


class Budget:
    """What is left of the limits while one checkpoint is read."""

    def __init__(self, path: Path | str, size: int, limits: Limits | None = None, template: Any = None):
        limits = limits or Limits()
        self.path, self.size = path, size
        self.max_bytes = limits.stated("max_bytes") or _default_bytes(size, template)
        self.max_items = limits.stated("max_items") or _DEFAULTS["max_items"]
        self.max_depth = limits.stated("max_depth") or _DEFAULTS["max_depth"]
        self.max_opcodes = self.max_items * _OPCODES_PER_ITEM
        self.bytes = self.items = self.opcodes = 0

    def take(self, num_bytes: int, what: str = "its contents") -> None:
        """Book `num_bytes` of memory; a `CheckpointError` where they are not left."""
        # What is announced may be too long a number to be written out.
        self.bytes += min(num_bytes, 1 << 80)
        if self.bytes > self.max_bytes:
            self._refuse(
                f"{what} would take it to {_human(self.bytes)} of memory",
                f"{_human(self.max_bytes)} are allowed for its {_human(self.size)} on disk",
                "max_bytes",
                2 * self.bytes,
            )

    def left(self) -> int:
        """Return the bytes of memory that are not booked."""
        return self.max_bytes - self.bytes

    def count(self, num_items: int = 1) -> None:
        """Book items of the tree; a `CheckpointError` where there are too many."""
        self.items += num_items
        if self.items > self.max_items:
            self._refuse(
                f"it holds {self.items:,} values or more",
                f"{self.max_items:,} are allowed",
                "max_items",
                2 * self.items,
            )

    def count_opcodes(self, number: int) -> None:
        """Book steps of a pickle; a `CheckpointError` where there are too many."""
        self.opcodes += number
        if self.opcodes > self.max_opcodes:
            self._refuse(
                f"its pickle takes {self.opcodes:,} steps or more",
                f"{self.max_opcodes:,} are allowed",
                "max_items",
                2 * self.max_items,
            )

    def check_depth(self, depth: int) -> None:
        """Raise a `CheckpointError` where `depth` levels are too many."""
        if depth > self.max_depth:
            self._refuse(
                f"its values nest {depth:,} levels deep or more",
                f"{self.max_depth:,} are allowed",
                "max_depth",
                2 * depth,
            )

    def _refuse(self, announced: str, allowed: str, limit: str, enough: int) -> None:
        raise CheckpointError(
            f"Cannot read checkpoint '{self.path}': {announced}, but {allowed}; if you trust it, raise the "
            f"limit by load(limits=Limits({limit}={enough})) or the environment variable {variable(limit)}."
        )


def variable(limit: str) -> str:
    """Return the environment variable of a limit."""
    return f"LLTC_CHECKPOINT_{limit.removeprefix('max_').upper()}"


def machine_bytes() -> int:
    """Return the memory of this machine, or of the control group it is confined to, in bytes."""
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        physical = 1 << 62
    try:
        return min(physical, int(_CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):
        return physical


def _default_bytes(size: int, template: Any) -> int:
    wanted = 0 if template is None else _PER_TEMPLATE_BYTE * _template_bytes(template)
    return min(max(FLOOR + PER_BYTE * size, wanted), machine_bytes())


def _template_bytes(template: Any) -> int:
    import jax

    leaves = [leaf for leaf in jax.tree_util.tree_leaves(template) if hasattr(leaf, "dtype")]
    return sum(leaf.size * getattr(leaf.dtype, "itemsize", 8) for leaf in leaves if hasattr(leaf, "size"))


def _human(num_bytes: int) -> str:
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.3g} {unit}" if num_bytes < 10**16 else f"{num_bytes // size:,} {unit}"
    return f"{num_bytes} bytes"
