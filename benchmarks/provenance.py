"""Where and when a result was measured: every result file says so."""

import os
import platform
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path


def describe_run() -> str:
    """Return date, commit, JAX and machine in a few words, for the first line of a result.

    JAX is not imported, for some results are of its import.
    """
    kind = os.environ.get("JAX_PLATFORMS") or "default device"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {kind}"
    return f"{date.today().isoformat()}, lltc at {find_commit()}, JAX {version('jax')}, {machine}"


def find_commit() -> str:
    """Return the commit that is measured, with a plus where files differ from it."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--exclude=*", "--dirty=+"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "no commit"
