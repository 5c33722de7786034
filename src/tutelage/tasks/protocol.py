"""What the loop asks of a task. Everything outside ``tasks/`` is written once against this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from tutelage.records import ClassScore, Label, LabelDistribution, Outcome, Row


@dataclass(frozen=True, slots=True)
class Metric:
    """One of the numbers that a task quotes: its key in ``metrics`` and how it is written above a column."""

    key: str
    title: str


class Reading(NamedTuple):
    """What the student's distributions over one text mean; the fields are those of :class:`tutelage.records.Outcome`."""

    predicted: str
    probabilities: tuple[float, ...]
    tags: tuple[str, ...] = ()


class Mistake(NamedTuple):
    """One thing that the student got wrong; each of the classes is "" where there is none.

    Attributes:
        right: the class; "" for an entity that was invented.
        predicted: what it was taken for; "" for an entity that was missed. The class itself where only the entity's boundary is wrong.
        words: for NER those of the entity, or what was marked where there is none.
    """

    right: str
    predicted: str
    words: str = ""


class Task(Protocol):
    """A label space with its encoding, decoding and metrics."""

    @property
    def name(self) -> str:
        """The group option's name: "classification" or "ner"."""
        ...

    @property
    def labels(self) -> tuple[Label, ...]:
        """The label space, in the order of every probability vector; for NER the entity types."""
        ...

    @property
    def is_token_level(self) -> bool:
        """True where the student labels each word, False where it labels the whole text."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the student's output classes: the labels, or IOB2 tags."""
        ...

    @property
    def headline_metrics(self) -> tuple[Metric, Metric]:
        """The two numbers that stand for a run; the first is the one that is compared."""
        ...

    @property
    def monitor(self) -> str:
        """The metric that ``patience`` and the feedback's balance look at."""
        ...

    def target_vectors(self, row: Row) -> list[list[float]]:
        """What the student is trained towards: one distribution over ``outputs`` for the text, or for each of its words."""
        ...

    def teacher_vectors(self, row: Row) -> list[list[float]]:
        """The teacher's distribution over ``outputs``, as many as ``target_vectors`` gives, which it is where the teacher said nothing."""
        ...

    def unit_weights(self, row: Row) -> list[float]:
        """Weights in the loss, one for each of ``target_vectors``: the row's own, unless the task tells its words apart."""
        ...

    @property
    def num_groups(self) -> int:
        """Number of values that :meth:`group_of` returns."""
        ...

    @property
    def output_groups(self) -> tuple[int, ...]:
        """For each of ``outputs`` the key of a row that is of it alone."""
        ...

    def group_of(self, row: Row, counts: Mapping[str, int]) -> int:
        """Place in ``labels`` of the class that a row is counted under, the rarest by ``counts``; their number where it has none."""
        ...

    def read(self, probabilities: Sequence[Sequence[float] | None]) -> Reading:
        """The meaning of the student's distributions, as many as ``target_vectors`` gives (None for a word that it did not see)."""
        ...

    def proposed(
        self, probabilities: Sequence[Sequence[float] | None]
    ) -> tuple[tuple[int, int], ...]:
        """Where the student's distributions see a name or nearly do, as [start, end) in words; for a task without names nothing."""
        ...

    def classes(self, target: str) -> tuple[str, ...]:
        """The classes that a target holds, the one that it is counted under first; for NER without entities ("O",)."""
        ...

    def mistakes(self, outcome: Outcome) -> tuple[Mistake, ...]:
        """What the student got wrong in one text."""
        ...

    def margin(self, distribution: LabelDistribution, outcome: Outcome) -> float:
        """By how much the teacher is surer of its own opinion than of what the student made of the text."""
        ...

    def shown(self, outcome: Outcome) -> dict[str, object]:
        """An outcome as variables of the analysis prompt."""
        ...

    def scores(self, outcomes: Sequence[Outcome]) -> dict[str, ClassScore]:
        """Precision, recall and F1 of each class over ``outcomes``."""
        ...

    def metrics(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """The field's metrics over ``outcomes``, plain values: those of ``headline_metrics``, "accuracy" (outcomes right) and "per_class"."""
        ...
