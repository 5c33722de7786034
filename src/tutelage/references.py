"""Measures beside the student, none of which is fed back to the run.

They are the teacher alone, a student trained on all gold labels, and a probe of written texts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tutelage.config.build_labeller import build_labeller
from tutelage.config.build_student import build_encoder
from tutelage.config.build_teacher import build_prompts
from tutelage.config.devices import one_device
from tutelage.config.schema import RunConfig
from tutelage.data.dataset import Dataset
from tutelage.data.pool import Pool
from tutelage.interruption import Interruption
from tutelage.labelling.base import Draft
from tutelage.labelling.scoring import ordered_demonstrations
from tutelage.methods.gold import GoldOnly
from tutelage.progress import NoProgress, ProgressReporter
from tutelage.report.teacher_alone import teacher_metrics
from tutelage.runs.folder import RunFolder, Status
from tutelage.student.written_or_real import tell_apart
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Reply
from tutelage.teacher.stack import Stack
from tutelage.teacher.wrappers.budget import BudgetedTeacher
from tutelage.training import fit


def teacher_alone(
    config: RunConfig,
    folder: RunFolder,
    dataset: Dataset,
    task: Task,
    stack: Stack,
    reporter: ProgressReporter,
    interruption: Interruption,
) -> dict[str, Any]:
    """Lets the teacher label the test set, calibrated on it as one batch.

    It writes teacher/evaluation.jsonl, one line per test text. A text that the teacher could not
    label counts as wrong: scores of the answered texts alone would rise the more a teacher refuses.
    The tokens are counted apart, since they are the price of measuring, not of the student.

    Returns:
        The task's headline and further metrics, "raw" (the first metric without calibration; None
        if the task does not record it), "tokens" (billed) and "failed" (texts without an answer).
    """
    counted = BudgetedTeacher(stack.inner)
    demonstrations = ordered_demonstrations(dataset.shots(config.shots, config.seed), config.seed)
    prompts = build_prompts(config, stack.engine, stack.inner)
    labeller = build_labeller(config, prompts, task, counted, demonstrations)
    drafts = [Draft(example.text) for example in dataset.test]

    def on_reply(reply: Any) -> None:
        reporter.reply(reply)
        interruption.check()

    reporter.phase("teacher alone", 0, len(labeller.requests(drafts)))
    labeller.fit(dataset.dev, on_reply)
    labelled = labeller.label(drafts, on_reply)
    lines = [
        task.opinion_record(example, opinion, labelled.errors.get(index, "no reply"))
        for index, (example, opinion) in enumerate(
            zip(dataset.test, labelled.opinions, strict=True)
        )
    ]
    folder.write_lines("teacher/evaluation.jsonl", lines)
    # Scored from the lines, so that every reader of the file finds the same numbers.
    opinions = [task.read_opinion(line) for line in lines]
    metrics = teacher_metrics(task, opinions)
    keys = [metric.key for metric in (*task.headline_metrics, *task.further_metrics)]
    raw = teacher_metrics(task, opinions, raw=True) if task.records_raw_opinions else {}
    return {
        **{key: metrics[key] for key in keys},
        "raw": raw.get(keys[0]),
        "tokens": counted.usage.billed,
        "failed": sum(bool(opinion.error) for opinion in opinions),
    }


def written_or_real(config: RunConfig, dataset: Dataset, pool: Pool) -> dict[str, Any] | None:
    """Measures how well accepted written texts can be told from those of the data set's pool.

    Returns:
        The fields of :class:`tutelage.student.written_or_real.Telling`; None if the run has too few
        texts of a kind.
    """
    written = [row.text for row in pool.accepted() if not row.given and row.source != "pool"]
    real = [example.text for example in dataset.pool]
    told = tell_apart(written, real, build_encoder(config), config.seed)
    return None if told is None else told.as_dict()


class _OnePhase(NoProgress):
    """Shows the reference as one phase: its stages are not the run's rounds."""

    def __init__(self, reporter: ProgressReporter) -> None:
        self._reporter = reporter

    def phase(self, name: str, round: int, total: int) -> None:
        """Shows every phase under the reference's name."""
        self._reporter.phase("supervised ceiling", round, total)

    def reply(self, reply: Reply) -> None:
        """Passes a reply on."""
        self._reporter.reply(reply)

    def notice(self, message: str) -> None:
        """Passes a fact on."""
        self._reporter.notice(message)

    def warn(self, message: str) -> None:
        """Passes a warning on."""
        self._reporter.warn(message)


def supervised_ceiling(
    config: RunConfig,
    folder: RunFolder,
    status: Status,
    dataset: Dataset,
    task: Task,
    reporter: ProgressReporter,
    interruption: Interruption,
) -> dict[str, Any]:
    """Trains the same student on every gold label of the pool, in the run's folder supervised/.

    Returns:
        The headline metrics on test, and "gold_labels" (their number).
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
        # Loggers and callbacks follow the main student, and so do its further devices.
        trainer=one_device(config.trainer),
        callbacks={},
        logger={},
    )
    fitted = fit(
        supervised,
        RunFolder(folder / "supervised"),
        status,
        dataset,
        task,
        GoldOnly("supervised"),
        None,
        _OnePhase(reporter),
        interruption,
        resume=False,
        is_reference=True,
    )
    return {**fitted.round_logger.after, "gold_labels": len(dataset.supervised())}
