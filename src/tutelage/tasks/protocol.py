"""What the loop asks of a task. Everything outside ``tasks/`` is written once against this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tutelage.records import ClassScore, Label, Outcome, Row


class Task(Protocol):
    """A label space with its encoding, decoding and metrics."""

    @property
    def name(self) -> str:
        """The group option's name ("classification")."""
        ...

    @property
    def labels(self) -> tuple[Label, ...]:
        """The label space, in the order of every probability vector."""
        ...

    def target_vector(self, row: Row) -> list[float]:
        """What the student is trained towards: one-hot or soft, one number a label."""
        ...

    def decode(self, probabilities: Sequence[float]) -> str:
        """The target that the student's probabilities mean."""
        ...

    def scores(self, outcomes: Sequence[Outcome]) -> dict[str, ClassScore]:
        """Precision, recall and F1 of each class over ``outcomes``."""
        ...

    def metrics(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """The field's metrics over ``outcomes``, plain values: "accuracy", "macro_f1" and "per_class"."""
        ...
