"""Single-label text classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from tutelage.errors import ConfigError, DataError, did_you_mean
from tutelage.records import ClassScore, Label, Outcome, Row

Targets = Literal["hard", "soft"]


class ClassificationTask:
    """One label out of C for each text.

    Args:
        labels: the label space.
        targets: "hard" trains towards the row's target; "soft" towards the teacher's calibrated distribution where the row
            has one (after Hinton et al. 2015, temperature 1).

    Raises:
        ConfigError: ``targets`` is neither.
    """

    name = "classification"

    def __init__(self, labels: Sequence[Label], targets: Targets = "hard") -> None:
        if targets not in ("hard", "soft"):
            raise ConfigError(did_you_mean("task.targets", targets, ("hard", "soft")))
        self._labels = tuple(labels)
        self._index = {label.name: place for place, label in enumerate(self._labels)}
        self._targets = targets

    @property
    def labels(self) -> tuple[Label, ...]:
        """The label space, in the order of every probability vector."""
        return self._labels

    def label_index(self, name: str) -> int:
        """The place of a label.

        Raises:
            DataError: there is no such label.
        """
        try:
            return self._index[name]
        except KeyError:
            raise DataError(did_you_mean("label", name, self._index)) from None

    def target_vector(self, row: Row) -> list[float]:
        """One-hot of the row's target, or the teacher's distribution."""
        if self._targets == "soft" and row.distribution is not None:
            return list(row.distribution.probabilities)
        vector = [0.0] * len(self._labels)
        vector[self.label_index(row.target)] = 1.0
        return vector

    def decode(self, probabilities: Sequence[float]) -> str:
        """The most probable label; the first of equals."""
        return self._labels[max(range(len(probabilities)), key=lambda place: (probabilities[place], -place))].name

    def scores(self, outcomes: Sequence[Outcome]) -> dict[str, ClassScore]:
        """Precision, recall and F1 of each class; 0 where a class was neither predicted nor present."""
        from sklearn.metrics import precision_recall_fscore_support

        names = [label.name for label in self._labels]
        if not outcomes:
            return {name: ClassScore(0.0, 0.0, 0.0, 0) for name in names}
        precision, recall, f1, support = precision_recall_fscore_support(
            [outcome.target for outcome in outcomes],
            [outcome.predicted for outcome in outcomes],
            labels=names,
            zero_division=0.0,
        )
        return {
            name: ClassScore(float(precision[place]), float(recall[place]), float(f1[place]), int(support[place]))
            for place, name in enumerate(names)
        }

    def metrics(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Accuracy and macro-F1 in [0, 1], and the classes' scores. Macro-F1 is over the classes present or predicted."""
        scores = self.scores(outcomes)
        seen = {outcome.target for outcome in outcomes} | {outcome.predicted for outcome in outcomes}
        present = [score.f1 for name, score in scores.items() if name in seen]
        return {
            "accuracy": sum(outcome.correct for outcome in outcomes) / max(1, len(outcomes)),
            "macro_f1": sum(present) / max(1, len(present)),
            "per_class": {name: asdict(score) for name, score in scores.items()},
        }
