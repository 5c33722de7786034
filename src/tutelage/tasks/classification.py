"""Single-label text classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tutelage.errors import DataError, did_you_mean
from tutelage.records import ClassScore, Example, Label, LabelDistribution, Outcome, Row
from tutelage.tasks.label_rows import LabelRowReader
from tutelage.tasks.opinions import Opinion, TeacherOpinion, check_shares
from tutelage.tasks.protocol import Head, Metric, Mistake, Reading, Wording


class ClassificationTask:
    """Single-label classification: one of C labels per text.

    Args:
        labels: The label space. Comes from the data set, not from the configuration.
    """

    name = "classification"
    is_token_level = False
    head: Head = "sequence"
    panel = "labels"
    wording = Wording(
        class_name="class",
        class_names="classes",
        short="class",
        units="texts",
        answers="test texts",
        answers_left="answered test texts",
        answer_score="accuracy",
    )
    row_reader = LabelRowReader()
    headline_metrics = (Metric("accuracy", "accuracy"), Metric("macro_f1", "macro-F1"))
    further_metrics: tuple[Metric, ...] = ()
    error_kinds: tuple[str, ...] = ()
    monitor = "macro_f1"
    empty_target = ""
    records_raw_opinions = True

    def __init__(self, labels: Sequence[Label]) -> None:
        self._labels = tuple(labels)
        self._index = {label.name: index for index, label in enumerate(self._labels)}

    @property
    def labels(self) -> tuple[Label, ...]:
        """The label space, in the order of every probability vector."""
        return self._labels

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the labels."""
        return tuple(self._index)

    @property
    def student_settings(self) -> dict[str, Any]:
        """Empty: a sequence head needs no settings to predict."""
        return {}

    def model_input(self, text: str) -> str:
        """The text itself."""
        return text

    def label_index(self, name: str) -> int:
        """Index of a label.

        Raises:
            DataError: There is no such label.
        """
        try:
            return self._index[name]
        except KeyError:
            raise DataError(did_you_mean("label", name, self._index)) from None

    def target_vectors(self, row: Row) -> list[list[float]]:
        """One-hot vector of the row's target."""
        vector = [0.0] * len(self._labels)
        vector[self.label_index(row.target)] = 1.0
        return [vector]

    def teacher_vectors(self, row: Row) -> list[list[float]]:
        """The teacher's calibrated distribution, or the one-hot target without one."""
        return (
            [list(row.distribution.probabilities)]
            if row.distribution is not None
            else self.target_vectors(row)
        )

    def unit_weights(self, row: Row) -> list[float]:
        """The row's weight."""
        return [row.weight]

    @property
    def num_groups(self) -> int:
        """Number of labels."""
        return len(self._labels)

    @property
    def output_groups(self) -> tuple[int, ...]:
        """The index of each label."""
        return tuple(range(self.num_groups))

    def group_of(self, row: Row, counts: Mapping[str, int]) -> int:
        """Index of the row's label."""
        return self.label_index(row.target)

    def read(self, probabilities: Sequence[Sequence[float] | None]) -> Reading:
        """The most probable label, with the probabilities.

        Args:
            probabilities: A single distribution over the labels.
        """
        # A text has exactly one distribution, and is never unseen.
        (values,) = probabilities
        assert values is not None
        return Reading(self.decode(values), tuple(values))

    def decode(self, probabilities: Sequence[float]) -> str:
        """The most probable label; the first one in a tie."""
        return self._labels[
            max(range(len(probabilities)), key=lambda index: (probabilities[index], -index))
        ].name

    def proposed(
        self, probabilities: Sequence[Sequence[float] | None]
    ) -> tuple[tuple[int, int], ...]:
        """Always empty: there are no entities."""
        return ()

    def classes(self, target: str) -> tuple[str, ...]:
        """The label itself."""
        return (target,)

    def check_target(self, target: str) -> None:
        """Does nothing: every string can be a label name."""

    def confusions(self, outcome: Outcome) -> tuple[tuple[str, str], ...]:
        """The correct and the predicted label."""
        return ((outcome.target, outcome.predicted),)

    def mistakes(self, outcome: Outcome) -> tuple[Mistake, ...]:
        """The correct and the predicted label, if they differ."""
        return () if outcome.correct else (Mistake(outcome.target, outcome.predicted),)

    def margin(self, distribution: LabelDistribution, outcome: Outcome) -> float:
        """The teacher's probability of the target minus its probability of the prediction."""
        return distribution.probability(outcome.target) - distribution.probability(
            outcome.predicted
        )

    def shown(self, outcome: Outcome) -> dict[str, object]:
        """The text with its correct and its predicted label."""
        # The prompt shows labels with their words and descriptions, not plain names.
        by_name = {label.name: label for label in self._labels}
        return {
            "text": outcome.text,
            "target": by_name[outcome.target],
            "predicted": by_name[outcome.predicted],
        }

    def scores(self, outcomes: Sequence[Outcome]) -> dict[str, ClassScore]:
        """Precision, recall and F1 of each class; 0 for a class neither present nor predicted."""
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
            name: ClassScore(
                float(precision[index]), float(recall[index]), float(f1[index]), int(support[index])
            )
            for index, name in enumerate(names)
        }

    def metrics(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Accuracy and macro-F1, both in [0, 1], and the scores of each class.

        Macro-F1 is the mean over the classes present or predicted.
        """
        scores = self.scores(outcomes)
        # Classes absent from both sides would pull the mean down.
        seen = {outcome.target for outcome in outcomes} | {
            outcome.predicted for outcome in outcomes
        }
        present = [score.f1 for name, score in scores.items() if name in seen]
        # Guards against empty outcomes: every mean is then 0.
        return {
            "accuracy": sum(outcome.correct for outcome in outcomes) / max(1, len(outcomes)),
            "macro_f1": sum(present) / max(1, len(present)),
            "per_class": {name: asdict(score) for name, score in scores.items()},
        }

    def opinion_record(
        self, example: Example, opinion: Opinion | None, error: str
    ) -> dict[str, Any]:
        """The distribution over the labels, calibrated and raw."""
        line: dict[str, Any] = {"id": example.id, "target": example.label or ""}
        if opinion is None:
            return {**line, "error": error}
        distribution = opinion.distribution
        return {
            **line,
            "probabilities": distribution.probabilities,
            "raw": distribution.raw,
            "off_label_mass": distribution.off_label_mass,
        }

    def read_opinion(self, record: Mapping[str, Any]) -> TeacherOpinion:
        """The most probable label, with its distribution; raw is the calibrated one if missing."""
        id, text, target = str(record["id"]), str(record.get("text", "")), str(record["target"])
        # A failed request: the teacher has no answer to validate.
        if record.get("error"):
            return TeacherOpinion(id, text, target, self.empty_target, (), (), str(record["error"]))
        probabilities = tuple(map(float, record["probabilities"]))
        raw = tuple(map(float, record.get("raw") or ())) or probabilities
        for name, given in (("probabilities", probabilities), ("raw", raw)):
            check_shares(name, given, len(self._labels), "label")
        predicted = self._labels[probabilities.index(max(probabilities))].name
        return TeacherOpinion(id, text, target, predicted, probabilities, raw)

    def answers(self, opinion: TeacherOpinion, *, raw: bool = False) -> list[tuple[float, bool]]:
        """One answer, the most probable label; calibration may change it."""
        given = opinion.raw if raw else opinion.probabilities
        confidence = max(given)
        return [(confidence, self._labels[given.index(confidence)].name == opinion.target)]
