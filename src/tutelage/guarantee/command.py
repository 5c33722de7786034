"""A guarantee from the folder of a finished run to guarantee.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.audit.inputs import dataset_of, settings_of
from tutelage.errors import ConfigError, RunError
from tutelage.guarantee.conformal import least_probability
from tutelage.guarantee.judged import Judged, judge
from tutelage.guarantee.threshold import lowest_threshold, texts_missing
from tutelage.records import Example
from tutelage.report.teacher_alone import teacher_outcomes
from tutelage.runs.check_records import Guarantee, GuaranteedSplit, Route
from tutelage.runs.folder import RunFolder
from tutelage.runs.read import Run, read_run
from tutelage.runs.shapes import why
from tutelage.student.abstention import FILE, student_digest


def guarantee(
    folder: Path,
    *,
    accuracy: float = 0.95,
    coverage: float = 0.9,
    risk: float = 0.05,
    export: Path | None = None,
    fetch: bool = False,
) -> tuple[Guarantee, Path]:
    """Writes guarantee.json, for `tutelage predict --abstain`, from a run's dev texts.

    No teacher is asked, and nothing of the run changes. Test only shows what the guarantee does.

    Args:
        folder: The folder of a finished run, read as data.
        accuracy: Target of the accuracy of the kept predictions.
        coverage: Target of the share of sets of labels that hold the right one.
        risk: Probability with which the threshold may miss the target.
        export: The folder of an export of the run, whose own predictions then count, and into
            which guarantee.json is written; None for the student.
        fetch: Whether the run's data set may come from the hub.

    Returns:
        The guarantee, and its file.

    Raises:
        ConfigError: A target is not between 0 and 1.
        RunError: There is no finished run with dev texts, or its files do not fit together.
    """
    for option, value in (("accuracy", accuracy), ("coverage", coverage), ("risk", risk)):
        if not 0.0 < value < 1.0:
            raise ConfigError(
                f"--{option} {value:g} cannot be guaranteed. Give a share above 0 and below 1."
            )
    run = read_run(folder)
    if run.state != "done":
        raise RunError(
            f"The run in {folder} is not finished (its state is {run.state}), so it has no student "
            "to give a guarantee for. Resume the run first."
        )
    dev = _dev(run, fetch=fetch)
    target = export.expanduser() if export else run.folder
    try:
        found = _calibrated(run, target, dev, (accuracy, coverage, risk))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # Each line was sound by itself.
        raise RunError(
            f"The student of {folder} cannot be judged ({why(error)}): files of the run do not fit "
            "together. Restore those that were changed, or run again."
        ) from error
    with RunFolder(run.folder).lock():
        RunFolder(target).write_json(FILE, asdict(found))
    return found, target / FILE


def _dev(run: Run, *, fetch: bool) -> Sequence[Example]:
    dataset, notes = dataset_of(
        run, settings_of(run), fetch=fetch, without="and without its dev texts nothing is sure"
    )
    if dataset is None:
        raise RunError(f"The run in {run.folder} gives no guarantee. {notes[0]}")
    if not dataset.dev:
        raise RunError(
            f"The data set of the run in {run.folder} has no dev texts, which a guarantee is made "
            "from. Add a validation file to the data set, and run again."
        )
    return dataset.dev


def _calibrated(
    run: Run, target: Path, dev: Sequence[Example], targets: tuple[float, float, float]
) -> Guarantee:
    student = _student(run, target)
    accuracy, coverage, risk = targets
    on_dev = judge(student, run.task, dev)
    kept = lowest_threshold(on_dev.confidences, on_dev.right, accuracy, risk)
    chances = on_dev.of_the_right_label
    probability = None if chances is None else least_probability(chances, coverage)
    splits = [split_of("dev", on_dev, kept.threshold, probability)]
    routes: list[Route] = []
    test = [Example(one.id, one.text, one.target) for one in run.after]
    if test:
        on_test = judge(student, run.task, test)
        splits.append(split_of("test", on_test, kept.threshold, probability))
        routes = _routes(run, on_test, kept.threshold)
    return Guarantee(
        student=student_digest(target),
        accuracy=accuracy,
        risk=risk,
        coverage=coverage,
        threshold=kept.threshold,
        bound=kept.bound,
        missing=0
        if kept.threshold is not None
        else texts_missing(on_dev.confidences, on_dev.right, accuracy, risk),
        probability=probability,
        splits=tuple(splits),
        routes=tuple(routes),
        notes=tuple(_notes(run, probability)),
    )


def _student(run: Run, folder: Path) -> Any:
    from tutelage.student.inference import load

    student = load(folder)
    if student.labels != run.task.outputs:
        raise RunError(
            f"The student in {folder} has other classes than the run in {run.folder}. Give an "
            "export of this run, or copy the run's folder again."
        )
    return student


def split_of(
    split: str, judged: Judged, threshold: float | None, probability: float | None
) -> GuaranteedSplit:
    """Counts what a threshold and sets of labels do to a split.

    Args:
        split: Name of the split.
        judged: The student's predictions.
        threshold: Lowest confidence that is kept; None keeps nothing.
        probability: Probability that a label needs to be in a set; None for NER.
    """
    kept = _kept(judged, threshold)
    covered = labels = None
    right = judged.of_the_right_label
    if probability is not None and judged.probabilities is not None and right is not None:
        covered = int((right >= probability).sum())
        labels = int((judged.probabilities >= probability).sum())
    return GuaranteedSplit(
        split, len(kept), int(kept.sum()), int(judged.right[kept].sum()), covered, labels
    )


def _kept(judged: Judged, threshold: float | None) -> Any:
    if threshold is None:
        return np.zeros(len(judged.confidences), dtype=bool)
    return judged.confidences >= threshold


def _routes(run: Run, judged: Judged, threshold: float | None) -> list[Route]:
    """Student, teacher, and the teacher where the student abstains, on test."""
    given = zip(teacher_outcomes(run.task, run.teacher), run.teacher, strict=True)
    right = {opinion.id: outcome.correct and not opinion.error for outcome, opinion in given}
    if threshold is None or not all(one.id in right for one in run.after):
        return []
    by_teacher = np.array([right[one.id] for one in run.after])
    kept = _kept(judged, threshold)
    spent = (run.result.get("teacher") or {}).get("tokens")
    tokens = None if spent is None else 1000 * spent / len(run.teacher)
    blended = np.where(kept, judged.right, by_teacher)
    routed = None if tokens is None else tokens * float(1.0 - kept.mean())
    return [
        Route("student", float(judged.right.mean()), 0.0),
        Route("teacher", float(by_teacher.mean()), tokens),
        Route("both", float(blended.mean()), routed),
    ]


def _notes(run: Run, probability: float | None) -> list[str]:
    notes = []
    used = run.result.get("gold_labels") or {}
    if seen := max((count for use, count in used.items() if use != "shots"), default=0):
        notes.append(
            f"The run itself used {seen:,} gold labels of dev, so dev may flatter the student, and "
            "the guarantee may say too much. Draw other dev texts for it."
        )
    if probability is None:
        notes.append("Sets of labels are for classification: entities have a threshold alone.")
    if not run.after:
        notes.append("The run has no predictions of test, so test shows nothing.")
    elif not run.teacher:
        notes.append(
            "The teacher was not evaluated, so nothing is said of sending it the texts on which "
            "the student abstains; evaluate.teacher=true does that in a next run."
        )
    return notes
