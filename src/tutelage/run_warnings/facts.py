"""What the warnings about a finished run look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.records import Outcome, Row, outcome_from_dict
from tutelage.runs.folder import RunFolder
from tutelage.tasks.opinions import TeacherOpinion
from tutelage.tasks.protocol import Task

ENOUGH = 20
"""Smallest number of rows or requests of which a share means something."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the checks look at.

    Attributes:
        task: The task.
        settings: The run's configuration, nested.
        rows: The whole pool.
        test: The student's outcomes on test at the end.
        teacher: The teacher's own predictions on test; empty if they were not asked for.
        mistakes: Number of mistakes behind each round of growth.
        rounds: Rounds done.
        stopped_by: Why growth ended.
        requests: Requests to the teacher.
        failed: Failed requests among them.
    """

    task: Task
    settings: Mapping[str, Any]
    rows: Sequence[Row] = ()
    test: Sequence[Outcome] = ()
    teacher: Sequence[TeacherOpinion] = ()
    mistakes: Sequence[int] = ()
    rounds: int = 0
    stopped_by: str = ""
    requests: int = 0
    failed: int = 0

    @property
    def grown(self) -> list[Row]:
        """The rows with a teacher's label."""
        return [row for row in self.rows if not row.given]


def facts_of(
    folder: RunFolder,
    settings: Mapping[str, Any],
    task: Task,
    rows: Sequence[Row],
    result: Mapping[str, Any],
) -> Facts:
    """Gathers the facts about a finished run.

    Args:
        folder: The run's folder, with its predictions and the feedback of each round.
        settings: The run's configuration, nested.
        task: The task.
        rows: The whole pool.
        result: Contents of result.json.
    """
    opinions = folder.read_lines("teacher/evaluation.jsonl") if result["teacher"] else ()
    feedback = (f"feedback/round-{round:03d}.jsonl" for round in range(1, result["rounds"] + 1))
    requests = result["requests"] or {"all": 0, "failed": 0}
    return Facts(
        task,
        settings,
        rows,
        tuple(map(outcome_from_dict, folder.read_lines("predictions/test-after.jsonl"))),
        tuple(map(task.read_opinion, opinions)),
        tuple(len(folder.read_lines(name)) for name in feedback),
        result["rounds"],
        result["stopped_by"],
        requests["all"],
        requests["failed"],
    )
