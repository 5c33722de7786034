"""One fit: student, growing data and method under one Lightning Trainer. The run's main arm and its supervised ceiling both use it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from tutelage.callbacks.checkpoint import BestStudent, StageCheckpoint, newest_checkpoint, pool_at
from tutelage.callbacks.feedback import FeedbackCollector
from tutelage.callbacks.growth import GrowthCallback
from tutelage.callbacks.round_logger import RoundLogger
from tutelage.config.build import build_student, set_threads
from tutelage.data.dataset import Dataset
from tutelage.data.growing import NO_GUIDE, GrowingDataModule
from tutelage.data.pool import Pool
from tutelage.data.training_view import RoundView
from tutelage.errors import ConfigError, did_you_mean
from tutelage.interruption import Interruption
from tutelage.methods.base import Method, MethodContext, OnPhase
from tutelage.progress import ProgressReporter
from tutelage.records import Example, record_id
from tutelage.runs.folder import RunFolder, Status
from tutelage.selectors.protocol import PoolView
from tutelage.student.module import StudentModule
from tutelage.student.pool_view import PredictionCache, StudentPoolView
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Teacher
from tutelage.teacher.stack import Stack
from tutelage.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit leaves behind; the student itself is saved by ``save``."""

    pool: Pool
    round_logger: RoundLogger
    stopped_by: str
    kept: dict[str, Any] | None
    rounds: int
    truncated: dict[str, int]
    calibration_labels: int
    shares: dict[str, Any]
    save: Callable[[Path], None]


def fit(
    config: DictConfig,
    folder: RunFolder,
    status: Status,
    dataset: Dataset,
    task: Task,
    method: Method,
    stack: Stack | None,
    reporter: ProgressReporter,
    interruption: Interruption,
    *,
    resume: bool,
) -> Fitted:
    """Train ``method``'s student to the end of its rounds, from the last checkpoint where ``resume`` finds one.

    Raises:
        TutelageError: see the parts; whatever was answered and trained before is on disk.
    """
    from pytorch_lightning import Trainer
    from pytorch_lightning.callbacks import LambdaCallback

    from tutelage.callbacks.housekeeping import Reseed, StopWhenAsked
    from tutelage.callbacks.selection_logger import SelectionLogger
    from tutelage.student.checkpoint import save_student

    training = config.method.training
    _quiet()
    set_threads(config)
    checkpoint = newest_checkpoint(folder.path / "checkpoints") if resume else None
    pool = Pool.open(folder.path / "pool" / "rows.jsonl")
    if checkpoint is None:
        pool.truncate(0, pool.digest(0))
        folder.keep_lines("metrics.jsonl", 0)
        folder.keep_lines("selection.jsonl", 0)
    else:
        pool.truncate(*pool_at(checkpoint))
    round_logger = RoundLogger(folder, status, task, pool, reporter)
    shots = shots_of(config, dataset)

    def on_reply(reply: Any) -> None:
        reporter.reply(reply)
        interruption.check()

    module, tokenizer = build_student(config, task)
    check_gold(config, module, shots, asks_teacher=stack is not None)
    view = RoundView(
        training.train_on, training.gold_repeats, training.review_every, training.review_size, config.seed,
        {"shots": f"shots={config.shots}", "pool": "the pool's gold labels"}.get(training.gold, f"method={method.name}"),
    )  # fmt: skip
    data = GrowingDataModule(
        pool,
        task,
        tokenizer,
        dataset.dev,
        dataset.test,
        () if training.gold == "none" else dataset.shots(config.shots, config.seed),
        batch_size=config.student.batch_size,
        eval_batch_size=config.student.eval_batch_size,
        max_length=config.student.max_length,
        seed=int(record_id("order", config.seed), 16) % 2**31,
        view=view,
    )

    seen = PredictionCache()
    view_pool = student_view(config, module, tokenizer, seen, reporter, interruption)
    method.setup(
        method_context(
            config,
            dataset,
            task,
            pool,
            shots,
            stack.teacher if stack else None,
            round_logger.phase,
            on_reply,
            view_pool,
        )
    )
    if checkpoint is None:
        first = method.first_rows()
        pool.append(first.rows)
        if first.asked:
            round_logger.write_growth(first)
    best = BestStudent(folder.path / "checkpoints") if keeps_best(config) else None
    growth = GrowthCallback(
        method,
        Timeline(
            training.start_epochs,
            training.round_epochs,
            training.final_epochs,
            training.patience,
            config.evaluate.test_every_round,
            training.start_max_steps,
            training.round_max_steps,
            training.final_max_steps,
        ),
        view,
        FeedbackCollector(task, method, folder, training.predict_then_train),
        round_logger,
        stack.budget if stack else None,
        best,
    )
    selection = SelectionLogger(folder, drawn_from(config, dataset), dataset.pool_gold)
    saver = StageCheckpoint(folder.path / "checkpoints", growth)
    precision = config.trainer.precision
    trainer = Trainer(
        accelerator=config.trainer.accelerator,
        devices=1,
        precision=_precision(config.trainer.accelerator) if precision == "auto" else precision,
        max_epochs=-1,
        gradient_clip_val=config.trainer.gradient_clip,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            Reseed(config.seed),
            growth,
            selection,
            StopWhenAsked(interruption),
            saver,
            LambdaCallback(on_train_epoch_start=lambda *_: seen.forget()),
        ],
    )
    with warnings.catch_warnings():
        # Known and harmless here: loaders of tokenised rows need no workers.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings(
            "ignore", message=".*`training_step` returned `None`.*"
        )  # a batch of which nothing is kept
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        trainer.fit(
            module,
            datamodule=data,
            ckpt_path=str(checkpoint) if checkpoint else None,
            weights_only=True,
        )
    return Fitted(
        pool=pool,
        round_logger=round_logger,
        stopped_by=growth.stopped_by,
        kept=best.stage if best else None,
        rounds=max((row.round for row in pool.rows), default=0),
        truncated={"student": data.truncated, "teacher": method.truncated},
        calibration_labels=method.calibration_labels,
        shares=selection.shares,
        save=lambda path: save_student(path, module.network, tokenizer, config.student.max_length),
    )


def keeps_best(config: DictConfig) -> bool:
    """Whether the run ends with the student that did best on dev, instead of the last one; without rounds there is one student alone.

    Raises:
        ConfigError: ``method.training.keep`` is neither.
    """
    if (keep := str(config.method.training.keep)) not in (ways := ("last", "best")):
        raise ConfigError(did_you_mean("method.training.keep", keep, ways))
    return keep == "best" and config.method.get("rounds", 0) > 0


def student_view(
    config: DictConfig,
    module: StudentModule,
    tokenizer: Any,
    seen: PredictionCache,
    reporter: ProgressReporter,
    interruption: Interruption,
) -> Callable[[Sequence[str], Sequence[str]], PoolView]:
    """How a method's selectors see texts: a sight of the student as it stands, which shows its progress and stops where the run is to stop."""

    def on_chunk(_: str, done: int, total: int) -> None:
        reporter.progress(done, total)
        interruption.check()

    def view_pool(texts: Sequence[str], learnt: Sequence[str]) -> PoolView:
        return StudentPoolView(
            module,
            tokenizer,
            texts,
            learnt,
            max_length=config.student.max_length,
            seed=config.seed,
            batch_size=config.student.eval_batch_size,
            on_chunk=on_chunk,
            seen=seen,
        )

    return view_pool


def check_gold(
    config: DictConfig, module: StudentModule, shots: Sequence[Example], *, asks_teacher: bool
) -> None:
    """Refuse a selector or a loss that compares with gold rows where there will be none, before the teacher is paid for the others.

    Raises:
        ConfigError: there will be none.
    """
    if module.loss.needs_guide and (config.method.training.gold == "none" or not config.shots):
        raise ConfigError(NO_GUIDE)
    if not asks_teacher or "gradients" not in module.selector.needs:
        return
    if not shots:
        why = (
            "method.training.gold=none keeps them from the run"
            if config.method.training.gold == "none"
            else "shots=0 gives none"
        )
        raise ConfigError(
            f"selector=gradient_similarity compares rows with gold ones, and {why}; give shots=1 or more and method.training.gold=shots, "
            "or choose another selector=."
        )
    if not config.method.get("train_on_shots", True):
        raise ConfigError(
            f"selector=gradient_similarity compares rows with the gold ones that are trained on, and method={config.method.name} trains on "
            "none; give method.train_on_shots=true, or choose another selector=."
        )


def shots_of(config: DictConfig, dataset: Dataset) -> tuple[Example, ...]:
    """The gold labels that a run's method may use: the shots, those of the whole pool, or none.

    Raises:
        ConfigError: ``method.training.gold`` is none of the three.
    """
    gold = str(config.method.training.gold)
    if gold not in (ways := ("none", "pool", "shots")):
        raise ConfigError(did_you_mean("method.training.gold", gold, ways))
    if gold == "none":
        return ()
    return dataset.supervised() if gold == "pool" else dataset.shots(config.shots, config.seed)


def method_context(
    config: DictConfig,
    dataset: Dataset,
    task: Task,
    pool: Pool,
    shots: tuple[Example, ...],
    teacher: Teacher | None,
    on_phase: OnPhase,
    on_reply: Callable[[Any], None],
    view_pool: Callable[[Sequence[str], Sequence[str]], PoolView],
) -> MethodContext:
    """What a method stands on; the pool's gold labels are left behind here."""
    held_out = [
        (split, example.text)
        for split, examples in (("dev", dataset.dev), ("test", dataset.test))
        for example in examples
    ]
    return MethodContext(
        task,
        pool,
        shots,
        dataset.pool,
        dataset.dev,
        tuple(held_out),
        config.seed,
        teacher,
        on_phase,
        on_reply,
        view_pool,
    )


def drawn_from(config: DictConfig, dataset: Dataset) -> int:
    """Texts of the pool that the method may draw from; 0 where it draws from none."""
    if "pool_size" not in config.method:
        return 0
    return min(len(dataset.pool), config.method.pool_size or len(dataset.pool))


def _quiet() -> None:
    """Keep Lightning's banners and transformers' bars off the terminal; warnings and errors still come through."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _precision(accelerator: str) -> Any:
    import torch

    return (
        "bf16-mixed"
        if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        else "32-true"
    )
