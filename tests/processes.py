"""Processes that tests start: waited for until something is so, and heard where they failed."""

import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

# A minute's work takes many on a machine that others keep busy: this only bounds what would hang.
PATIENCE = 1800.0


def ran(command: Sequence[Any], **options: Any) -> str:
    """Return what a command printed; where it fails, the failure holds what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, **options)
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr}"
    return done.stdout


def wait_until[T](condition: Callable[[], T]) -> T:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert time.monotonic() < deadline, "what was waited for has not come"
        time.sleep(0.01)
    return answer
