"""What stands beside the student in the final table: the teacher alone, and the supervised ceiling. Neither feeds anything back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tutelage.callbacks.ledger import Watcher
from tutelage.data.dataset import Dataset
from tutelage.fitting import fit
from tutelage.interruption import Interruption
from tutelage.methods.gold import GoldOnly
from tutelage.parts import build, build_labeller
from tutelage.records import Outcome
from tutelage.student.schedule import Position
from tutelage.tasks.protocol import Task
from tutelage.teacher.budget import BudgetedTeacher
from tutelage.teacher.labelling import Draft
from tutelage.teacher.protocol import Reply, Teacher
from tutelage.teacher.scoring import ordered_demonstrations
from tutelage.tracking.run_folder import RunFolder, Status


def teacher_alone(
    config: DictConfig, folder: RunFolder, dataset: Dataset, task: Task, teacher: Teacher, watcher: Watcher, interruption: Interruption
) -> dict[str, Any]:
    """Label the test set by scoring, calibrated on itself as a batch, and write teacher/evaluation.jsonl.

    Its tokens are counted apart: they are the price of measuring, not of the student.

    Returns:
        the task's quoted metrics, "raw" (the first of them without calibration; None for NER), tokens (billed) and failed requests.
    """
    counted = BudgetedTeacher(teacher)
    demonstrations = ordered_demonstrations(dataset.shots(config.shots, config.seed), config.seed)
    labeller = build_labeller(config, build(config.prompt, "prompt"), task, counted, demonstrations)
    drafts = [Draft(example.text) for example in dataset.test]

    def on_reply(reply: Any) -> None:
        watcher.reply(reply)
        interruption.check()

    watcher.phase("teacher alone", 0, len(labeller.requests(drafts)))
    labeller.fit(dataset.dev, on_reply)
    labelled = labeller.label(drafts, on_reply)
    lines: list[dict[str, Any]] = []
    calibrated: list[Outcome] = []
    raw: list[Outcome] = []
    for example, opinion in zip(dataset.test, labelled.opinions, strict=True):
        if opinion is None:
            if task.level == "word":  # no usable reply finds no entity
                calibrated.append(Outcome(example.id, example.text, example.label or "", "[]", (1.0,), "test", 0))
            continue
        gold, distribution = example.label or "", opinion.distribution
        said, line = opinion.target(distribution.top), {"id": example.id, "target": gold}
        if task.level == "word":
            sure = opinion.entity_confidence("")
            lines.append({**line, "text": example.text, "predicted": said, "confidences": sure})
            calibrated.append(Outcome(example.id, example.text, gold, said, (min(sure, default=1.0),), "test", 0))
            continue
        lines.append(
            {**line, "probabilities": distribution.probabilities, "raw": distribution.raw, "off_label_mass": distribution.off_label_mass}
        )
        calibrated.append(Outcome(example.id, example.text, gold, said, distribution.probabilities, "test", 0))
        raw.append(replace(calibrated[-1], predicted=task.read([distribution.raw]).predicted, probabilities=distribution.raw))
    folder.write_lines("teacher/evaluation.jsonl", lines)
    metrics, first = task.metrics(calibrated), task.quoted[0].key
    return {
        **{metric.key: metrics[metric.key] for metric in task.quoted},
        "raw": task.metrics(raw)[first] if raw else None,
        "tokens": counted.usage.billed,
        "failed": len(labelled.errors),
    }


class _Aside:
    """Shows an arm beside the run as one phase: its stages are not the run's rounds."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def phase(self, name: str, round: int, total: int) -> None:
        """A phase of the arm, under the arm's name."""
        self._watcher.phase("supervised ceiling", round, total)

    def reply(self, reply: Reply) -> None:
        """A teacher's reply arrived."""
        self._watcher.reply(reply)

    def progress(self, done: int, total: int) -> None:
        """No arm beside the run looks at a pool."""

    def stage_closed(self, position: Position, dev: dict[str, float], rows: tuple[int, int]) -> None:
        """The table at the end has the arm's numbers."""


def supervised_ceiling(
    config: DictConfig, folder: RunFolder, status: Status, dataset: Dataset, task: Task, watcher: Watcher, interruption: Interruption
) -> dict[str, Any]:
    """Train the same student on the whole pool with gold labels, in the run's folder ``supervised/``.

    Returns:
        the task's quoted metrics and the number of gold labels.
    """
    arm = OmegaConf.merge(
        config,
        {"method": {"training": {"gold": "pool", "start_epochs": config.evaluate.supervised_epochs, "train_on": "all", "patience": 0}}},
    )
    assert isinstance(arm, DictConfig)
    inner = RunFolder(folder / "supervised")
    fitted = fit(arm, inner, status, dataset, task, GoldOnly("supervised"), None, _Aside(watcher), interruption, resume=False)
    return {**fitted.ledger.after, "gold_labels": len(dataset.supervised())}
