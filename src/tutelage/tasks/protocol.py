"""Interface of a task; everything outside ``tasks/`` is written against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from tutelage.records import ClassScore, Label, LabelDistribution, Outcome, Row


@dataclass(frozen=True, slots=True)
class Metric:
    """A headline metric of a task.

    Attributes:
        key: Key of the metric in ``metrics``.
        title: Column title.
    """

    key: str
    title: str


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
        """Name of the configuration option: "classification" or "ner"."""
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
    def outputs(self) -> tuple[str, ...]:
        """Names of the student's output classes: the labels, or IOB2 tags."""
        ...

    @property
    def headline_metrics(self) -> tuple[Metric, Metric]:
        """The two metrics reported for a run; the first one is compared between runs."""
        ...

    @property
    def monitor(self) -> str:
        """Metric for ``patience`` and for balancing the feedback."""
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

    def mistakes(self, outcome: Outcome) -> tuple[Mistake, ...]:
        """The student's errors on one text."""
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
