"""One fit of a tiny student with the real callbacks and a scripted method."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer
from tests.helpers.classification import NAMES, TASK, make_text
from tests.helpers.tiny_student import tiny_network, tiny_tokenizer

from tutelage.callbacks.checkpoint import BestStudent, StageCheckpoint, newest_checkpoint
from tutelage.callbacks.feedback import FeedbackCollector
from tutelage.callbacks.growth import GrowthCallback
from tutelage.callbacks.housekeeping import Reseed, StopWhenAsked
from tutelage.callbacks.round_logger import RoundLogger
from tutelage.callbacks.selection_logger import SelectionLogger
from tutelage.data.growing import GrowingDataModule
from tutelage.data.pool import Pool
from tutelage.data.training_view import RoundView
from tutelage.interruption import Interruption
from tutelage.methods.base import gold_rows
from tutelage.records import Example, Feedback, Growth, Outcome, Row
from tutelage.runs.folder import RunFolder, Status
from tutelage.selectors.row_selection import EveryRow
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.module import StudentModule
from tutelage.student.schedule import RateSchedule
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import GenerateRequest, Sampling
from tutelage.teacher.wrappers.budget import BudgetedTeacher
from tutelage.timeline import Position, Timeline


def examples(split: str, each: int, start: int) -> list[Example]:
    return [
        Example(f"{split}-{name}-{n}", make_text(name, start + n), name)
        for n in range(each)
        for name in NAMES
    ]


SHOTS = examples("shot", 1, 100)
DEV = examples("dev", 4, 200)
TEST = examples("test", 3, 300)


class ScriptedMethod:
    """Returns six rows per round, one of them rejected, and records all feedback.

    Args:
        rounds: Number of rounds.
        teacher: Billed two requests per round, if given.
        barren: Rounds without any accepted row.
        shots: The first rows.
    """

    name = "scripted"
    asks_teacher = False
    calibration_labels = 0
    truncated = 0

    def __init__(
        self,
        rounds: int,
        teacher: BudgetedTeacher | None = None,
        barren: Sequence[int] = (),
        shots: Sequence[Example] = SHOTS,
    ) -> None:
        self.rounds = rounds
        self._shots = shots
        self.feedbacks: list[Feedback] = []
        self._teacher = teacher
        self._barren = barren
        self._grown = 0

    def setup(self, context: Any) -> None:
        raise AssertionError("a fit must not call setup")

    def first_rows(self) -> Growth:
        return Growth(0, tuple(gold_rows(self._shots)))

    def next_rows(self, feedback: Feedback, round: int) -> Growth:
        self.feedbacks.append(feedback)
        if self._teacher is not None:
            for part in ("first", "second"):
                self._teacher.ask([GenerateRequest(part, "x" * 40, Sampling())])
        self._grown += 1
        rows = []
        for n in range(6):
            fine = n != 5 and round not in self._barren
            # Every text depends on the state, so a resume without it changes the pool.
            text = make_text(NAMES[n % 3], 1000 * round + 10 * n + self._grown)
            rows.append(
                Row(f"{round}-{n}", text, NAMES[n % 3], "hard", round, fine, "" if fine else "near")
            )
        return Growth(
            round,
            tuple(rows),
            analysis=f"analysis {round}",
            seconds={"generation": 0.5},
            asked=2,
            answered=2,
        )

    def aimed_at(self, feedback: Feedback) -> Feedback:
        return feedback

    def state_dict(self) -> dict[str, Any]:
        return {"grown": self._grown}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._grown = int(state["grown"])


@dataclass
class RecordingReporter:
    """A progress reporter that records phases and stages."""

    phases: list[tuple[str, int]] = field(default_factory=list)
    stages: list[tuple[str, int, tuple[int, int]]] = field(default_factory=list)

    def phase(self, name: str, round: int, total: int) -> None:
        self.phases.append((name, round))

    def reply(self, reply: Any) -> None:
        raise AssertionError("a fit reports no replies")

    def progress(self, done: int, total: int) -> None:
        raise AssertionError("a fit reports no predictions")

    def stage_closed(self, position: Position, dev: dict[str, Any], rows: tuple[int, int]) -> None:
        self.stages.append((position.stage, position.round, rows))


class Recorder(Callback):
    """Records per epoch: position, training rows, learning rates, predictions for fresh rows."""

    def __init__(self, data: GrowingDataModule, explode_at: int | None) -> None:
        self._data = data
        self._explode_at = explode_at
        self.positions: dict[int, Position] = {}
        self.trained: dict[int, list[str]] = {}
        self.rates: dict[int, list[tuple[float, float]]] = {}
        self.before: dict[int, list[Outcome]] = {}
        self.after: dict[int, list[Outcome]] = {}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        epoch = trainer.current_epoch
        if epoch == self._explode_at:
            raise Killed
        self.positions[epoch] = pl_module.position
        self.trained[epoch], self.rates[epoch] = [], []
        if pl_module.position.stage == "round" and pl_module.position.index == 0:
            self.before[pl_module.position.round] = list(
                pl_module.predict(self._data.fresh_dataloader(), "fresh")
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.trained[trainer.current_epoch] += [
            item.id for item in self._data.items("train", batch["index"])
        ]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        encoder, head = trainer.optimizers[0].param_groups
        self.rates[trainer.current_epoch].append((encoder["lr"], head["lr"]))

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.after[pl_module.position.round] = list(pl_module.outcomes["fresh"])


class Killed(BaseException):
    """Stands in for SIGKILL."""


@dataclass
class Fit:
    """A fit with all its parts."""

    folder: Path
    trainer: Trainer
    module: StudentModule
    data: GrowingDataModule
    growth: GrowthCallback
    method: ScriptedMethod
    round_logger: RoundLogger
    record: Recorder
    reporter: RecordingReporter

    @property
    def pool(self) -> Pool:
        return self.data.pool

    def lines(self, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for line in (self.folder / name).read_text(encoding="utf-8").splitlines()
        ]

    def numbers(self) -> list[dict[str, Any]]:
        """metrics.jsonl without measured times."""
        return [
            {key: value for key, value in line.items() if key != "seconds"} for line in self.lines()
        ]


def build(
    folder: Path,
    encoder: Path,
    method: ScriptedMethod,
    timeline: Timeline | None = None,
    *,
    budget: BudgetedTeacher | None = None,
    predict_then_train: bool = True,
    rate: float = 1e-2,
    window: Any = "batch",
    seed: int = 0,
    resume: bool = False,
    explode_at: int | None = None,
    interruption: Interruption | None = None,
    loss: Any = None,
    selector: Any = None,
    pool_size: int = 0,
    gold: dict[str, str] | None = None,
    task: Task = TASK,
    network: Any = None,
    dev: Sequence[Example] = DEV,
    test: Sequence[Example] = TEST,
    keep_best: bool = False,
    new_weights: Any = None,
    round_weights: Any = None,
    unlabelled: Sequence[str] = (),
    begins: Sequence[Callback] = (),
) -> Fit:
    """Builds a fit, ready for :func:`run`.

    ``begins`` are callbacks between growth and selection. It is the task of
    :mod:`tests.helpers.classification`, unless ``task``, ``network``, ``dev`` and ``test`` name
    another.
    """
    run_folder = RunFolder(folder)
    reporter = RecordingReporter()
    pool = Pool.open(folder / "pool" / "rows.jsonl")
    if not resume:
        pool.append(method.first_rows().rows)
    round_logger = RoundLogger(run_folder, Status(run_folder, "resume me"), task, pool, reporter)
    view = RoundView(window, 2, 0, 0, seed, "shots=1")
    data = GrowingDataModule(
        pool,
        task,
        tiny_tokenizer(),
        dev,
        test,
        SHOTS,
        unlabelled,
        batch_size=4,
        eval_batch_size=8,
        max_length=32,
        seed=seed,
        view=view,
    )
    growth = GrowthCallback(
        method,
        timeline or Timeline(2, 2, 1, 0),
        view,
        FeedbackCollector(task, method, run_folder, predict_then_train),
        round_logger,
        budget,
        BestStudent(folder / "checkpoints") if keep_best else None,
        new_weights=new_weights,
        round_weights=round_weights,
    )
    module = StudentModule(
        (network or tiny_network(encoder, head_dropout=0.1, seed=seed)).train(),
        task,
        loss or CrossEntropyLoss(),
        RateSchedule(),
        selector or EveryRow(),
        batch_size=4,
        learning_rate=rate,
        head_learning_rate=3 * rate,
        weight_decay=0.0,
    )
    record = Recorder(data, explode_at)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=-1,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            Reseed(seed),
            growth,
            *begins,
            SelectionLogger(run_folder, pool_size, gold or {}),
            StopWhenAsked(interruption or Interruption()),
            StageCheckpoint(folder / "checkpoints", growth),
            record,
        ],
    )
    return Fit(folder, trainer, module, data, growth, method, round_logger, record, reporter)


def run(fit: Fit, resume: bool = False) -> Fit:
    """Fits to the end; with ``resume``, from the newest checkpoint."""
    checkpoint = newest_checkpoint(fit.folder / "checkpoints") if resume else None
    assert checkpoint or not resume
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*returned `None`.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        fit.trainer.fit(
            fit.module,
            datamodule=fit.data,
            ckpt_path=str(checkpoint) if checkpoint else None,
            weights_only=True,
        )
    return fit
