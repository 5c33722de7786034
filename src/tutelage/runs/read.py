"""Reads a run folder into one frozen record, at any stage of the run.

docs/reference/run-folder.md describes the files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tutelage.errors import RunError
from tutelage.records import Label, Outcome, Row
from tutelage.runs.records import (
    GrowthLog,
    RoundMetrics,
    SelectionStep,
    read_growth,
    read_outcome,
    read_round,
    read_row,
    read_selection,
)
from tutelage.tasks.opinions import TeacherOpinion
from tutelage.tasks.protocol import Metric, Task
from tutelage.tasks.registry import TASKS, UNNAMED, new_task

T = TypeVar("T")


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
    def state(self) -> str:
        """One of "running", "done", "interrupted" and "failed"."""
        return str(self.status["state"])

    def feedback_for(self, growth_round: int) -> tuple[Outcome, ...]:
        """Return the mistakes behind the growth of ``growth_round``.

        The mistakes of round n feed growth n + 1. If feedback/ and growth/ start at the same round
        number, however, each growth has the number of its own feedback, and that number is used.
        """
        same = bool(self.feedback and self.growth) and min(self.feedback) == min(self.growth)
        return self.feedback.get(growth_round if same else growth_round - 1, ())


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Files not written yet count as empty, and a half-written last line is left out and noted.

    Args:
        folder: A folder that contains manifest.json and status.json.

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
    # These two exist from the start, and the task decides how all other files are parsed.
    manifest = _essential(folder / "manifest.json", ("labels",))
    notes = [str(note) for note in (manifest.get("teacher") or {}).get("notes") or ()]
    task = _task(folder / "manifest.json", manifest)
    headline_metrics = _headline_metrics(folder / "manifest.json", manifest, task)
    outcome = partial(read_outcome, task)
    # A resumed run may write a round again: later lines replace earlier ones.
    metrics = {
        line.round: line
        for line in _lines(folder / "metrics.jsonl", partial(read_round, headline_metrics), notes)
    }
    config = folder / "config.yaml"
    # The files below appear in the course of a run; each may still be absent.
    return Run(
        folder=folder,
        task=task,
        headline_metrics=headline_metrics,
        manifest=manifest,
        status=_essential(folder / "status.json", ("state",)),
        result=_object(folder / "result.json") or {},
        metrics=tuple(metrics[number] for number in sorted(metrics)),
        rows=tuple(_lines(folder / "pool" / "rows.jsonl", partial(read_row, task), notes)),
        feedback={
            number: tuple(_lines(path, outcome, notes))
            for number, path in _numbered(folder / "feedback", "jsonl").items()
        },
        growth={
            number: _growth(path) for number, path in _numbered(folder / "growth", "json").items()
        },
        selection=tuple(_lines(folder / "selection.jsonl", read_selection, notes)),
        before=tuple(_lines(folder / "predictions" / "test-before.jsonl", outcome, notes)),
        after=tuple(_lines(folder / "predictions" / "test-after.jsonl", outcome, notes)),
        supervised=tuple(
            _lines(folder / "supervised" / "predictions" / "test-after.jsonl", outcome, notes)
        ),
        teacher=tuple(_lines(folder / "teacher" / "evaluation.jsonl", task.read_opinion, notes)),
        config=_bytes(config).decode("utf-8", errors="replace") if config.is_file() else "",
        notes=tuple(notes),
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunError(
            f"{path} cannot be read: {error.strerror}. Check its permissions and the disk."
        ) from error


def _object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``path``, or None if there is no such file."""
    if not path.is_file():
        return None
    try:
        found = json.loads(_bytes(path).decode("utf-8"))
    except ValueError as error:
        raise RunError(
            f"{path} is not valid JSON ({error}), so it was damaged after it was written. "
            "Resume the run, or restore the file."
        ) from error
    if not isinstance(found, dict):
        raise RunError(
            f"{path} contains a {type(found).__name__} instead of a JSON object. "
            "Resume the run, or restore the file."
        )
    return found


def _essential(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    found = _object(path)
    if found is None:
        raise RunError(
            f"{path} is missing: this is not a run folder, or the run failed while starting. "
            "Give another folder, or run again."
        )
    for key in keys:
        if key not in found:
            raise RunError(
                f'{path} has no "{key}". It was written by another version or by hand; '
                "run again to replace it."
            )
    return found


def _lines(path: Path, parse: Callable[[dict[str, Any]], T], notes: list[str]) -> list[T]:
    """Parse a JSON-lines file; a truncated last line is left out and noted."""
    if not path.is_file():
        return []
    # Split the bytes: str.splitlines would also split at U+2028 inside a text, and a truncated
    # UTF-8 character must not spoil the other lines.
    lines = [
        (number, line) for number, line in enumerate(_bytes(path).split(b"\n"), 1) if line.strip()
    ]
    records = []
    for position, (number, line) in enumerate(lines, 1):
        try:
            found = json.loads(line.decode("utf-8"))
        except ValueError as error:
            if position == len(lines):
                notes.append(
                    f"{path.parent.name}/{path.name}: the last line ({number}) is half-written "
                    "and was left out."
                )
                break
            raise RunError(
                f"{path} line {number} is not valid JSON ({error}). "
                "Fix or remove that line, or resume the run."
            ) from error
        try:
            records.append(parse(found))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{path} line {number} violates docs/reference/run-folder.md: "
                f"{type(error).__name__}: {error}. "
                "Fix or remove that line, or read it with the version that wrote it."
            ) from error
    return records


def _numbered(folder: Path, suffix: str) -> dict[int, Path]:
    found = {}
    for path in sorted(folder.glob(f"round-*.{suffix}")) if folder.is_dir() else ():
        # Skip temporary and foreign files.
        if match := re.fullmatch(r"round-(\d+)", path.stem):
            found[int(match[1])] = path
    return found


def _growth(path: Path) -> GrowthLog:
    try:
        return read_growth(_object(path) or {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} violates docs/reference/run-folder.md: {type(error).__name__}: {error}. "
            "Resume the run, or restore the file."
        ) from error


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
    if name not in TASKS:
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
