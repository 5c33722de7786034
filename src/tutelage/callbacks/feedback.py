"""Turns the student's outcomes into feedback, and exports the misclassified ones of each round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.methods.base import Method
from tutelage.records import ClassScore, Feedback, Outcome, as_dicts, outcome_from_dict
from tutelage.runs.folder import RunFolder
from tutelage.tasks.protocol import Task


class FeedbackCollector:
    """Keeps the outcomes that the next round will be aimed by.

    Args:
        predict_then_train: aim by what the student made of the new rows *before* it trained on them (our default); otherwise by
            the validation after training.
    """

    def __init__(
        self, task: Task, method: Method, folder: RunFolder, predict_then_train: bool
    ) -> None:
        self._task = task
        self._method = method
        self._folder = folder
        self.predict_then_train = predict_then_train
        self._before_training: list[Outcome] = []

    def keep(self, outcomes: Sequence[Outcome]) -> None:
        """Keep the outcomes of rows that were not trained on yet."""
        self._before_training = list(outcomes)

    def feedback(
        self, fresh: Sequence[Outcome], round: int, on_dev: Mapping[str, Any] | None = None
    ) -> Feedback:
        """What the method aims at when it grows ``round``; the mistakes in it are exported as feedback/round-NNN.jsonl.

        Args:
            fresh: outcomes of the newest rows after training on them; used in the first round, or without predict-then-train.
            on_dev: the scores of each class on dev, as the task's metrics give them under "per_class".
        """
        kept = self._before_training if self.predict_then_train and self._before_training else fresh
        outcomes = tuple(kept)
        dev = {name: ClassScore(**score) for name, score in (on_dev or {}).items()}
        aimed = self._method.aimed_at(
            Feedback(round - 1, outcomes, self._task.scores(outcomes), dev)
        )
        self._folder.write_lines(f"feedback/round-{round:03d}.jsonl", as_dicts(list(aimed.wrong)))
        return aimed

    def state_dict(self) -> dict[str, Any]:
        """The kept outcomes as plain values."""
        return {"before_training": as_dicts(self._before_training)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the kept outcomes."""
        self._before_training = [outcome_from_dict(record) for record in state["before_training"]]
