"""What stands beside the student in the final table: the teacher alone, and the supervised ceiling. Neither feeds anything back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tutelage.config.build import build, build_labeller
from tutelage.config.schema import RunConfig
from tutelage.data.dataset import Dataset
from tutelage.interruption import Interruption
from tutelage.labelling.base import Draft, Opinion
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.methods.gold import GoldOnly
from tutelage.progress import ProgressReporter
from tutelage.records import Example
from tutelage.report.teacher_alone import teacher_metrics
from tutelage.runs.folder import RunFolder, Status
from tutelage.runs.records import DEFAULT_MODE, read_opinion
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Reply, Teacher
from tutelage.teacher.wrappers.budget import BudgetedTeacher
from tutelage.timeline import Position
from tutelage.training import fit


def teacher_alone(
    config: RunConfig,
    folder: RunFolder,
    dataset: Dataset,
    task: Task,
    teacher: Teacher,
    reporter: ProgressReporter,
    interruption: Interruption,
) -> dict[str, Any]:
    """Label the test set by scoring, calibrated on itself as a batch, and write teacher/evaluation.jsonl, a line a test text.

    Every test text is in the scores: one that the teacher could not label counts as wrong, as it would where its label is needed. Scores
    of the answered ones alone would be better the more a teacher refuses, and not of the texts that the student is measured on.

    Its tokens are counted apart: they are the price of measuring, not of the student.

    Returns:
        the task's quoted metrics, for NER "f1_default" beside them, "raw" (the first of them without calibration; None for NER), tokens
        (billed) and how many texts failed.
    """
    counted = BudgetedTeacher(teacher)
    demonstrations = ordered_demonstrations(dataset.shots(config.shots, config.seed), config.seed)
    labeller = build_labeller(config, build(config.prompt, "prompt"), task, counted, demonstrations)
    drafts = [Draft(example.text) for example in dataset.test]

    def on_reply(reply: Any) -> None:
        reporter.reply(reply)
        interruption.check()

    reporter.phase("teacher alone", 0, len(labeller.requests(drafts)))
    labeller.fit(dataset.dev, on_reply)
    labelled = labeller.label(drafts, on_reply)
    lines = [
        _evaluated(task, example, opinion, labelled.errors.get(index, "no reply"))
        for index, (example, opinion) in enumerate(
            zip(dataset.test, labelled.opinions, strict=True)
        )
    ]
    folder.write_lines("teacher/evaluation.jsonl", lines)
    # Scored from the lines, so that whoever reads them finds the same numbers.
    opinions = [read_opinion(task, line) for line in lines]
    metrics, first = teacher_metrics(task, opinions), task.headline_metrics[0].key
    beside = (DEFAULT_MODE,) if task.is_token_level else ()
    return {
        **{
            key: metrics[key]
            for key in (*(metric.key for metric in task.headline_metrics), *beside)
        },
        "raw": teacher_metrics(task, opinions, raw=True)[first]
        if not task.is_token_level
        else None,
        "tokens": counted.usage.billed,
        "failed": sum(bool(opinion.error) for opinion in opinions),
    }


def _evaluated(task: Task, example: Example, opinion: Opinion | None, error: str) -> dict[str, Any]:
    """A line of teacher/evaluation.jsonl; for NER with the text, which its spans are counted in."""
    line = {
        "id": example.id,
        "target": example.label or "",
        **({"text": example.text} if task.is_token_level else {}),
    }
    if opinion is None:
        return {**line, "error": error}
    distribution = opinion.distribution
    if task.is_token_level:
        said = opinion.target(distribution.top)
        return {**line, "predicted": said, "confidences": opinion.entity_confidence("")}
    return {
        **line,
        "probabilities": distribution.probabilities,
        "raw": distribution.raw,
        "off_label_mass": distribution.off_label_mass,
    }


class _Aside:
    """Shows an arm beside the run as one phase: its stages are not the run's rounds."""

    def __init__(self, reporter: ProgressReporter) -> None:
        self._reporter = reporter

    def phase(self, name: str, round: int, total: int) -> None:
        """A phase of the arm, under the arm's name."""
        self._reporter.phase("supervised ceiling", round, total)

    def reply(self, reply: Reply) -> None:
        """A teacher's reply arrived."""
        self._reporter.reply(reply)

    def progress(self, done: int, total: int) -> None:
        """No arm beside the run looks at a pool."""

    def stage_closed(
        self, position: Position, dev: dict[str, float], rows: tuple[int, int]
    ) -> None:
        """The table at the end has the arm's numbers."""


def supervised_ceiling(
    config: RunConfig,
    folder: RunFolder,
    status: Status,
    dataset: Dataset,
    task: Task,
    reporter: ProgressReporter,
    interruption: Interruption,
) -> dict[str, Any]:
    """Train the same student on the whole pool with gold labels, in the run's folder ``supervised/``.

    Returns:
        the task's quoted metrics and the number of gold labels.
    """
    supervised = replace(
        config,
        training=replace(
            config.training,
            gold="pool",
            start_epochs=config.evaluate.supervised_epochs,
            train_on="all",
            patience=0,
            keep="last",
        ),
        # The loggers and callbacks are the main student's.
        callbacks={},
        logger={},
    )
    inner = RunFolder(folder / "supervised")
    fitted = fit(
        supervised,
        inner,
        status,
        dataset,
        task,
        GoldOnly("supervised"),
        None,
        _Aside(reporter),
        interruption,
        resume=False,
    )
    return {**fitted.round_logger.after, "gold_labels": len(dataset.supervised())}
