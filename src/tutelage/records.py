"""The frozen records that travel between the parts. They hold plain values only, so that each one is a line of JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Source = Literal["gold", "init", "easy", "hard", "pool"]
"""Where a row came from: a gold shot, a text made from one (+Init), a generated easy or hard example, the unlabelled pool."""


def record_id(*parts: object) -> str:
    """Return a short stable id of ``parts`` (16 hex digits of SHA-256)."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a data source. ``label`` is None where there is none, or where a method may not see it."""

    id: str
    text: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """One class of the label space.

    Attributes:
        name: the value in the data.
        word: what the teacher reads and writes for it; its first token must tell it from the others.
        description: the class in plain words, for generation prompts.
    """

    name: str
    word: str
    description: str


@dataclass(frozen=True, slots=True)
class LabelDistribution:
    """A teacher's opinion over the label space.

    Attributes:
        labels: label names, in the task's order.
        probabilities: one a label, summing to 1.
        off_label_mass: share of the next-token probability that fell on no label, before normalising.
        raw: the probabilities before calibration.
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    off_label_mass: float
    raw: tuple[float, ...] = ()

    @property
    def confidence(self) -> float:
        """The largest probability."""
        return max(self.probabilities)

    @property
    def top(self) -> str:
        """The most probable label; the first of equals."""
        return self.labels[self.probabilities.index(self.confidence)]

    def probability(self, label: str) -> float:
        """The probability of ``label``."""
        return self.probabilities[self.labels.index(label)]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the pool. It never changes once written.

    Attributes:
        target: what the student is to learn; for classification a label name, for NER the marked spans (tasks/spans.py).
        distribution: the teacher's opinion of the text; for NER, of the mention that was asked for, over the types and "O".
        entity_confidence: for NER the teacher's probability of each entity of the target, in order.
        asked: the label (for NER the entity type) that generation was asked for, where it was.
        parents: ids of the rows or outcomes that the text was written from.
        accepted: False for a rejected row, which is kept with its ``reason`` and never trained on.
        weight: the row's weight in the loss.
        detail: why it looks as it does, for the report (style, prompt hash, what it is too similar to).
    """

    id: str
    text: str
    target: str
    source: Source
    round: int
    accepted: bool
    reason: str = ""
    distribution: LabelDistribution | None = None
    asked: str = ""
    parents: tuple[str, ...] = ()
    weight: float = 1.0
    detail: dict[str, str] = field(default_factory=dict)
    entity_confidence: tuple[float, ...] = ()

    @property
    def confidence(self) -> float:
        """The teacher's confidence in the target; 1 for gold.

        Of marked entities that of the least certain one; else the probability of the target's label, which need not be the most probable
        one (class_share keeps a text under the label that it was asked for); of a target that is no label the largest probability.
        """
        if self.entity_confidence:
            return min(self.entity_confidence)
        if self.distribution is None:
            return 1.0
        return (
            self.distribution.probability(self.target)
            if self.target in self.distribution.labels
            else self.distribution.confidence
        )

    @property
    def mean_confidence(self) -> float:
        """The same, but the mean over the entities."""
        return (
            sum(self.entity_confidence) / len(self.entity_confidence)
            if self.entity_confidence
            else self.confidence
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the student made of one row or example.

    Attributes:
        target: what is held to be right (gold, or the teacher's), in the form of a row's target.
        probabilities: the student's, in the task's label order; for NER one number, that of its least certain word.
        source: the row's source, or the split's name ("dev", "test").
        tags: for NER the student's tags word by word, as they came.
    """

    id: str
    text: str
    target: str
    predicted: str
    probabilities: tuple[float, ...]
    source: str
    round: int
    tags: tuple[str, ...] = ()

    @property
    def correct(self) -> bool:
        """True when the prediction is the target."""
        return self.predicted == self.target

    @property
    def confidence(self) -> float:
        """The student's largest probability."""
        return max(self.probabilities)


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Precision, recall and F1 of one class, each in [0, 1], with the number of examples whose target it is."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a round tells the method.

    Attributes:
        outcomes: of the rows that it is aimed by.
        per_class: the score of each class over them.
        on_dev: the same over the dev set; a method that uses it uses the dev labels.
    """

    round: int
    outcomes: tuple[Outcome, ...]
    per_class: dict[str, ClassScore]
    on_dev: dict[str, ClassScore] = field(default_factory=dict)

    @property
    def correct(self) -> tuple[Outcome, ...]:
        """Outcomes that the student got right."""
        return tuple(outcome for outcome in self.outcomes if outcome.correct)

    @property
    def wrong(self) -> tuple[Outcome, ...]:
        """Outcomes that the student got wrong."""
        return tuple(outcome for outcome in self.outcomes if not outcome.correct)

    @property
    def confident_wrong(self) -> tuple[Outcome, ...]:
        """Wrong outcomes, most confident first (PGKD's hard negatives)."""
        return tuple(sorted(self.wrong, key=lambda outcome: -outcome.confidence))


@dataclass(frozen=True, slots=True)
class Growth:
    """What a method gives back for one round.

    Attributes:
        rows: accepted and rejected ones alike.
        analysis: the teacher's words about the student's weakness, "" where the method asks for none.
        quota: how many texts were asked for, by label and kind ("label/hard").
        seconds: time by phase of the round ("analysis", "generation", "labelling").
        asked, answered, rejected, failed: teacher requests of the round; asked = answered + failed, and rejected
            counts answers that gave no accepted row.
        prompt: the analysis prompt as it was sent.
    """

    round: int
    rows: tuple[Row, ...]
    analysis: str = ""
    prompt: str = ""
    quota: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    asked: int = 0
    answered: int = 0
    rejected: int = 0
    failed: int = 0


def row_from_dict(record: dict[str, Any]) -> Row:
    """Read a Row from what :func:`dataclasses.asdict` and JSON made of it."""
    values = dict(record)
    if values.get("distribution"):
        given = values["distribution"]
        values["distribution"] = LabelDistribution(
            labels=tuple(given["labels"]),
            probabilities=tuple(given["probabilities"]),
            off_label_mass=given["off_label_mass"],
            raw=tuple(given["raw"]),
        )
    for key in ("parents", "entity_confidence"):
        values[key] = tuple(values.get(key, ()))
    return Row(**values)


def outcome_from_dict(record: dict[str, Any]) -> Outcome:
    """Read an Outcome from what :func:`dataclasses.asdict` and JSON made of it."""
    return Outcome(
        **{
            **record,
            "probabilities": tuple(record["probabilities"]),
            "tags": tuple(record.get("tags", ())),
        }
    )


def as_dicts(records: Sequence[Any]) -> list[dict[str, Any]]:
    """Plain dictionaries of dataclass records, ready for JSON."""
    return [asdict(record) for record in records]
