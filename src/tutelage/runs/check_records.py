"""Records that `audit`, `review` and `guarantee` add to a run folder, and their readers.

Each record is checked before (:mod:`tutelage.runs.shapes`): the folder may be damaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tutelage.runs.shapes import (
    AuditShape,
    GuaranteeShape,
    ReviewShape,
    SampledShape,
    SuspectShape,
)
from tutelage.tasks.protocol import Task


@dataclass(frozen=True, slots=True)
class Suspect:
    """One line of audit.jsonl: a label that is perhaps wrong.

    Attributes:
        id: Id of the row or example.
        text: Its text.
        split: "pool" for a label of the teacher, "dev" or "test" for a gold label.
        label: The label in doubt; for NER, the marked spans.
        suggested: What it should perhaps be, in the same form.
        probability: For the pool, the held-out probability of the label; for NER that of its least
            probable word. For dev and test, the lowest confidence of those that agree on
            ``suggested``.
        why: What speaks against the label.
    """

    id: str
    text: str
    split: str
    label: str
    suggested: str
    probability: float
    why: str


@dataclass(frozen=True, slots=True)
class AuditedClass:
    """The pool's labels of one class.

    Attributes:
        name: The class; for NER an entity type, or "O" for the words outside entities.
        units: Rows, for NER words, with a label of the class.
        expected: How many of these labels the confident joint expects to be wrong.
        known: How many of them have a gold label.
        wrong: How many of those differ from it.
    """

    name: str
    units: int
    expected: float
    known: int
    wrong: int


@dataclass(frozen=True, slots=True)
class AuditedSplit:
    """The counts of one audited split.

    Attributes:
        split: "pool", "dev" or "test".
        texts: Number of texts whose labels were audited.
        suspects: Number of suspects among them.
        known: For the pool, the number of suspects with a known gold label.
        wrong: For the pool, the number of those whose label differs from it.
        by: Who judged: "classifier" for the pool; "student" and "teacher" for dev and test.
    """

    split: str
    texts: int
    suspects: int
    known: int
    wrong: int
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """audit.json: the counts behind audit.jsonl.

    Attributes:
        units: What the classes count: "rows", or "words" for NER.
        classes: The pool's classes.
        splits: The audited splits.
        min_confidence: Lowest confidence that makes a suspect of a gold label.
        notes: What was left out, and why.
    """

    units: str
    classes: tuple[AuditedClass, ...]
    splits: tuple[AuditedSplit, ...]
    min_confidence: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SampledRow:
    """One line of review/sample.jsonl: a row of the pool that people are to label.

    Attributes:
        id: Id of the row.
        part: Why it was drawn: "control" (at random), "unsure" or "disputed".
        teacher: The teacher's label; for NER, the marked spans.
        student: The student's label, in the same form.
    """

    id: str
    part: str
    teacher: str
    student: str


@dataclass(frozen=True, slots=True)
class ReviewedPart:
    """Labels by people of one part of the sample.

    Attributes:
        part: "control", "unsure" or "disputed".
        drawn: Rows in the sample.
        labelled: Rows with a label by people.
        teacher: How many of those the teacher had labelled so, too.
        student: The same for the student.
    """

    part: str
    drawn: int
    labelled: int
    teacher: int
    student: int


@dataclass(frozen=True, slots=True)
class ReviewedScore:
    """A score on the control, with its 95 % interval.

    Attributes:
        who: "teacher" or "student".
        metric: Title of the metric.
        value: The score.
        low: Lower end.
        high: Upper end.
    """

    who: str
    metric: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Review:
    """review/review.json: the imported labels and their counts.

    Attributes:
        file: Name of the imported file.
        sha256: Its SHA-256.
        gold_sha256: SHA-256 of review/gold.jsonl.
        gold: Number of rows in it.
        skipped: Rows that every annotator skipped.
        open: Rows of the sample that nobody has labelled.
        undecided: Rows on whose label no majority agrees.
        several: Rows with the labels of several annotators.
        agreed: How many of those have one label by all.
        annotators: Number of annotators.
        widened: For NER, marks that were widened to whole words.
        parts: The parts of the sample.
        scores: Teacher and student on the control; empty without a labelled row in it.
    """

    file: str
    sha256: str
    gold_sha256: str
    gold: int
    skipped: int
    open: int
    undecided: int
    several: int
    agreed: int
    annotators: int
    widened: int
    parts: tuple[ReviewedPart, ...]
    scores: tuple[ReviewedScore, ...]


@dataclass(frozen=True, slots=True)
class GuaranteedSplit:
    """The counts of one split under a guarantee.

    Attributes:
        split: "dev", which it is made from, or "test".
        texts: Number of texts.
        kept: Texts whose confidence reaches the threshold; 0 without a threshold.
        right: How many of the kept are predicted right.
        covered: Texts whose set holds the right label; None for NER.
        labels: Number of labels in all sets; None for NER.
    """

    split: str
    texts: int
    kept: int
    right: int
    covered: int | None
    labels: int | None


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers the texts of test, how well and at what price.

    Attributes:
        who: "student", "teacher", or "both" (the teacher where the student abstains).
        accuracy: Share of right answers; for NER of texts with all entities right.
        tokens: Billed teacher tokens per 1,000 texts; None if they are unknown.
    """

    who: str
    accuracy: float
    tokens: float | None


@dataclass(frozen=True, slots=True)
class Guarantee:
    """guarantee.json: a confidence threshold and label sets with guarantees, from dev.

    Attributes:
        student: Hash of the student's files (:func:`tutelage.student.abstention.student_digest`).
        accuracy: Target of the accuracy of the kept predictions.
        risk: Probability with which the threshold may miss that target.
        coverage: Target of the share of sets that hold the right label.
        threshold: Lowest confidence that is kept; None if no threshold meets the target.
        bound: Lower bound of the accuracy of the kept; None without a threshold.
        missing: Without a threshold, how many more dev texts are needed at least; else 0.
        probability: Probability that a label needs to be in a set; None for NER.
        splits: The splits.
        routes: Who could answer; empty without the teacher's labels of test.
        notes: What weakens the guarantee, and what was left out.
    """

    student: str
    accuracy: float
    risk: float
    coverage: float
    threshold: float | None
    bound: float | None
    missing: int
    probability: float | None
    splits: tuple[GuaranteedSplit, ...]
    routes: tuple[Route, ...]
    notes: tuple[str, ...]


def read_suspect(task: Task, record: dict[str, Any]) -> Suspect:
    """Parse a line of audit.jsonl; both of its labels must be well-formed."""
    SuspectShape.model_validate(record)
    suspect = Suspect(**{name: record[name] for name in Suspect.__dataclass_fields__})
    task.check_target(suspect.label)
    task.check_target(suspect.suggested)
    return suspect


def read_audit(record: dict[str, Any]) -> Audit:
    """Parse audit.json."""
    AuditShape.model_validate(record)
    return Audit(
        units=record["units"],
        classes=tuple(_built(AuditedClass, one) for one in record["classes"]),
        splits=tuple(
            _built(AuditedSplit, {**one, "by": tuple(one["by"])}) for one in record["splits"]
        ),
        min_confidence=record["min_confidence"],
        notes=tuple(record["notes"]),
    )


def read_sampled(task: Task, record: dict[str, Any]) -> SampledRow:
    """Parse a line of review/sample.jsonl; both of its labels must be well-formed."""
    SampledShape.model_validate(record)
    sampled: SampledRow = _built(SampledRow, record)
    task.check_target(sampled.teacher)
    task.check_target(sampled.student)
    return sampled


def read_review(record: dict[str, Any]) -> Review:
    """Parse review/review.json."""
    ReviewShape.model_validate(record)
    parts = tuple(_built(ReviewedPart, one) for one in record["parts"])
    scores = tuple(_built(ReviewedScore, one) for one in record["scores"])
    review: Review = _built(Review, {**record, "parts": parts, "scores": scores})
    return review


def read_guarantee(record: dict[str, Any]) -> Guarantee:
    """Parse guarantee.json."""
    GuaranteeShape.model_validate(record)
    splits = tuple(_built(GuaranteedSplit, one) for one in record["splits"])
    routes = tuple(_built(Route, one) for one in record["routes"])
    nested = {"splits": splits, "routes": routes, "notes": tuple(record["notes"])}
    guarantee: Guarantee = _built(Guarantee, {**record, **nested})
    return guarantee


def _built(kind: type[Any], given: dict[str, Any]) -> Any:
    return kind(**{name: given[name] for name in kind.__dataclass_fields__})
