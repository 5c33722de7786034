"""Where training stands, and the learning rate that follows from it.

The total number of steps of a growing run is unknown, so the rate follows the place inside the present stage, never an estimate
of the whole (Lightning's ``estimated_stepping_batches`` is wrong here).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tutelage.errors import ConfigError

Stage = Literal["start", "round", "final"]
Shape = Literal["constant", "linear"]


@dataclass(frozen=True, slots=True)
class Position:
    """One epoch's place in a run.

    Attributes:
        stage: "start" trains on the first rows, "round" on what a round gave, "final" on everything accepted.
        round: 0 for the start, then 1, 2, …
        index: the epoch inside the stage, from 0.
        length: epochs of the stage.
        updates: optimizer steps after which the stage ends even so; 0 for no such limit.
        made: optimizer steps of the run before the stage began.
    """

    stage: Stage
    round: int
    index: int
    length: int
    updates: int = 0
    made: int = 0

    @property
    def last(self) -> bool:
        """True in the stage's last epoch."""
        return self.index + 1 >= self.length

    def spent(self, made: int) -> bool:
        """True when the stage has had its optimizer steps, with ``made`` of the whole run."""
        return bool(self.updates) and made - self.made >= self.updates

    def progress(self, batch: int, batches: int, made: int = 0) -> float:
        """Share of the stage done before ``batch`` of ``batches``, or by the steps where they limit it, in [0, 1)."""
        if self.updates:
            return min((made - self.made) / self.updates, 1 - 1e-9)
        return (self.index + batch / max(1, batches)) / max(1, self.length)


class RateSchedule:
    """A factor on the learning rate from the progress of a stage: a short warm-up, then constant or linear decay.

    Args:
        warmup: share of the stage spent rising from 0.
        floor: the factor that "linear" ends at.

    Raises:
        ConfigError: an unknown shape, or a share outside [0, 1].
    """

    def __init__(self, shape: Shape = "linear", warmup: float = 0.1, floor: float = 0.1) -> None:
        if shape not in ("constant", "linear"):
            raise ConfigError(f"student.schedule.shape={shape}; give constant or linear.")
        if not (0 <= warmup < 1 and 0 <= floor <= 1):
            raise ConfigError(f"student.schedule: warmup={warmup} and floor={floor} must be shares (warmup below 1).")
        self._shape, self._warmup, self._floor = shape, warmup, floor

    def factor(self, progress: float) -> float:
        """The factor at ``progress`` in [0, 1]; above 0 from the first step on."""
        if progress < self._warmup:
            return max(progress / self._warmup, 0.05)
        if self._shape == "constant":
            return 1.0
        done = (progress - self._warmup) / (1 - self._warmup)
        return 1.0 - (1.0 - self._floor) * done
