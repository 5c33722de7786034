"""Learning-rate schedule.

The total number of steps of a growing run is unknown, so the rate follows the progress of the
current stage, never an estimate of the whole run. (Lightning's ``estimated_stepping_batches`` would
be wrong here.)
"""

from __future__ import annotations

from typing import Literal

from tutelage.errors import ConfigError

Shape = Literal["constant", "linear"]


class RateSchedule:
    """Factor on the learning rate as a function of a stage's progress.

    A short warm-up, then a constant rate or linear decay, repeated in every stage.

    Args:
        shape: Shape after the warm-up: "constant", or "linear" for linear decay to ``floor``.
        warmup: Share of each stage spent rising from 0, in [0, 1).
        floor: Factor at the end of linear decay, in [0, 1].

    Raises:
        ConfigError: ``shape`` is unknown, or a share is outside its range.
    """

    def __init__(self, shape: Shape = "linear", warmup: float = 0.1, floor: float = 0.1) -> None:
        if shape not in ("constant", "linear"):
            raise ConfigError(f"Unknown student.schedule.shape={shape}. Give constant or linear.")
        if not (0 <= warmup < 1 and 0 <= floor <= 1):
            raise ConfigError(
                f"student.schedule.warmup={warmup} must be in [0, 1), and "
                f"student.schedule.floor={floor} in [0, 1]."
            )
        self._shape, self._warmup, self._floor = shape, warmup, floor

    def factor(self, progress: float) -> float:
        """Factor at a point of the stage; above 0 from the first step on.

        Args:
            progress: Completed share of the stage, in [0, 1].
        """
        if progress < self._warmup:
            # The first step must not be wasted on a rate of 0.
            return max(progress / self._warmup, 0.05)
        if self._shape == "constant":
            return 1.0
        done = (progress - self._warmup) / (1 - self._warmup)
        return 1.0 - (1.0 - self._floor) * done
