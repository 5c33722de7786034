"""What stands beside the student in the final table: the teacher alone, and the supervised ceiling. Neither feeds anything back."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from tutelage.callbacks.ledger import Watcher
from tutelage.data.dataset import Dataset
from tutelage.fitting import fit
from tutelage.interruption import Interruption
from tutelage.methods.gold import GoldOnly
from tutelage.parts import build
from tutelage.records import Outcome
from tutelage.student.schedule import Position
from tutelage.tasks.protocol import Task
from tutelage.teacher.budget import BudgetedTeacher
from tutelage.teacher.protocol import Reply, Teacher
from tutelage.teacher.scoring import LabelScorer, ordered_demonstrations
from tutelage.tracking.run_folder import RunFolder, Status


def teacher_alone(
    config: DictConfig, folder: RunFolder, dataset: Dataset, task: Task, teacher: Teacher, watcher: Watcher, interruption: Interruption
) -> dict[str, Any]:
    """Label the test set by scoring, calibrated on itself as a batch, and write teacher/evaluation.jsonl.

    Its tokens are counted apart: they are the price of measuring, not of the student.

    Returns:
        accuracy, macro_f1, raw_accuracy, tokens (billed) and failed requests.
    """
    counted = BudgetedTeacher(teacher)
    demonstrations = ordered_demonstrations(dataset.shots(config.shots, config.seed), config.seed)
    scorer = LabelScorer(
        counted,
        task.labels,
        build(config.prompt, "prompt"),
        demonstrations,
        build(config.calibration, "calibration"),
        config.method.allow_codes,
    )

    def on_reply(reply: Any) -> None:
        watcher.reply(reply)
        interruption.check()

    watcher.phase("teacher alone", 0, len(dataset.test))
    scorer.fit(dataset.dev, on_reply)
    scored = scorer.score([example.text for example in dataset.test], on_reply)
    lines: list[dict[str, Any]] = []
    calibrated: list[Outcome] = []
    raw: list[Outcome] = []
    for example, distribution in zip(dataset.test, scored.distributions, strict=True):
        if distribution is None:
            continue
        gold = example.label or ""
        lines.append(
            {
                "id": example.id,
                "target": gold,
                "probabilities": distribution.probabilities,
                "raw": distribution.raw,
                "off_label_mass": distribution.off_label_mass,
            }
        )
        for store, values in ((calibrated, distribution.probabilities), (raw, distribution.raw)):
            store.append(Outcome(example.id, example.text, gold, task.decode(values), values, "test", 0))
    folder.write_lines("teacher/evaluation.jsonl", lines)
    metrics = task.metrics(calibrated)
    return {
        "accuracy": metrics["accuracy"],
        "macro_f1": metrics["macro_f1"],
        "raw_accuracy": task.metrics(raw)["accuracy"],
        "tokens": counted.usage.billed,
        "failed": len(scored.errors),
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

    def stage_closed(self, position: Position, dev: dict[str, Any], rows: tuple[int, int]) -> None:
        """The table at the end has the arm's numbers."""


def supervised_ceiling(
    config: DictConfig, folder: RunFolder, status: Status, dataset: Dataset, task: Task, watcher: Watcher, interruption: Interruption
) -> dict[str, Any]:
    """Train the same student on the whole pool with gold labels, in the run's folder ``supervised/``.

    Returns:
        accuracy, macro_f1 and the number of gold labels.
    """
    arm = OmegaConf.merge(
        config,
        {"method": {"training": {"gold": "pool", "start_epochs": config.evaluate.supervised_epochs, "train_on": "all", "patience": 0}}},
    )
    assert isinstance(arm, DictConfig)
    inner = RunFolder(folder / "supervised")
    fitted = fit(arm, inner, status, dataset, task, GoldOnly("supervised"), None, _Aside(watcher), interruption, resume=False)
    return {**fitted.ledger.after, "gold_labels": len(dataset.supervised())}
