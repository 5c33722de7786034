"""Training on gold alone: the floor (shots) and the ceiling (the whole pool, supervised)."""

from __future__ import annotations

from typing import Any

from tutelage.errors import ConfigError
from tutelage.methods.base import MethodContext, gold_rows
from tutelage.records import Feedback, Growth


class GoldOnly:
    """First rows from the gold that the run may use, and no growth.

    Args:
        name: "shots" or "supervised"; which gold it is, is decided by ``training.gold``.
    """

    rounds = 0
    asks_teacher = False
    calibration_labels = 0
    truncated = 0

    def __init__(self, name: str) -> None:
        self.name = name

    def setup(self, context: MethodContext) -> None:
        """Keep the ground."""
        if not context.shots:
            raise ConfigError(
                f"method={self.name} learns from gold labels alone and there are none; give shots=1 or more with method=shots, a pool that has "
                "gold labels with method=supervised, and leave training.gold as it is there."
            )
        self._context = context

    def first_rows(self) -> Growth:
        """The gold examples."""
        return Growth(round=0, rows=tuple(gold_rows(self._context.shots)))

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """Never asked for: there are no rounds."""
        raise ConfigError(f"method={self.name} does not grow.")

    def aimed_at(self, feedback: Feedback) -> Feedback:
        """Nothing."""
        return Feedback(feedback.round, (), {})

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take up."""
