"""How much memory a run may take: what was asked for, or what the device and the machine have."""

import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

import jax
import psutil

from lltc.errors import InputError

SHARE = 0.75
UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]i?)?b?\s*", re.IGNORECASE)
CGROUPS = Path("/sys/fs/cgroup")
NAMES = ("memory.max", "memory.current")
NAMES_BEFORE = ("memory.limit_in_bytes", "memory.usage_in_bytes")  # version 1 of control groups


def read_memory(memory: str | float | None) -> int:
    """Return a number of bytes: `memory`, such as "8 GB", or by default what can be had.

    That is three quarters of what is free, rounded down to a power of two, so that small changes of what is
    free do not change how a run is divided. Raises `InputError` for anything that is no size.

    Example:
        >>> read_memory("8 GB"), read_memory("512 MiB"), read_memory(1e6)
        (8000000000, 536870912, 1000000)
    """
    if memory is None:
        return 1 << max(int(SHARE * free_memory()).bit_length() - 1, 20)
    size = float(memory) if isinstance(memory, int | float) and not isinstance(memory, bool) else None
    if isinstance(memory, str) and (match := SIZE.fullmatch(memory)):
        size = float(match[1]) * UNITS[(match[2] or "").lower()]
    if size is None or not 1 <= size < 2**63:
        raise InputError(
            f"memory must be a number of bytes or a size such as '8 GB', but {memory!r} was given; pass one, "
            "or None for what is free."
        )
    return int(size)


def free_memory() -> int:
    """Return how many bytes can still be had: of the device, of the machine, of this process's limits."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return max(min(psutil.virtual_memory().available, _left_in_cgroup(), _left_in_limits()), 0)


def _left_in_limits() -> int:
    """Return what `ulimit` leaves to this process."""
    process = psutil.Process().memory_info()
    room = sys.maxsize
    for name, used in (("RLIMIT_AS", process.vms), ("RLIMIT_DATA", getattr(process, "data", 0))):
        limit = resource.getrlimit(getattr(resource, name))[0]
        if limit != resource.RLIM_INFINITY:
            room = min(room, limit - used)
    return room


def _left_in_cgroup() -> int:
    """Return what the tightest control group around this process leaves; without any, everything."""
    room = sys.maxsize
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            names = NAMES if not controllers else NAMES_BEFORE
            if controllers and "memory" not in controllers.split(","):
                continue
            top = CGROUPS / "memory" if controllers else CGROUPS
            for folder in [top / path.lstrip("/"), *(top / path.lstrip("/")).parents]:
                room = min(room, left_in(folder, *names))
                if folder == top:
                    break
    return room


def left_in(folder: Path, limit: str, used: str) -> int:
    """Return what one control group leaves; files it caches can be given up."""
    with suppress(OSError, ValueError):
        caches = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        spare = int(caches.get("inactive_file", 0))
        return int((folder / limit).read_text()) - int((folder / used).read_text()) + spare
    return sys.maxsize
