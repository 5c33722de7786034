"""Training on gold labels alone: the floor (shots) and the ceiling (the whole pool, supervised)."""

from __future__ import annotations

from typing import Any

from tutelage.errors import ConfigError
from tutelage.methods.base import MethodContext, gold_rows
from tutelage.records import Feedback, Growth


class GoldOnly:
    """Starts from the gold rows of the run and never grows.

    Args:
        name: "shots" or "supervised"; the setting ``training.gold`` decides which gold rows the run
            may use.
    """

    rounds = 0
    asks_teacher = False
    calibration_labels = 0
    truncated = 0

    def __init__(self, name: str) -> None:
        self.name = name

    def setup(self, context: MethodContext) -> None:
        """Keeps the context.

        Raises:
            ConfigError: There are no gold rows.
        """
        if not context.shots:
            raise ConfigError(
                f"method={self.name} learns from gold labels alone, and there are none. With "
                "method=shots or method=eda, give shots=1 or more; with method=supervised, give a "
                "pool with gold labels. Keep the training.gold of the method."
            )
        self._context = context

    def first_rows(self) -> Growth:
        """Returns the gold rows."""
        return Growth(round=0, rows=tuple(gold_rows(self._context.shots)))

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        """Never called, since there are no rounds.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"method={self.name} does not grow.")

    def aimed_at(self, feedback: Feedback) -> Feedback:
        """Returns empty feedback."""
        return Feedback(feedback.round, (), {})

    def state_dict(self) -> dict[str, Any]:
        """Returns an empty state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores nothing."""
