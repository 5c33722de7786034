"""Evaluation of the teacher alone, on every test text.

A text that the teacher could not label counts as wrong in the score, the count and the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tutelage.records import Outcome
from tutelage.tasks.opinions import TeacherOpinion
from tutelage.tasks.protocol import Task


def teacher_outcomes(
    task: Task, opinions: Sequence[TeacherOpinion], *, raw: bool = False
) -> tuple[Outcome, ...]:
    """Convert the teacher's predictions to outcomes, one per test text.

    Args:
        task: The task.
        opinions: The teacher's predictions.
        raw: Take the predictions before calibration; empty if the task does not record them.
    """
    if raw and not task.records_raw_opinions:
        return ()
    return tuple(_outcome(task, opinion, raw) for opinion in opinions)


def teacher_metrics(
    task: Task, opinions: Sequence[TeacherOpinion], *, raw: bool = False
) -> dict[str, Any]:
    """Return the task's metrics of the teacher on test.

    A text that the teacher could not label is wrong. For NER it counts as a text without predicted
    entities, which costs recall; if it has no gold entities either, it is still not counted as
    correct in "accuracy".

    Args:
        task: The task.
        opinions: The teacher's predictions.
        raw: Take the predictions before calibration.
    """
    outcomes = teacher_outcomes(task, opinions, raw=raw)
    metrics = task.metrics(outcomes)
    if outcomes:
        right = sum(
            outcome.correct and not opinion.error
            for outcome, opinion in zip(outcomes, opinions, strict=True)
        )
        metrics["accuracy"] = right / len(outcomes)
    return metrics


def _outcome(task: Task, opinion: TeacherOpinion, raw: bool) -> Outcome:
    given, predicted = opinion.probabilities, opinion.predicted
    if raw and opinion.raw:
        given, predicted = opinion.raw, task.read([opinion.raw]).predicted
    # A text without entities, or without an answer, has no confidence; 1.0 is a placeholder.
    return Outcome(opinion.id, opinion.text, opinion.target, predicted, given or (1.0,), "test", 0)
