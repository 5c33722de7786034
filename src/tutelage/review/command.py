"""A review from the folder of a finished run to Label Studio, and back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tutelage.audit.command import student_predictions
from tutelage.errors import ConfigError, DataError, RunError
from tutelage.records import Example, Outcome, Row, as_dicts
from tutelage.review.label_studio import Annotated, configuration, new_task, read_export
from tutelage.review.sample import PARTS, Sizes, draw
from tutelage.review.summary import summary
from tutelage.review.votes import decide
from tutelage.runs.check_records import Review, SampledRow, read_sampled
from tutelage.runs.files import RunFiles
from tutelage.runs.folder import RunFolder
from tutelage.runs.read import Run, read_run
from tutelage.runs.shapes import why
from tutelage.tasks.protocol import Task
from tutelage.tasks.spans import read_spans, to_tags

SAMPLE, GOLD = "review/sample.jsonl", "review/gold.jsonl"
_LARGEST = 256 * 2**20


def export(folder: Path, to: Path | None, sizes: Sizes) -> tuple[Path, Path, dict[str, int]]:
    """Writes tasks and configuration for Label Studio, and notes the sample in the run's folder.

    Args:
        folder: The folder of a finished run.
        to: File of the tasks; None takes review/tasks.json in the folder. The configuration lies
            beside it, under the same name with the ending .xml.
        sizes: Number of rows of each part.

    Returns:
        Both files, and the number of rows of each part.

    Raises:
        ConfigError: A size is negative, or ``to`` has another ending.
        RunError: There is no finished run with labels of a teacher, or another sample was drawn.
        DataError: A file cannot be written.
    """
    if min(asdict(sizes).values()) < 0 or not any(asdict(sizes).values()):
        raise ConfigError(
            f"--n {sizes.unsure} --disputed {sizes.disputed} --control {sizes.control} draw no "
            "sample. Give numbers of rows, one of them above 0."
        )
    run = _finished(folder)
    path = run.folder / "review" / "tasks.json" if to is None else to.expanduser()
    if path.suffix != ".json":
        raise ConfigError(f"--to {to} is no .json file. Give a name such as tasks.json.")
    rows = [row for row in run.rows if row.accepted and not row.given]
    if not rows:
        raise RunError(
            f"The run in {folder} has no labels of a teacher to review. Give another run."
        )
    outcomes = _of_the_student(run, rows)
    suspects = [one.id for one in run.suspects if one.split == "pool"]
    sample = draw(rows, outcomes, suspects, sizes, run.manifest.get("seed") or 0)
    by_id = {row.id: row for row in rows}
    tasks = []
    for one in sample:
        row, student = by_id[one.id], outcomes[one.id]
        predictions = {
            "teacher": (one.teacher, row.confidence),
            "student": (one.student, student.confidence),
        }
        tasks.append(new_task(run.task, one.id, row.text, predictions))
    with RunFolder(run.folder).lock():
        _refuse_another(run, sample)
        RunFolder(run.folder / "review")
        _write(path, json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")
        _write(path.with_suffix(".xml"), configuration(run.task))
        RunFolder(run.folder).write_lines(SAMPLE, as_dicts(sample))
    parts = [one.part for one in sample]
    return path, path.with_suffix(".xml"), {part: parts.count(part) for part in PARTS}


def import_labels(folder: Path, file: Path) -> Review:
    """Writes the labels of people into the run's folder, as gold.

    review/labels.jsonl has each with its row, its part and who agreed; review/gold.jsonl has text
    and label alone, for ``data.gold`` of a next run; review/review.json has the counts and hashes.
    An earlier import is replaced.

    Args:
        folder: The folder of the run whose sample was exported.
        file: Label Studio's export, format JSON.

    Returns:
        The counts and scores.

    Raises:
        RunError: The run has no sample, or a file of it is damaged.
        DataError: The file cannot be used. Then nothing is written.
    """
    run = _finished(folder)
    sample = {one.id: one for one in _sample(run)}
    if not sample:
        raise RunError(
            f"{run.folder / SAMPLE} is missing, so no sample was drawn. Run `tutelage review "
            "export` for this run first."
        )
    content = _content(file)
    rows = {row.id: row for row in run.rows}
    if unknown := sorted(set(sample) - set(rows)):
        raise RunError(
            f"{run.folder / SAMPLE} has the row {unknown[0]!r}, and the pool has not. Restore the "
            "files of the run."
        )
    try:
        tasks = read_export(run.task, content)
        for one in tasks:
            _check_row(one, sample, rows)
        decisions = {one.row: decide(one) for one in tasks}
    except DataError as error:
        raise DataError(f"{file} cannot be imported, and nothing was written. {error}") from None
    labelled = {id: one for id, one in decisions.items() if one.target is not None}
    if not labelled:
        raise DataError(
            f"{file} has no label to import, and nothing was written: all of its {len(tasks)} "
            "tasks are open, skipped or undecided."
        )
    gold = "".join(
        json.dumps(_gold_row(run.task, rows[id].text, str(one.target)), ensure_ascii=False) + "\n"
        for id, one in labelled.items()
    )
    review = summary(run.task, sample, rows, decisions, file.name, content, gold.encode())
    lines = [
        {
            **asdict(sample[id]),
            "text": rows[id].text,
            "gold": one.target,
            "votes": one.votes,
            "agreeing": one.agreeing,
            "annotators": one.annotators,
        }
        for id, one in labelled.items()
    ]
    with RunFolder(run.folder).lock():
        RunFolder(run.folder).write_text(GOLD, gold)
        RunFolder(run.folder).write_lines("review/labels.jsonl", lines)
        RunFolder(run.folder).write_json("review/review.json", asdict(review))
    return review


def _finished(folder: Path) -> Run:
    run = read_run(folder)
    if run.state != "done":
        raise RunError(
            f"The run in {folder} is not finished (its state is {run.state}), and a review is of "
            "all of its labels. Resume the run first."
        )
    return run


def _of_the_student(run: Run, rows: Sequence[Row]) -> dict[str, Outcome]:
    examples = [Example(row.id, row.text, row.target) for row in rows]
    try:
        return {one.id: one for one in student_predictions(run, examples, "pool")}
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # Each line was sound by itself.
        raise RunError(
            f"The student in {run.folder} cannot label the run's pool ({why(error)}): files of the "
            "run do not fit together. Restore those that were changed, or run again."
        ) from error


def _sample(run: Run) -> list[SampledRow]:
    return RunFiles(run.folder, False).lines(SAMPLE, partial(read_sampled, run.task))


def _refuse_another(run: Run, sample: Sequence[SampledRow]) -> None:
    """Refuses a sample in the place of another one, whose labels could no longer be imported."""
    before = _sample(run)
    if before and before != list(sample):
        raise RunError(
            f"{run.folder / SAMPLE} has another sample of {len(before)} rows, and people may be at "
            "it. Give the numbers of that export, or remove the file to draw a new sample."
        )


def _write(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        scratch.write_text(text, encoding="utf-8", errors="backslashreplace")
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}. Give a file in an existing "
            "folder in which you may write (--to), and see that the disk has room."
        ) from None


def _content(file: Path) -> bytes:
    try:
        if not file.is_file():
            raise DataError(f"There is no file {file}. Give the file that Label Studio exported.")
        if (size := file.stat().st_size) > _LARGEST:
            raise DataError(
                f"{file} has {size:,} bytes, and an export of a review has no more than "
                f"{_LARGEST:,}. Give the file that Label Studio exported."
            )
        return file.read_bytes()
    except OSError as error:
        raise DataError(
            f"{file} cannot be read: {error.strerror}. Check its permissions and the disk."
        ) from None


def _check_row(one: Annotated, sample: Mapping[str, SampledRow], rows: Mapping[str, Row]) -> None:
    """Refuses a task that is none of the sample."""
    if one.row not in sample:
        raise DataError(
            f"{one.place} has the row {one.row[:60]!r}, which is not in {SAMPLE}. Give the export "
            "of this run's tasks."
        )
    if one.text != rows[one.row].text:
        raise DataError(
            f"{one.place} has another text than its row in the pool. Give the export of this run's "
            "tasks, with their texts as they were."
        )


def _gold_row(task: Task, text: str, target: str) -> dict[str, Any]:
    """A row in the form that `data.gold` is read in."""
    if not task.is_token_level:
        return {"text": text, "label": target}
    words = text.split(" ")
    return {"tokens": words, "tags": to_tags(read_spans(target), len(words))}
