"""One progress bar around chunks driven from the host."""

from types import TracebackType
from typing import Self


class Progress:
    """A tqdm bar counting steps, silent when `show` is False."""

    def __init__(self, total: int, *, show: bool, label: str = "lltc"):
        if show:
            from tqdm.auto import tqdm
        else:
            from tqdm import tqdm

        self._bar = tqdm(total=total, disable=not show, desc=label, unit="step", leave=False)

    def advance(self, steps: int) -> None:
        """Count `steps` more as done."""
        self._bar.update(steps)

    def extend(self, steps: int) -> None:
        """Expect `steps` more than before."""
        self._bar.total = (self._bar.total or 0) + steps
        self._bar.refresh()

    def tell(self, text: str) -> None:
        """Show `text` beside the bar."""
        self._bar.set_postfix_str(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()
