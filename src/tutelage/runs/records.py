"""The records that a run folder is read into, and how each is read from what JSON gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tutelage.records import ClassScore, Outcome, Row, outcome_from_dict, row_from_dict
from tutelage.tasks.protocol import Metric, Task
from tutelage.tasks.spans import read_spans

DEFAULT_MODE = "f1_default"
"""NER's F1 in seqeval's default mode: shown beside what is quoted, for a reader of papers that quote it; no run is compared by it."""


@dataclass(frozen=True, slots=True)
class Scores:
    """A task's metrics over some examples.

    Attributes:
        values: each metric in [0, 1] by its key.
        per_class: the score of each class (for NER entity type) where it is known.
        errors: for NER how many errors of each kind.
    """

    values: dict[str, float]
    per_class: dict[str, ClassScore] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    def value(self, key: str) -> float:
        """A metric; not a number where it is not known."""
        return self.values.get(key, math.nan)


@dataclass(frozen=True, slots=True)
class RoundMetrics:
    """One line of metrics.jsonl. ``billed_tokens`` and ``spent_tokens`` count from the start of the run."""

    round: int
    billed_tokens: int
    spent_tokens: int
    dev: Scores | None
    test: Scores | None
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class GrowthLog:
    """One growth/round-NNN.json: what the teacher was asked for in a round. ``quota`` is keyed "label/kind"."""

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
    """A line of selection.jsonl: what the train selector made of one batch.

    Attributes:
        seen, kept: rows without gold, by the place of their class (for NER the number of types where there is no entity).
        right_of_seen, right_of_kept: how many of them carry their gold target, and of how many it is known.
        tau_teacher, tau_student: LLKD's thresholds by class, None for a class not seen yet; empty for other selectors.
    """

    seen: dict[int, int]
    kept: dict[int, int]
    right_of_seen: tuple[int, int]
    right_of_kept: tuple[int, int]
    tau_teacher: tuple[float | None, ...]
    tau_student: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class TeacherOpinion:
    """The teacher alone on one test example.

    Attributes:
        predicted: the target that it gave; where it gave none "", for NER a marking without entities.
        probabilities: in the task's label order; for NER one an entity of ``predicted``, in order. Empty where it gave no target.
        raw: the same before calibration; empty for NER.
        error: why it gave no target, "" where it did.
    """

    id: str
    text: str
    target: str
    predicted: str
    probabilities: tuple[float, ...]
    raw: tuple[float, ...]
    error: str = ""


def scores_of(metrics: dict[str, Any]) -> Scores:
    """What a task's ``metrics`` gave."""
    return Scores(
        values={
            key: float(value) for key, value in metrics.items() if isinstance(value, int | float)
        },
        per_class={
            label: ClassScore(**score) for label, score in metrics.get("per_class", {}).items()
        },
        errors={str(kind): int(count) for kind, count in metrics.get("errors", {}).items()},
    )


def _scores(quoted: Sequence[Metric], record: dict[str, Any] | None) -> Scores | None:
    if record is None:
        return None
    found = scores_of(record)
    for metric in quoted:
        found.values[metric.key] = float(record[metric.key])
    return found


def read_round(quoted: Sequence[Metric], record: dict[str, Any]) -> RoundMetrics:
    """A line of metrics.jsonl, with the metrics ``quoted`` at least."""
    return RoundMetrics(
        round=int(record["round"]),
        billed_tokens=int(record.get("billed_tokens") or 0),
        spent_tokens=int(record.get("spent_tokens") or 0),
        dev=_scores(quoted, record.get("dev")),
        test=_scores(quoted, record.get("test")),
        seconds=dict(record.get("seconds") or {}),
    )


def read_selection(record: dict[str, Any]) -> SelectionStep:
    """A line of selection.jsonl."""

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
    """A file of growth/."""
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
    """A line of pool/rows.jsonl. For NER a rejected row that was never marked counts as one without entities."""
    row = row_from_dict(record)
    if task.is_token_level:
        try:
            read_spans(row.target)
        except (TypeError, ValueError):
            if row.accepted:
                raise
            return replace(row, target="[]")
    return row


def read_outcome(task: Task, record: dict[str, Any]) -> Outcome:
    """A line of predictions/ or feedback/."""
    outcome = outcome_from_dict(record)
    if task.is_token_level:
        read_spans(outcome.target), read_spans(outcome.predicted)
    return outcome


def read_opinion(task: Task, record: dict[str, Any]) -> TeacherOpinion:
    """A line of teacher/evaluation.jsonl."""
    by_word = task.is_token_level
    target, text = str(record["target"]), str(record.get("text", ""))
    if by_word:
        read_spans(target)
    if record.get("error"):
        return TeacherOpinion(
            str(record["id"]), text, target, "[]" if by_word else "", (), (), str(record["error"])
        )
    probabilities = tuple(map(float, record["confidences" if by_word else "probabilities"]))
    raw = () if by_word else tuple(map(float, record.get("raw") or ())) or probabilities
    count, each = (
        (len(read_spans(str(record["predicted"]))), "an entity")
        if by_word
        else (len(task.labels), "a label")
    )
    for name, given in (
        (("confidences", probabilities),)
        if by_word
        else (("probabilities", probabilities), ("raw", raw))
    ):
        # A hair above 1 is what sums of float32 come to.
        if len(given) != count or not all(0.0 <= share <= 1.000001 for share in given):
            raise ValueError(f'"{name}" must hold {count} numbers in [0, 1], one {each}')
    predicted = (
        str(record["predicted"])
        if by_word
        else task.labels[probabilities.index(max(probabilities))].name
    )
    return TeacherOpinion(str(record["id"]), text, target, predicted, probabilities, raw)
