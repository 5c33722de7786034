"""Read a run folder (docs/run-folder.md) into one frozen record, also while the run is going, interrupted or failed."""

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
    TeacherOpinion,
    read_growth,
    read_opinion,
    read_outcome,
    read_round,
    read_row,
    read_selection,
)
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.ner import NerTask
from tutelage.tasks.protocol import Metric, Task

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """Everything a report needs of one run.

    Attributes:
        headline_metrics: the two numbers that stand for the run.
        manifest, status: as written; ``result`` is empty until the run is done.
        metrics: a record a round, by round; of a round written twice (a resumed run) the last.
        rows: the whole pool, in the order of writing.
        feedback: misclassified examples by the number in the file's name.
        growth: by round.
        selection: what the train selector chose, step by step; empty where it chose nothing.
        before, after: outcomes of the test examples; empty until they are written.
        supervised: outcomes of the supervised ceiling; empty where it was not run.
        teacher: empty where the teacher was not evaluated.
        config: the text of config.yaml, "" when there is none.
        notes: what was tolerated while reading, for the reader of the report.
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
    def by_word(self) -> bool:
        """True where the classes are entity types and a target is a marking."""
        return self.task.is_token_level

    @property
    def grew(self) -> bool:
        """Whether there is a student before and another after; also while that is not known yet."""
        return bool(self.result.get("rounds", True))

    @property
    def class_noun(self) -> str:
        """What a class is called."""
        return "entity type" if self.by_word else "class"

    @property
    def state(self) -> str:
        """One of running, done, interrupted, failed."""
        return str(self.status["state"])

    def feedback_for(self, growth_round: int) -> tuple[Outcome, ...]:
        """The mistakes that the growth of ``growth_round`` was aimed at.

        The mistakes of round n feed the next growth, n + 1. Where the numbering starts at the same round in both
        folders, a growth carries the number of the feedback it was made from, and the same number is taken.
        """
        same = bool(self.feedback and self.growth) and min(self.feedback) == min(self.growth)
        return self.feedback.get(growth_round if same else growth_round - 1, ())


def read_run(folder: Path) -> Run:
    """Read ``folder``. Files that a run has not written yet are taken as empty, and so is a half-written last line.

    Raises:
        RunError: the folder, manifest.json or status.json is missing, or a file holds what docs/run-folder.md does not allow.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(
            f"There is no run folder {folder}. Give a folder that holds manifest.json, such as outputs/<name>/<time>."
        )
    notes: list[str] = []
    manifest = _essential(folder / "manifest.json", ("labels",))
    task = _task(folder / "manifest.json", manifest)
    headline_metrics = _headline_metrics(folder / "manifest.json", manifest, task)
    outcome = partial(read_outcome, task)
    metrics = {
        line.round: line
        for line in _lines(folder / "metrics.jsonl", partial(read_round, headline_metrics), notes)
    }
    config = folder / "config.yaml"
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
        teacher=tuple(
            _lines(folder / "teacher" / "evaluation.jsonl", partial(read_opinion, task), notes)
        ),
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
    """The JSON object in ``path``; None where there is no such file."""
    if not path.is_file():
        return None
    try:
        found = json.loads(_bytes(path).decode("utf-8"))
    except ValueError as error:
        raise RunError(
            f"{path} is not JSON ({error}). It was damaged after it was written: resume the run, or restore the file."
        ) from error
    if not isinstance(found, dict):
        raise RunError(
            f"{path} holds a {type(found).__name__}, expected an object. Resume the run, or restore the file."
        )
    return found


def _essential(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    found = _object(path)
    if found is None:
        raise RunError(
            f"{path} is missing, so this is not a run folder, or the run ended before it began. Give another folder, or run again."
        )
    for key in keys:
        if key not in found:
            raise RunError(
                f'{path} has no "{key}". It was written by another version or by hand; run again to write it anew.'
            )
    return found


def _lines(path: Path, parse: Callable[[dict[str, Any]], T], notes: list[str]) -> list[T]:
    """The records of a jsonl file, [] where there is no such file. A last line that is cut short is left out and noted."""
    if not path.is_file():
        return []
    # Split on bytes: str.splitlines would cut at U+2028 inside a text, and a cut character must not spoil the other lines.
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
                    f"{path.parent.name}/{path.name}: the last line ({number}) is half-written and was left out."
                )
                break
            raise RunError(
                f"{path} line {number} is not JSON ({error}). Mend or remove that line, or resume the run."
            ) from error
        try:
            records.append(parse(found))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{path} line {number} does not fit docs/run-folder.md: {type(error).__name__}: {error}. "
                "Mend or remove that line, or read it with the version that wrote it."
            ) from error
    return records


def _numbered(folder: Path, suffix: str) -> dict[int, Path]:
    found = {}
    for path in sorted(folder.glob(f"round-*.{suffix}")) if folder.is_dir() else ():
        if match := re.fullmatch(r"round-(\d+)", path.stem):
            found[int(match[1])] = path
    return found


def _growth(path: Path) -> GrowthLog:
    try:
        return read_growth(_object(path) or {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} does not fit docs/run-folder.md: {type(error).__name__}: {error}. Resume the run, or restore it."
        ) from error


def _task(path: Path, manifest: dict[str, Any]) -> Task:
    """The task that a run was about; a folder written before there were two holds a classification."""
    if not isinstance(manifest["labels"], list) or not all(
        isinstance(label, dict) and "name" in label for label in manifest["labels"]
    ):
        raise RunError(
            f'{path}: "labels" must be a list of objects with a "name". Run again to write it anew.'
        )
    labels = [
        Label(str(label["name"]), str(label.get("word", "")), str(label.get("description", "")))
        for label in manifest["labels"]
    ]
    name = manifest.get("task", ClassificationTask.name)
    if name not in (ClassificationTask.name, NerTask.name):
        raise RunError(
            f'{path}: "task" is {name!r}; known are classification and ner. Read it with the version that wrote it, or run again.'
        )
    return NerTask(labels) if name == NerTask.name else ClassificationTask(labels)


def _headline_metrics(path: Path, manifest: dict[str, Any], task: Task) -> tuple[Metric, Metric]:
    if "metrics" not in manifest:
        return task.headline_metrics
    try:
        first, second = (
            Metric(str(given["key"]), str(given["title"])) for given in manifest["metrics"]
        )
    except (KeyError, TypeError, ValueError):
        raise RunError(
            f'{path}: "metrics" must be two objects with "key" and "title". Run again to write it anew.'
        ) from None
    return first, second
