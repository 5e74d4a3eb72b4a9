"""One progress bar around chunks driven from the host."""

import math
import sys
import time
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Self


class Progress:
    """A tqdm bar counting steps, silent when `show` is False."""

    def __init__(self, total: int, *, show: bool, label: str = "lltc"):
        if show:
            from tqdm.auto import tqdm
        else:
            from tqdm import tqdm

        self.shown = show
        self._bar = tqdm(total=total, disable=not show, desc=label, unit="step", leave=False)
        self._last, self._paces = time.perf_counter(), deque[float](maxlen=2)
        self._announced = False

    @property
    def step_seconds(self) -> float:
        """What a step takes: the lesser of the last two chunks', as one of them may have been compiled."""
        return min(self._paces, default=math.nan)

    def advance(self, steps: int) -> None:
        """Count `steps` more as done."""
        now = time.perf_counter()
        self._paces.append((now - self._last) / max(steps, 1))
        self._last = now
        self._bar.update(steps)

    def extend(self, steps: int) -> None:
        """Expect `steps` more than before."""
        self._bar.total = (self._bar.total or 0) + steps
        self._bar.refresh()

    def tell(self, text: str) -> None:
        """Show `text` beside the bar."""
        self._bar.set_postfix_str(text)

    def announce(self, text: str) -> None:
        """Write the first `text` given on a line of its own, to standard error."""
        if self._announced or not self.shown or sys.stderr is None:
            return
        self._announced = True
        # A terminal that is gone, or a full disk under the log, must not end the estimate.
        with suppress(OSError, ValueError):
            self._bar.write(f"lltc: {text}", file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()
