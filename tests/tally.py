"""What the tests did to lltc: `pytest -p tests.tally …` ends with one line of counts.

Loads of checkpoints are counted here, by how they end. Kills, signals and full disks are counted by the tests
that survive them, with `record_property`.
"""

from collections import Counter
from typing import Any

import pytest

from lltc.checkpoints.checkpoint import Checkpoint
from lltc.errors import CheckpointError, InputError

TOLD = ("kills survived", "signals", "full disks", "rows lost")
ENDS = ("loads", "refused in a sentence", "other errors")
_loads: Counter[str] = Counter()
_told: Counter[str] = Counter()
_load = Checkpoint.load


def _counted(checkpoint: Checkpoint, *arguments: Any, **options: Any) -> Any:
    _loads["loads"] += 1
    try:
        return _load(checkpoint, *arguments, **options)
    except Exception as error:
        refused = isinstance(error, CheckpointError | InputError)
        _loads["refused in a sentence" if refused else "other errors"] += 1
        raise


def pytest_configure() -> None:
    """Count every load from now on."""
    pytest.MonkeyPatch().setattr(Checkpoint, "load", _counted)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add what a test recorded."""
    if report.when == "call" and report.passed:
        _told.update({name: count for name, count in report.user_properties if name in TOLD})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts."""
    counts = {name: _loads[name] for name in ENDS} | {name: _told[name] for name in TOLD if name in _told}
    terminalreporter.write_line(", ".join(f"{name}: {count:,}" for name, count in counts.items()))
