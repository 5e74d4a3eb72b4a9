"""Telling how a sweep goes: one bar on a terminal, one line a checkpoint elsewhere."""

import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from lltc.report.wording import measured
from lltc.sweeps.jobs.worker import Row


class Watch:
    """Progress of `total` checkpoints on standard error, silent when `show` is False."""

    def __init__(self, total: int, *, show: bool):
        self._total, self._done, self._began = total, 0, time.monotonic()
        self._show = show and total > 0 and sys.stderr is not None
        self._bar = None
        if self._show and (_on_terminal() or _in_notebook()):
            from tqdm.auto import tqdm

            often: dict[str, Any] = {"mininterval": 0, "miniters": 1}
            self._bar = tqdm(
                total=total, desc="sweep", unit="checkpoint", leave=False, smoothing=0.1, **often
            )

    def tell(self, row: Row) -> None:
        """Count a finished checkpoint and say how it went."""
        self._done += 1
        if not self._show:
            return
        try:
            self._write(row)
        except (OSError, ValueError):
            self._show = (
                False  # A terminal that is gone, or a full disk under the log, must not end the sweep.
            )

    def _write(self, row: Row) -> None:
        if self._bar is None:
            print(f"{describe(row)}  {self._done}/{self._total}{self._eta()}", file=sys.stderr, flush=True)
            return
        if row.reason:
            self._bar.write(describe(row), file=sys.stderr)
        self._bar.set_postfix_str(f"step {row.step}: {row.status}", refresh=False)
        self._bar.update()

    def _eta(self) -> str:
        left = self._total - self._done
        return f"  ETA {clock((time.monotonic() - self._began) / self._done * left)}" if left else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            with suppress(OSError, ValueError):
                self._bar.close()


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _in_notebook() -> bool:
    """True inside an IPython kernel, whose pages draw tqdm's bar though standard error is no terminal."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def describe(row: Row) -> str:
    """Return a finished checkpoint in one line.

    Example:
        >>> from pathlib import Path
        >>> describe(Row("", 100, Path(), 9.1765, 0.123, "ok", 1.26))
        'step 100  llc 9.18 ± 0.12  ok  1.3 s'
    """
    step = f"{row.run} step {row.step}" if row.run else f"step {row.step}"
    if row.reason:
        return f"{step}  {row.status}: {row.reason}"
    if row.status == "observed":
        return f"{step}  observed"
    return f"{step}  llc {measured(row.llc, row.llc_se)}  {row.status}  {row.seconds:.1f} s"


def clock(seconds: float) -> str:
    """Return a duration as a clock shows it.

    Example:
        >>> clock(59.6), clock(3725)
        ('1:00', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
