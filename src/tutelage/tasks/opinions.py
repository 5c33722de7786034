"""The teacher's opinions of test texts, as tasks write them to teacher/evaluation.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tutelage.records import LabelDistribution


class Opinion(Protocol):
    """The part of :class:`tutelage.labelling.base.Opinion` that tasks record."""

    @property
    def distribution(self) -> LabelDistribution:
        """Distribution over the labels."""
        ...

    def target(self, label: str, /) -> str:
        """Target of a row under ``label``."""
        ...

    def entity_confidence(self, label: str, /) -> tuple[float, ...]:
        """Probability of each entity of :meth:`target`, in its order."""
        ...


@dataclass(frozen=True, slots=True)
class TeacherOpinion:
    """The teacher's prediction for one test example.

    Attributes:
        id: Id of the test example.
        text: Its text; "" if the task does not record it.
        target: Its gold target.
        predicted: The teacher's target. On an error "" (for NER, a target without entities).
        probabilities: One per label, in the task's order; for NER one per entity of ``predicted``,
            in order. Empty on an error.
        raw: The same before calibration; empty for NER.
        error: Why the teacher gave no target; "" if it did.
    """

    id: str
    text: str
    target: str
    predicted: str
    probabilities: tuple[float, ...]
    raw: tuple[float, ...]
    error: str = ""


def check_shares(name: str, given: Sequence[float], count: int, each: str) -> None:
    """Checks the probabilities of a record.

    Args:
        name: Their key in the record.
        given: The probabilities.
        count: Number of them to expect.
        each: What each of them belongs to, for the message.

    Raises:
        ValueError: Their number is wrong, or one of them is outside [0, 1].
    """
    # Sums of float32 probabilities may exceed 1 by rounding.
    if len(given) != count or not all(0.0 <= share <= 1.000001 for share in given):
        raise ValueError(f'"{name}" must hold {count} numbers in [0, 1], one per {each}')
