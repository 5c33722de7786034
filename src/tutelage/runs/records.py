"""Records of a run folder, and the functions that build them from parsed JSON.

Each record is checked before (:mod:`tutelage.runs.shapes`): the folder may be damaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tutelage.records import (
    ClassScore,
    LabelDistribution,
    Outcome,
    Row,
    outcome_from_dict,
    row_from_dict,
)
from tutelage.runs.shapes import (
    AuditShape,
    GrowthShape,
    GuaranteeShape,
    OutcomeShape,
    ReviewShape,
    RoundShape,
    RowShape,
    SampledShape,
    SelectionShape,
    SuspectShape,
)
from tutelage.tasks.protocol import Metric, Task

_LARGEST = 1e300
_ROUNDING = 1e-6
"""Sums of float32 numbers may leave [0, 1] by this much."""


@dataclass(frozen=True, slots=True)
class Scores:
    """A task's metrics over a set of examples.

    Attributes:
        values: Each metric in [0, 1] by its key.
        per_class: Score of each class (for NER, of each entity type) where known.
        errors: For NER, the number of errors of each kind.
    """

    values: dict[str, float]
    per_class: dict[str, ClassScore] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    def value(self, key: str) -> float:
        """Return a metric, or NaN if it is unknown."""
        return self.values.get(key, math.nan)


@dataclass(frozen=True, slots=True)
class RoundMetrics:
    """One line of metrics.jsonl.

    Attributes:
        round: Round number; 0 is the student before any growth.
        billed_tokens: Billed teacher tokens since the start of the run.
        spent_tokens: Tokens sent to the engine since the start of the run.
        dev: Scores on dev.
        test: Scores on test; None if the round was not tested.
        seconds: Time by phase.
    """

    round: int
    billed_tokens: int
    spent_tokens: int
    dev: Scores | None
    test: Scores | None
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class GrowthLog:
    """One growth/round-NNN.json: a round's requests to the teacher.

    Attributes:
        round: Round number.
        analysis: The teacher's analysis of the student's mistakes; "" without one.
        quota: Number of requested texts by "label/kind".
        seconds: Time by phase.
        asked: Requests sent to the teacher.
        answered: Requests with a reply.
        rejected: Replies without an accepted row.
        failed: Requests without a reply.
        prompt: The analysis prompt as it was sent.
    """

    round: int
    analysis: str
    quota: dict[str, int]
    seconds: dict[str, float]
    asked: int
    answered: int
    rejected: int
    failed: int
    prompt: str


@dataclass(frozen=True, slots=True)
class SelectionStep:
    """One line of selection.jsonl: the train selector's choice from one batch.

    Attributes:
        seen: Rows without gold labels in the batch, by class index (for NER, the number of types
            stands for texts without entities).
        kept: The same for the rows that were kept.
        right_of_seen: How many of ``seen`` carry their gold target, and for how many it is known.
        right_of_kept: The same for ``kept``.
        tau_teacher: LLKD's teacher threshold by class; None for a class not seen yet, empty for
            other selectors.
        tau_student: LLKD's student threshold by class, likewise.
    """

    seen: dict[int, int]
    kept: dict[int, int]
    right_of_seen: tuple[int, int]
    right_of_kept: tuple[int, int]
    tau_teacher: tuple[float | None, ...]
    tau_student: tuple[float | None, ...]


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
    """What an audit did with a split.

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
    """What people made of a part of the sample.

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
    """review/review.json: what was imported, and what it says.

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
    """What a guarantee does to a split.

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


def scores_of(metrics: dict[str, Any]) -> Scores:
    """Build :class:`Scores` from the dictionary returned by a task's ``metrics``."""
    return Scores(
        values={
            key: float(value)
            for key, value in metrics.items()
            if isinstance(value, int | float) and abs(value) < _LARGEST
        },
        per_class={
            label: ClassScore(**score) for label, score in metrics.get("per_class", {}).items()
        },
        errors={str(kind): int(count) for kind, count in metrics.get("errors", {}).items()},
    )


def _scores(required: Sequence[Metric], record: dict[str, Any] | None) -> Scores | None:
    if record is None:
        return None
    found = scores_of(record)
    # A missing headline metric is an error, unlike any other metric.
    for metric in required:
        found.values[metric.key] = checked_share(metric, record[metric.key])
    return found


def checked_share(metric: Metric, value: object) -> float:
    """Return the value of a headline metric.

    Raises:
        ValueError: If it is no number in [0, 1].
    """
    if not isinstance(value, int | float) or not -_ROUNDING <= value <= 1 + _ROUNDING:
        raise ValueError(f"{metric.title} is {value!r}, not in [0, 1]")
    return float(value)


def read_round(required: Sequence[Metric], record: dict[str, Any]) -> RoundMetrics:
    """Parse a line of metrics.jsonl.

    Args:
        required: Metrics that every scored split must contain.
        record: The parsed line.

    Raises:
        KeyError: If a required metric or the round is missing.
        ValueError: If a value has another type or an impossible size.
    """
    RoundShape.model_validate(record)
    return RoundMetrics(
        round=int(record["round"]),
        billed_tokens=int(record.get("billed_tokens") or 0),
        spent_tokens=int(record.get("spent_tokens") or 0),
        dev=_scores(required, record.get("dev")),
        test=_scores(required, record.get("test")),
        seconds=dict(record.get("seconds") or {}),
    )


def read_selection(record: dict[str, Any]) -> SelectionStep:
    """Parse a line of selection.jsonl."""
    SelectionShape.model_validate(record)

    def pair(name: str) -> tuple[int, int]:
        right, known = record[name]
        return int(right), int(known)

    return SelectionStep(
        seen={int(key): int(count) for key, count in record["seen"].items()},
        kept={int(key): int(count) for key, count in record["kept"].items()},
        right_of_seen=pair("right_of_seen"),
        right_of_kept=pair("right_of_kept"),
        tau_teacher=tuple(record.get("tau_teacher") or ()),
        tau_student=tuple(record.get("tau_student") or ()),
    )


def read_growth(record: dict[str, Any]) -> GrowthLog:
    """Parse a file of growth/."""
    GrowthShape.model_validate(record)
    return GrowthLog(
        round=int(record["round"]),
        analysis=str(record.get("analysis") or ""),
        quota={str(key): int(count) for key, count in (record.get("quota") or {}).items()},
        seconds=dict(record.get("seconds") or {}),
        asked=int(record.get("asked") or 0),
        answered=int(record.get("answered") or 0),
        rejected=int(record.get("rejected") or 0),
        failed=int(record.get("failed") or 0),
        prompt=str(record.get("prompt") or ""),
    )


def read_row(task: Task, record: dict[str, Any]) -> Row:
    """Parse a line of pool/rows.jsonl.

    A rejected row without a readable target gets an empty one.
    """
    RowShape.model_validate(record)
    row = row_from_dict(record)
    if row.distribution:
        _check_lengths(row.distribution)
    try:
        task.check_target(row.target)
    except (TypeError, ValueError):
        if row.accepted:
            raise
        return replace(row, target=task.empty_target)
    return row


def read_outcome(task: Task, record: dict[str, Any]) -> Outcome:
    """Parse a line of predictions/ or feedback/; both of its targets must be well-formed."""
    OutcomeShape.model_validate(record)
    outcome = outcome_from_dict(record)
    task.check_target(outcome.target)
    task.check_target(outcome.predicted)
    return outcome


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


def _check_lengths(given: LabelDistribution) -> None:
    for name, values in (("probabilities", given.probabilities), ("raw", given.raw)):
        if len(values) != len(given.labels) and (values or name == "probabilities"):
            raise ValueError(f"{len(given.labels)} labels, but {len(values)} in {name!r}")
