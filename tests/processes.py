"""Processes that tests start: waited for until something is so, and heard where they failed."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# A minute's work takes many on a machine that others keep busy: this only bounds what would hang, and is less
# than what pytest gives a test.
PATIENCE = 600.0


def ran(command: Sequence[Any], **options: Any) -> str:
    """Return what a command printed; where it fails or does not end, the failure holds what it said."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with started(command, **pipes, **options) as process:
        try:
            output, error = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            output, error = process.communicate()
    assert process.returncode == 0, f"status {process.returncode}\n{output[-2000:]}\n{error}"
    return output


@contextmanager
def started(command: Sequence[Any], **options: Any) -> Iterator[subprocess.Popen]:
    """Start a process that is killed at the end, where it has not ended by itself."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until[T](condition: Callable[[], T]) -> T:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert time.monotonic() < deadline, "what was waited for has not come"
        time.sleep(0.01)
    return answer
