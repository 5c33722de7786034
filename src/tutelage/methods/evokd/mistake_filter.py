"""Which of the student's mistakes are believed to be its own, where the teacher that set the labels is fallible too."""

from __future__ import annotations

from collections.abc import Iterable

from tutelage.errors import ConfigError
from tutelage.records import Feedback, Outcome, Row
from tutelage.tasks.protocol import Task


class MistakeFilter:
    """Takes out of a round's feedback the mistakes that the teacher cannot vouch for.

    A mistake is a disagreement of student and teacher. With a small teacher the disagreements are where its own errors gather, and a
    method that aims at them writes more of what the teacher cannot label. So a mistake counts only where the teacher's calibrated
    probability of the label exceeds that of the student's prediction by ``margin`` (:meth:`tutelage.tasks.protocol.Task.margin`). Ours; not
    in the paper, whose teacher is large.

    Args:
        margin: in [0, 1]; 0 believes every mistake.

    Raises:
        ConfigError: the margin is outside its range.
    """

    def __init__(self, task: Task, margin: float) -> None:
        if not 0.0 <= margin <= 1.0:
            raise ConfigError(
                f"method.mistake_margin={margin} must be in [0, 1]; 0 believes every mistake."
            )
        self._task = task
        self._margin = margin

    def keep(self, feedback: Feedback, rows: Iterable[Row]) -> Feedback:
        """The feedback without the doubtful mistakes, scored anew. Gold rows, and rows without a distribution, are always believed."""
        if not self._margin:
            return feedback
        distributions = {row.id: row.distribution for row in rows if row.distribution is not None}

        def believed(outcome: Outcome) -> bool:
            given = distributions.get(outcome.id)
            if outcome.correct or given is None:
                return True
            return self._task.margin(given, outcome) >= self._margin

        kept = tuple(outcome for outcome in feedback.outcomes if believed(outcome))
        return Feedback(feedback.round, kept, self._task.scores(kept), feedback.on_dev)
