"""The learning rate schedule.

The total number of steps of a growing run is unknown, so the rate follows the place inside the present stage, never an estimate
of the whole (Lightning's ``estimated_stepping_batches`` is wrong here).
"""

from __future__ import annotations

from typing import Literal

from tutelage.errors import ConfigError

Shape = Literal["constant", "linear"]


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
            raise ConfigError(
                f"student.schedule: warmup={warmup} and floor={floor} must be shares (warmup below 1)."
            )
        self._shape, self._warmup, self._floor = shape, warmup, floor

    def factor(self, progress: float) -> float:
        """The factor at ``progress`` in [0, 1]; above 0 from the first step on."""
        if progress < self._warmup:
            return max(progress / self._warmup, 0.05)
        if self._shape == "constant":
            return 1.0
        done = (progress - self._warmup) / (1 - self._warmup)
        return 1.0 - (1.0 - self._floor) * done
