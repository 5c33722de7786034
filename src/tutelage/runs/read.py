"""Reads a run folder into one frozen record, at any stage of the run.

docs/reference/run-folder.md describes the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tutelage.errors import RunError
from tutelage.records import Label, Outcome, Row
from tutelage.runs.check_records import Audit, Guarantee, Review, Suspect, read_suspect
from tutelage.runs.files import RunFiles
from tutelage.runs.records import (
    GrowthLog,
    RoundMetrics,
    SelectionStep,
    read_outcome,
    read_round,
    read_row,
    read_selection,
)
from tutelage.runs.shapes import ManifestShape
from tutelage.tasks.opinions import TeacherOpinion
from tutelage.tasks.protocol import Metric, Task
from tutelage.tasks.registry import TASKS, UNNAMED, new_task


@dataclass(frozen=True)
class Run:
    """Everything that a report needs to know about one run.

    Attributes:
        folder: The run's folder.
        task: The task with its label space, rebuilt from the manifest.
        headline_metrics: The two metrics that represent the run; runs are compared by the first.
        manifest: Contents of manifest.json.
        status: Contents of status.json.
        result: Contents of result.json; empty until the run is done.
        metrics: One record per round, in order. If a resumed run wrote a round twice, the last one.
        rows: The whole pool, in the order of writing.
        feedback: Misclassified examples by the number in the file name.
        growth: Growth records by round.
        selection: Choices of the train selector, step by step; empty without one.
        before: Outcomes on test before growth; empty until they are written.
        after: Outcomes on test at the end; empty until they are written.
        supervised: Outcomes of the supervised ceiling on test; empty if it was not trained.
        teacher: Teacher predictions on test; empty if the teacher was not evaluated.
        audit: Counts of the label audit; None without one.
        suspects: The audit's suspects, in its order.
        guarantee: The student's guarantee; None without one.
        review: What people made of a sample of the pool; None without an imported review.
        config: Text of config.yaml; "" if there is none.
        notes: Remarks shown in the report: limitations of the teacher's engine, and irregularities
            tolerated while reading.
    """

    folder: Path
    task: Task
    headline_metrics: tuple[Metric, Metric]
    manifest: dict[str, Any]
    status: dict[str, Any]
    result: dict[str, Any]
    metrics: tuple[RoundMetrics, ...]
    rows: tuple[Row, ...]
    feedback: dict[int, tuple[Outcome, ...]]
    growth: dict[int, GrowthLog]
    selection: tuple[SelectionStep, ...]
    before: tuple[Outcome, ...]
    after: tuple[Outcome, ...]
    supervised: tuple[Outcome, ...]
    teacher: tuple[TeacherOpinion, ...]
    audit: Audit | None
    suspects: tuple[Suspect, ...]
    guarantee: Guarantee | None
    review: Review | None
    config: str
    notes: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the task's order."""
        return tuple(label.name for label in self.task.labels)

    @property
    def grew(self) -> bool:
        """Whether there is one student before growth and another one after; True while unknown."""
        return bool(self.result.get("rounds", True))

    @property
    def self_labelled(self) -> bool:
        """Whether the student labelled texts of the pool itself, in place of a teacher."""
        return any(row.by_student for row in self.rows)

    @property
    def state(self) -> str:
        """One of "running", "done", "interrupted", "failed" and "unknown"."""
        return str(self.status["state"])

    def feedback_for(self, growth_round: int) -> tuple[Outcome, ...]:
        """Return the mistakes behind the growth of ``growth_round``.

        The mistakes of round n feed growth n + 1. If feedback/ and growth/ start at the same round
        number, however, each growth has the number of its own feedback, and that number is used.
        """
        same = bool(self.feedback and self.growth) and min(self.feedback) == min(self.growth)
        return self.feedback.get(growth_round if same else growth_round - 1, ())


def read_run(folder: Path, *, tolerant: bool = False) -> Run:
    """Read a run folder.

    Files not written yet count as empty, and a half-written last line is left out and noted.

    Args:
        folder: A folder that contains manifest.json and status.json.
        tolerant: Leave out what cannot be read, with a note, instead of raising an error. Only
            the label space, without which nothing has a meaning, must be readable.

    Raises:
        RunError: If the folder, manifest.json or status.json is missing, or a file violates
            docs/reference/run-folder.md.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(
            f"There is no run folder {folder}. "
            "Give a folder that contains manifest.json, such as outputs/<name>/<time>."
        )
    files = RunFiles(folder, tolerant)
    # These two exist from the start, and the task decides how all other files are parsed.
    manifest = files.essential("manifest.json", ("labels",))
    task = _task(folder / "manifest.json", manifest)
    headline_metrics = _headline_metrics(folder / "manifest.json", manifest, task)
    manifest = files.shaped(ManifestShape, "manifest.json", manifest)
    teacher = manifest.get("teacher") or {}
    files.notes[:0] = [str(note) for note in teacher.get("notes") or ()]
    status = files.status()
    files.check_whole(status["state"])
    outcome = partial(read_outcome, task)
    # A resumed run may write a round again: later lines replace earlier ones.
    metrics = {
        line.round: line
        for line in files.lines("metrics.jsonl", partial(read_round, headline_metrics))
    }
    # The files below appear in the course of a run; each may still be absent.
    return Run(
        folder=folder,
        task=task,
        headline_metrics=headline_metrics,
        manifest=manifest,
        status=status,
        result=files.result(headline_metrics),
        metrics=tuple(metrics[number] for number in sorted(metrics)),
        rows=tuple(files.lines("pool/rows.jsonl", partial(read_row, task))),
        feedback={
            number: tuple(files.lines(name, outcome))
            for number, name in files.numbered("feedback", "jsonl").items()
        },
        growth={
            number: growth
            for number, name in files.numbered("growth", "json").items()
            if (growth := files.growth(name))
        },
        selection=tuple(files.lines("selection.jsonl", read_selection)),
        before=tuple(files.lines("predictions/test-before.jsonl", outcome)),
        after=tuple(files.lines("predictions/test-after.jsonl", outcome)),
        supervised=tuple(files.lines("supervised/predictions/test-after.jsonl", outcome)),
        teacher=tuple(files.lines("teacher/evaluation.jsonl", task.read_opinion)),
        audit=files.audit(),
        suspects=tuple(files.lines("audit.jsonl", partial(read_suspect, task))),
        guarantee=files.guarantee(),
        review=files.review(),
        config=files.text("config.yaml"),
        notes=tuple(files.notes),
    )


def _task(path: Path, manifest: dict[str, Any]) -> Task:
    """Rebuild the task of a run, with the label space of its manifest."""
    if not isinstance(manifest["labels"], list) or not all(
        isinstance(label, dict) and "name" in label for label in manifest["labels"]
    ):
        raise RunError(
            f'{path}: "labels" must be a list of objects with a "name". Run again to replace it.'
        )
    labels = [
        Label(str(label["name"]), str(label.get("word", "")), str(label.get("description", "")))
        for label in manifest["labels"]
    ]
    name = manifest.get("task", UNNAMED)
    if not isinstance(name, str) or name not in TASKS:
        raise RunError(
            f'{path}: "task" is {name!r}, which is neither {" nor ".join(TASKS)}. '
            "Read the folder with the version that wrote it, or run again."
        )
    return new_task(name, labels)


def _headline_metrics(path: Path, manifest: dict[str, Any], task: Task) -> tuple[Metric, Metric]:
    # Older manifests do not name the metrics; the task's own ones then apply.
    if "metrics" not in manifest:
        return task.headline_metrics
    try:
        first, second = (
            Metric(str(given["key"]), str(given["title"])) for given in manifest["metrics"]
        )
    except (KeyError, TypeError, ValueError):
        raise RunError(
            f'{path}: "metrics" must be two objects with "key" and "title". '
            "Run again to replace it."
        ) from None
    return first, second
