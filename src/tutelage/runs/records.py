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
    GrowthShape,
    OutcomeShape,
    RoundShape,
    RowShape,
    SelectionShape,
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


def _check_lengths(given: LabelDistribution) -> None:
    for name, values in (("probabilities", given.probabilities), ("raw", given.raw)):
        if len(values) != len(given.labels) and (values or name == "probabilities"):
            raise ValueError(f"{len(given.labels)} labels, but {len(values)} in {name!r}")
