"""Feedback of each round: collected from the student's outcomes, its mistakes exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.methods.base import Method
from tutelage.records import ClassScore, Feedback, Outcome, as_dicts, outcome_from_dict
from tutelage.runs.folder import RunFolder
from tutelage.tasks.protocol import Task


class FeedbackCollector:
    """Collects the outcomes the next round aims at.

    Args:
        task: The task.
        method: Filters the feedback (``Method.aimed_at``).
        folder: The run folder.
        predict_then_train: Take the student's predictions for the new rows *before* training on
            them (our default), instead of the validation after training.
    """

    def __init__(
        self, task: Task, method: Method, folder: RunFolder, predict_then_train: bool
    ) -> None:
        self._task = task
        self._method = method
        self._folder = folder
        self.predict_then_train = predict_then_train
        self._before_training: list[Outcome] = []

    @property
    def before_training(self) -> Sequence[Outcome]:
        """Outcomes of the newest rows before training on them; empty without any."""
        return self._before_training

    def keep(self, outcomes: Sequence[Outcome]) -> None:
        """Keeps the outcomes of rows before training on them."""
        self._before_training = list(outcomes)

    def feedback(
        self,
        fresh: Sequence[Outcome],
        round: int,
        on_dev: Mapping[str, Any] | None = None,
        dev: Sequence[Outcome] = (),
    ) -> Feedback:
        """Returns the feedback for a round, and exports its mistakes.

        Args:
            fresh: Outcomes of the newest rows after training on them; used in the first round, or
                without predict-then-train.
            round: The round to grow.
            on_dev: Scores of each class on dev ("per_class" of the task's metrics).
            dev: Outcomes of the dev examples.
        """
        # Before the first round there are no predictions from before training.
        kept = self._before_training if self.predict_then_train and self._before_training else fresh
        outcomes = tuple(kept)
        scores = {name: ClassScore(**score) for name, score in (on_dev or {}).items()}
        # The method decides which mistakes count; exactly those are exported.
        aimed = self._method.aimed_at(
            Feedback(round - 1, outcomes, self._task.scores(outcomes), scores, tuple(dev))
        )
        self.export(aimed, round)
        return aimed

    def export(self, aimed: Feedback, round: int) -> None:
        """Writes the mistakes that a round follows to feedback/round-NNN.jsonl.

        Args:
            aimed: The feedback that the method follows.
            round: The round to grow.
        """
        self._folder.write_lines(f"feedback/round-{round:03d}.jsonl", as_dicts(list(aimed.wrong)))

    def state_dict(self) -> dict[str, Any]:
        """Returns the kept outcomes as plain values."""
        return {"before_training": as_dicts(self._before_training)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state returned by :meth:`state_dict`."""
        self._before_training = [outcome_from_dict(record) for record in state["before_training"]]
