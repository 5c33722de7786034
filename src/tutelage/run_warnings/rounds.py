"""Warnings while a run grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tutelage.progress import ProgressReporter
from tutelage.records import Feedback, Growth
from tutelage.run_warnings.advice import about_mistakes, about_reasons, aims_at_mistakes
from tutelage.run_warnings.growth import few_accepted, was


@dataclass(slots=True)
class RoundWatch:
    """Tells at once of a round of growth that brings nothing, each kind of it once.

    Args:
        reporter: Shows the warnings.
        settings: The run's configuration, nested.
    """

    reporter: ProgressReporter
    settings: Mapping[str, Any]
    _told: set[str] = field(default_factory=set)
    _brought_rows: bool = True

    def aimed(self, feedback: Feedback, round: int) -> None:
        """Looks at the feedback for a round."""
        # After the start stage, a student without mistakes has merely learnt its shots. Where the
        # last round brought no row, there was nothing to be wrong about.
        learnt = round == 1 or not self._brought_rows
        if not learnt and not feedback.wrong and aims_at_mistakes(self.settings):
            self._tell(
                "feedback",
                f"Round {round} is aimed at no mistake: the student makes none on the newest rows "
                f"that count.{about_mistakes(self.settings)}",
            )

    def grown(self, growth: Growth) -> None:
        """Looks at the rows of a round."""
        texts = [row for row in growth.rows if not row.given]
        self._brought_rows = any(row.accepted for row in texts)
        if few := few_accepted(texts):
            self._tell(
                "few" if self._brought_rows else "accepted",
                f"Round {growth.round}: {few} of {len(texts)} texts {was(texts)} accepted."
                f"{about_reasons(texts, self.settings)}",
            )

    def _tell(self, kind: str, message: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self.reporter.warn(message)
