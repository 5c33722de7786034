"""Filters out student mistakes that are probably teacher label noise."""

from __future__ import annotations

from collections.abc import Iterable

from tutelage.errors import ConfigError
from tutelage.records import Feedback, Outcome, Row
from tutelage.tasks.protocol import Task


class MistakeFilter:
    """Keeps the mistakes of a round whose label the teacher is confident about.

    A mistake is a disagreement of student and teacher. With a small teacher, disagreements
    concentrate where the teacher itself errs, and a method aiming at them generates more texts the
    teacher cannot label. So a mistake counts only if the teacher's calibrated probability of its
    label exceeds that of the student's prediction by ``margin``
    (:meth:`tutelage.tasks.protocol.Task.margin`). Ours; the paper has a large teacher and no such
    filter.

    Args:
        task: The task.
        margin: Required difference of the probabilities, in [0, 1]; 0 keeps every mistake.

    Raises:
        ConfigError: The margin is outside its range.
    """

    def __init__(self, task: Task, margin: float) -> None:
        if not 0.0 <= margin <= 1.0:
            raise ConfigError(
                f"method.mistake_margin={margin} must be in [0, 1]; 0 keeps every mistake."
            )
        self._task = task
        self._margin = margin

    def keep(self, feedback: Feedback, rows: Iterable[Row]) -> Feedback:
        """Removes the doubtful mistakes and scores the remaining outcomes again.

        Args:
            feedback: The results of a round.
            rows: The rows of the pool, for the teacher's distributions. Mistakes on gold rows, and
                on rows without a distribution, always count.

        Returns:
            The remaining outcomes, their scores per class, and the same scores on dev.
        """
        if not self._margin:
            return feedback
        # The teacher's opinion of each row.
        distributions = {row.id: row.distribution for row in rows if row.distribution is not None}

        def counts(outcome: Outcome) -> bool:
            given = distributions.get(outcome.id)
            if outcome.correct or given is None:
                return True
            return self._task.margin(given, outcome) >= self._margin

        kept = tuple(outcome for outcome in feedback.outcomes if counts(outcome))
        return Feedback(feedback.round, kept, self._task.scores(kept), feedback.on_dev)
