"""Interface of a task; everything outside ``tasks/`` is written against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from tutelage.records import ClassScore, Example, Label, LabelDistribution, Outcome, Row
from tutelage.tasks.opinions import Opinion, TeacherOpinion
from tutelage.tasks.rows import RowReader

Head = Literal["sequence", "token"]
"""Head of the student: one prediction per text, [B, C], or one per token, [B, L, C]."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A headline metric of a task.

    Attributes:
        key: Key of the metric in ``metrics``.
        title: Column title.
    """

    key: str
    title: str


@dataclass(frozen=True, slots=True)
class Wording:
    """Words for the classes and predictions of a task, in reports and messages.

    Attributes:
        class_name: A class of the label space.
        class_names: Several of them.
        short: The same in as few letters as possible, for axes.
        units: What the scores of a class count, in the plural.
        answers: What the teacher predicts on test, in the plural.
        answers_left: The same if some test texts have no prediction.
        answer_score: Share of correct answers.
    """

    class_name: str
    class_names: str
    short: str
    units: str
    answers: str
    answers_left: str
    answer_score: str


class Reading(NamedTuple):
    """The student's decoded prediction for one text, with the field names of an Outcome.

    Attributes:
        predicted: Predicted target.
        probabilities: The student's probabilities; for NER the probability of its least certain
            word.
        tags: For NER, the student's tags word by word.
    """

    predicted: str
    probabilities: tuple[float, ...]
    tags: tuple[str, ...] = ()


class Mistake(NamedTuple):
    """One error of the student.

    Attributes:
        right: The correct class; "" for an invented entity.
        predicted: The predicted class; "" for a missed entity. Equal to ``right`` if only the
            boundary of an entity is wrong.
        words: For NER, the words of the entity, or the words wrongly marked as one.
    """

    right: str
    predicted: str
    words: str = ""


class Task(Protocol):
    """A label space with its encoding, decoding and metrics."""

    @property
    def name(self) -> str:
        """Name in :data:`tutelage.tasks.registry.TASKS`: "classification" or "ner"."""
        ...

    @property
    def labels(self) -> tuple[Label, ...]:
        """The label space, in the order of every probability vector; for NER the entity types."""
        ...

    @property
    def is_token_level(self) -> bool:
        """True if the student labels each word, False if it labels whole texts."""
        ...

    @property
    def head(self) -> Head:
        """Head of the student."""
        ...

    @property
    def student_settings(self) -> dict[str, Any]:
        """Values saved in the student's config.json, for predictions without the run."""
        ...

    @property
    def panel(self) -> str:
        """Name of the report's panel for targets, one of ``tutelage.report.panels.PANELS``."""
        ...

    @property
    def wording(self) -> Wording:
        """Words for classes and predictions."""
        ...

    @property
    def row_reader(self) -> RowReader:
        """Reads the rows of a data source."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the student's output classes: the labels, or IOB2 tags."""
        ...

    @property
    def headline_metrics(self) -> tuple[Metric, Metric]:
        """The two metrics reported for a run; the first one is compared between runs."""
        ...

    @property
    def further_metrics(self) -> tuple[Metric, ...]:
        """Metrics reported next to the headline metrics; runs are never compared by them."""
        ...

    @property
    def error_kinds(self) -> tuple[str, ...]:
        """Keys of "errors" in :meth:`metrics`, in display order; empty if errors have no kinds."""
        ...

    @property
    def monitor(self) -> str:
        """Metric for ``patience`` and for balancing the feedback."""
        ...

    def model_input(self, text: str) -> str | list[str]:
        """A text in the form the tokenizer reads: the text itself, or its words."""
        ...

    def target_vectors(self, row: Row) -> list[list[float]]:
        """Training targets of a row.

        Args:
            row: The row.

        Returns:
            One distribution over ``outputs`` for the text, or one per word.
        """
        ...

    def teacher_vectors(self, row: Row) -> list[list[float]]:
        """The teacher's distributions over ``outputs``, in the form of ``target_vectors``.

        Equal to ``target_vectors`` for a row without a teacher opinion.
        """
        ...

    def unit_weights(self, row: Row) -> list[float]:
        """Loss weights, one per target vector.

        All equal to the row's weight, unless the task weights its words separately.
        """
        ...

    @property
    def num_groups(self) -> int:
        """Number of groups :meth:`group_of` can return."""
        ...

    @property
    def output_groups(self) -> tuple[int, ...]:
        """Group of each output class."""
        ...

    def group_of(self, row: Row, counts: Mapping[str, int]) -> int:
        """Group a row is counted under: the index in ``labels`` of its rarest class.

        Args:
            row: The row.
            counts: Number of rows of each class.

        Returns:
            An index in ``labels``, or len(labels) for a row without any class.
        """
        ...

    def read(self, probabilities: Sequence[Sequence[float] | None]) -> Reading:
        """Decodes the student's distributions for one text.

        Args:
            probabilities: One distribution per target vector; None for a word the student has not
                seen.
        """
        ...

    def proposed(
        self, probabilities: Sequence[Sequence[float] | None]
    ) -> tuple[tuple[int, int], ...]:
        """Word ranges [start, end) where the student sees, or nearly sees, an entity.

        Args:
            probabilities: One distribution per target vector; None for a word the student has not
                seen.

        Returns:
            The ranges in order; empty for tasks without entities.
        """
        ...

    def classes(self, target: str) -> tuple[str, ...]:
        """Classes in a target, the one it is counted under first; ("O",) without entities."""
        ...

    @property
    def empty_target(self) -> str:
        """Target of a text without a readable one."""
        ...

    def check_target(self, target: str) -> None:
        """Checks the form of a target read from a file.

        Raises:
            ValueError: The target is malformed.
            TypeError: Likewise.
        """
        ...

    def mistakes(self, outcome: Outcome) -> tuple[Mistake, ...]:
        """The student's errors on one text."""
        ...

    def confusions(self, outcome: Outcome) -> tuple[tuple[str, str], ...]:
        """Pairs of the correct and the predicted class on one text, right and wrong ones.

        "" on either side stands for no entity.
        """
        ...

    def margin(self, distribution: LabelDistribution, outcome: Outcome) -> float:
        """Difference between the teacher's probability of its own opinion and of the alternative.

        Args:
            distribution: The teacher's distribution.
            outcome: The student's outcome on the text.
        """
        ...

    def shown(self, outcome: Outcome) -> dict[str, object]:
        """Template variables of one outcome for the analysis prompt."""
        ...

    def scores(self, outcomes: Sequence[Outcome]) -> dict[str, ClassScore]:
        """Precision, recall and F1 of each class over ``outcomes``."""
        ...

    def metrics(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """The task's metrics over ``outcomes``, as plain values.

        Returns:
            The keys of ``headline_metrics``, "accuracy" (share of correct outcomes), "per_class",
            and any further metrics of the task.
        """
        ...

    @property
    def records_raw_opinions(self) -> bool:
        """Whether the teacher's opinions are also recorded as they were before calibration."""
        ...

    def opinion_record(
        self, example: Example, opinion: Opinion | None, error: str
    ) -> dict[str, Any]:
        """One line of teacher/evaluation.jsonl, the teacher's opinion of a test example.

        Args:
            example: The test example.
            opinion: The teacher's opinion; None on an error.
            error: Why there is none.
        """
        ...

    def read_opinion(self, record: Mapping[str, Any]) -> TeacherOpinion:
        """Parses a line of teacher/evaluation.jsonl, as written by :meth:`opinion_record`.

        Raises:
            KeyError: A value is missing.
            ValueError: The number of probabilities is wrong, or one of them is outside [0, 1].
        """
        ...

    def answers(self, opinion: TeacherOpinion, *, raw: bool = False) -> list[tuple[float, bool]]:
        """The teacher's answers in one opinion, for its reliability.

        Args:
            opinion: An opinion without an error.
            raw: Take the answers before calibration; only if they are recorded.

        Returns:
            The confidence in each answer, and whether it is correct.
        """
        ...
