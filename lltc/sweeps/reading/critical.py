"""The checkpoints that carry the curve's constructions: one of each plateau and one of each transition."""

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lltc.checkpoints import Checkpoint, find_checkpoints
from lltc.errors import InputError
from lltc.sweeps.reading.curve_markers import marked_columns
from lltc.transitions import Plateau, Transition, find_plateaus

if TYPE_CHECKING:
    from xarray import Dataset


@dataclass(frozen=True)
class CriticalCheckpoint:
    """A checkpoint worth a look: in the middle of a plateau, or on the way from one to the next.

    `marker` is what it stands for and `number` counts the plateaus, or the transitions, from 0. `path` is
    where the checkpoint lies and `checkpoint` loads it, both None where the checkpoints' folder is not known.
    """

    step: int
    kind: Literal["plateau", "transition"]
    number: int
    marker: Plateau | Transition
    checkpoint: Checkpoint | None = None

    @property
    def path(self) -> Path | None:
        """Where the checkpoint lies, as far as that is known."""
        return None if self.checkpoint is None else self.checkpoint.path

    def load(self, template: Any = None) -> Any:
        """Return its params; raises `InputError` where the checkpoints' folder is not known."""
        if self.checkpoint is None:
            raise InputError(
                f"the checkpoint of step {self.step} has no known path; pass the folder of the checkpoints "
                "to Sweep.critical_checkpoints."
            )
        return self.checkpoint.load(template)


def choose_critical(
    curve: "Dataset",
    transitions: Iterable[Transition],
    floor: float,
    folder: str | PathLike[str] | Iterable[Checkpoint] | None = None,
) -> tuple[CriticalCheckpoint, ...]:
    """Return one checkpoint a plateau and one a transition, in step order.

    Of a plateau the middle one of its checkpoints whose status is ok (of two the earlier). Of a transition
    the one between its ends whose llc is nearest the middle of the two levels, or the first one after it
    where the change is a jump between neighbours. Where no status is ok, any finite estimate will do.
    """
    records = _records(folder)
    steps, llc = curve["step"].to_numpy(), curve["llc"].to_numpy()
    columns = marked_columns(curve)
    usable = np.isin(steps, columns[0])
    good = usable & (curve["status"].to_numpy() == "ok")
    plateaus = find_plateaus(*columns, floor=floor)
    points = [
        CriticalCheckpoint(_middle(steps, usable, good, plateau), "plateau", number, plateau)
        for number, plateau in enumerate(plateaus)
    ]
    for number, transition in enumerate(transitions):
        level = (plateaus[number].level + plateaus[number + 1].level) / 2
        step = _halfway(steps, llc, usable, good, transition, level)
        points.append(CriticalCheckpoint(step, "transition", number, transition))
    ordered = sorted(points, key=lambda critical: (critical.marker.step_low, critical.step))
    return tuple(_with_record(critical, records) for critical in ordered)


def _middle(steps: np.ndarray, usable: np.ndarray, good: np.ndarray, plateau: Plateau) -> int:
    inside = (steps >= plateau.step_low) & (steps <= plateau.step_high)
    steps_inside = steps[inside & good] if np.any(inside & good) else steps[inside & usable]
    return int(steps_inside[(len(steps_inside) - 1) // 2])


def _halfway(
    steps: np.ndarray,
    llc: np.ndarray,
    usable: np.ndarray,
    good: np.ndarray,
    transition: Transition,
    level: float,
) -> int:
    inside = (steps > transition.step_low) & (steps < transition.step_high)
    eligible = inside & good if np.any(inside & good) else inside & usable
    if not eligible.any():
        return int(transition.step_high)
    return int(steps[eligible][np.argmin(np.abs(llc[eligible] - level))])


def _records(folder: str | PathLike[str] | Iterable[Checkpoint] | None) -> dict[int, Checkpoint]:
    if folder is None:
        return {}
    if isinstance(folder, str | PathLike):
        folder = find_checkpoints(folder)
    return {record.step: record for record in folder}


def _with_record(critical: CriticalCheckpoint, records: dict[int, Checkpoint]) -> CriticalCheckpoint:
    return CriticalCheckpoint(
        critical.step, critical.kind, critical.number, critical.marker, records.get(critical.step)
    )
