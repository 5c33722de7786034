"""Immutable records passed between the packages; plain values only, one line of JSON each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Source = Literal["gold", "class_name", "init", "easy", "hard", "pool"]
"""Origin of a row.

"gold": a gold shot. "class_name": the word or the description of a class
(``student.class_names``). "init": a text made from a shot (+Init). "easy" and "hard": generated
examples. "pool": the unlabelled pool.
"""
GIVEN: frozenset[str] = frozenset({"gold", "class_name"})
"""Sources of rows whose labels the user gave; all others have the teacher's, or the student's."""
LABELLED_BY, STUDENT = "labelled_by", "student"
"""Entry in a row's ``detail`` that says that its label is the student's own."""


def record_id(*parts: object) -> str:
    """Short stable id of ``parts``: 16 hex digits of SHA-256."""
    joined = "\x1f".join(map(str, parts))
    # A lone surrogate has no UTF-8 form, but it has this one.
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def derive_seed(*parts: object, bits: int = 64) -> int:
    """Derives the seed of one random draw from the run's seed and the draw's name.

    Args:
        *parts: Everything the draw depends on, including the run's seed.
        bits: Size of the seed in bits; teacher samplers take 31, torch takes 63.
    """
    return int(record_id(*parts), 16) % (1 << bits)


def evenly(items: Sequence[T], count: int) -> list[T]:
    """Returns at most ``count`` items, evenly spaced and in their order.

    Files are often sorted, so their first rows would not do for a sample.
    """
    size = len(items)
    return [items[index * size // count] for index in range(count)] if size > count else [*items]


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a data source.

    Attributes:
        id: Stable id.
        text: The text; for NER, words joined by single spaces.
        label: The target; None if there is none, or if a method must not see it.
    """

    id: str
    text: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """One class of the label space.

    Attributes:
        name: Value in the data.
        word: Name the teacher reads and writes; its first token must differ from all others.
        description: The class in plain words, for generation prompts.
    """

    name: str
    word: str
    description: str


@dataclass(frozen=True, slots=True)
class LabelDistribution:
    """A teacher's opinion over the label space.

    Attributes:
        labels: Label names, in the task's order.
        probabilities: One probability per label, summing to 1.
        off_label_mass: Share of the next-token probability on no label, before normalisation.
        raw: The probabilities before calibration.
        disagreement: For the mean over a teacher ensemble, how far its members are apart, in
            [0, 1]; None for a single opinion.
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    off_label_mass: float
    raw: tuple[float, ...] = ()
    disagreement: float | None = None

    @property
    def confidence(self) -> float:
        """The largest probability."""
        return max(self.probabilities)

    @property
    def top(self) -> str:
        """The most probable label; the first one in a tie."""
        return self.labels[self.probabilities.index(self.confidence)]

    def probability(self, label: str) -> float:
        """The probability of ``label``."""
        return self.probabilities[self.labels.index(label)]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the pool, never changed after writing.

    Attributes:
        id: Stable id.
        text: The text; for NER, words joined by single spaces.
        target: Target for the student: a label name, or for NER the marked spans (tasks/spans.py).
        source: Origin of the row.
        round: Round the row was added in; 0 for the start.
        accepted: False for a rejected row, kept with its ``reason`` and never trained on.
        reason: Why the row was rejected; "" for an accepted one.
        distribution: The teacher's opinion of the text; for NER, of the span candidate it was asked
            about, over the types and "O". The student's own where it labelled the text itself.
        asked: The label (for NER the entity type) requested at generation, if any.
        parents: Ids of the rows or outcomes the text was generated from.
        weight: Weight of the row in the loss.
        detail: Background for the report: style, prompt hash, similar text.
        entity_confidence: For NER, the teacher's probability of each entity of the target, in
            order.
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
    def given(self) -> bool:
        """True if the user gave the label, with a gold text or as the name of a class."""
        return self.source in GIVEN

    @property
    def by_student(self) -> bool:
        """True if the student labelled the text itself (``method=pseudo_labels``)."""
        return self.detail.get(LABELLED_BY) == STUDENT

    @property
    def confidence(self) -> float:
        """The teacher's confidence in the target; 1 for gold.

        For marked entities, the confidence of the least certain one. Otherwise the probability of
        the target's label, which need not be the most probable one (class_share keeps a text under
        its requested label); for a target outside the labels, the largest probability.
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
        """Like ``confidence``, but the mean over the entities."""
        return (
            sum(self.entity_confidence) / len(self.entity_confidence)
            if self.entity_confidence
            else self.confidence
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The student's prediction for one row or example.

    Attributes:
        id: Id of the row or example.
        text: The text.
        target: The assumed truth (gold, or the teacher's), in the form of a row's target.
        predicted: The predicted target.
        probabilities: The student's probabilities, in the task's label order; for NER one number,
            the probability of its least certain word.
        source: Source of the row, or the name of the split ("dev", "test").
        round: Round of the prediction.
        tags: For NER, the student's raw tags word by word.
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
        """True if the prediction equals the target."""
        return self.predicted == self.target

    @property
    def confidence(self) -> float:
        """The student's largest probability."""
        return max(self.probabilities)


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Scores of one class.

    Attributes:
        precision: Precision in [0, 1].
        recall: Recall in [0, 1].
        f1: F1 in [0, 1].
        support: Number of examples (for NER, entities) of this class among the targets.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Feedback:
    """Results of a round passed to the method.

    Attributes:
        round: The round.
        outcomes: Outcomes of the rows to aim the next round by.
        per_class: Scores of each class over the outcomes.
        on_dev: Scores of each class over the dev set; a method using them uses the dev labels.
        dev: Outcomes of the dev examples; a method using them uses the dev labels.
    """

    round: int
    outcomes: tuple[Outcome, ...]
    per_class: dict[str, ClassScore]
    on_dev: dict[str, ClassScore] = field(default_factory=dict)
    dev: tuple[Outcome, ...] = ()

    @property
    def correct(self) -> tuple[Outcome, ...]:
        """Correct outcomes."""
        return tuple(outcome for outcome in self.outcomes if outcome.correct)

    @property
    def wrong(self) -> tuple[Outcome, ...]:
        """Wrong outcomes."""
        return tuple(outcome for outcome in self.outcomes if not outcome.correct)

    @property
    def confident_wrong(self) -> tuple[Outcome, ...]:
        """Wrong outcomes, most confident first (PGKD's hard negatives)."""
        return tuple(sorted(self.wrong, key=lambda outcome: -outcome.confidence))


@dataclass(frozen=True, slots=True)
class Growth:
    """Result of one round of a method.

    Attributes:
        round: The round.
        rows: New rows, accepted and rejected ones alike.
        analysis: The teacher's analysis of the student's weaknesses; "" for methods without one.
        prompt: The analysis prompt as sent.
        quota: Number of texts requested, by label and kind ("label/hard").
        seconds: Duration of each phase of the round ("analysis", "generation", "labelling").
        asked: Teacher requests of the round: answered + failed.
        answered: Requests with a reply.
        rejected: Replies without any accepted row.
        failed: Requests without a reply.
        feedback: The feedback that the round followed, where the method collected some of it in the
            round itself; None where it is what the method was given.
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
    feedback: Feedback | None = None


def row_from_dict(record: dict[str, Any]) -> Row:
    """Rebuilds a Row from its JSON form.

    Args:
        record: Output of :func:`dataclasses.asdict`, after a round trip through JSON.
    """
    values = dict(record)
    if values.get("distribution"):
        given = values["distribution"]
        values["distribution"] = LabelDistribution(
            labels=tuple(given["labels"]),
            probabilities=tuple(given["probabilities"]),
            off_label_mass=given["off_label_mass"],
            raw=tuple(given["raw"]),
            disagreement=given.get("disagreement"),
        )
    # JSON turns tuples into lists; a missing field is empty.
    for key in ("parents", "entity_confidence"):
        values[key] = tuple(values.get(key, ()))
    return Row(**values)


def outcome_from_dict(record: dict[str, Any]) -> Outcome:
    """Rebuilds an Outcome from its JSON form.

    Args:
        record: Output of :func:`dataclasses.asdict`, after a round trip through JSON.
    """
    # JSON turns tuples into lists; missing tags are empty.
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
