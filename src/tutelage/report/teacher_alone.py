"""The teacher alone is measured on every test text: one that it could not label counts as wrong, in the score, the count and the interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tutelage.records import Outcome
from tutelage.runs.records import TeacherOpinion
from tutelage.tasks.protocol import Task


def teacher_outcomes(
    task: Task, opinions: Sequence[TeacherOpinion], *, raw: bool = False
) -> tuple[Outcome, ...]:
    """The opinions as outcomes, one a test text; with ``raw`` those before calibration, of which NER has none."""
    return (
        ()
        if raw and task.is_token_level
        else tuple(_outcome(task, opinion, raw) for opinion in opinions)
    )


def teacher_metrics(
    task: Task, opinions: Sequence[TeacherOpinion], *, raw: bool = False
) -> dict[str, Any]:
    """The task's metrics of the teacher on test; with ``raw`` before calibration.

    A text that it could not label is wrong. For NER it holds no entity that counts, so it costs the recall of those that are there; and
    where there is none, the text is not right for that.
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
    # A text without entities, or without an answer, has no confidence to carry.
    return Outcome(opinion.id, opinion.text, opinion.target, predicted, given or (1.0,), "test", 0)
