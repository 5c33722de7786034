"""One fit: student, growing data and method under one Lightning Trainer.

A run's main student and its supervised reference both use it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tutelage.callbacks.checkpoint import (
    BestStudent,
    StageCheckpoint,
    newest_checkpoint,
    pool_at,
)
from tutelage.callbacks.feedback import FeedbackCollector
from tutelage.callbacks.growth import GrowthCallback
from tutelage.callbacks.round_logger import RoundLogger
from tutelage.config.build import (
    build_callbacks,
    build_loggers,
    build_student,
    new_weights,
    pair_training,
    set_threads,
    untrained_student,
)
from tutelage.config.devices import device_count
from tutelage.config.schema import RunConfig
from tutelage.data.cut_texts import cut_texts
from tutelage.data.dataset import Dataset
from tutelage.data.growing import NO_GUIDE, GrowingDataModule
from tutelage.data.pool import Pool
from tutelage.data.training_view import RoundView
from tutelage.errors import ConfigError
from tutelage.followers import Followers, Order, check_started_alone
from tutelage.interruption import Interruption
from tutelage.methods.base import (
    Foreseeing,
    Method,
    MethodContext,
    OnPhase,
    class_name_rows,
    drawn_pool,
    follows_mistakes,
)
from tutelage.progress import ProgressReporter
from tutelage.ranks import Ranks, free_port
from tutelage.records import Example, Outcome, Row, derive_seed
from tutelage.run_warnings.rounds import RoundWatch
from tutelage.runs.folder import RunFolder, Status
from tutelage.selectors.protocol import PoolView
from tutelage.student.module import StudentModule
from tutelage.student.pool_view import PredictionCache, StudentPoolView
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Teacher
from tutelage.teacher.stack import Stack
from tutelage.teacher.wrappers.prefetch import PrefetchingTeacher
from tutelage.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit leaves behind; ``save`` writes the student as a Hugging Face folder."""

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
    config: RunConfig,
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
    is_reference: bool = False,
) -> Fitted:
    """Trains ``method``'s student to the end of its rounds.

    Args:
        stack: the teacher; None for a method that asks none.
        resume: continue from the newest checkpoint in ``folder``, where there is one.
        is_reference: the main student has said what there is to say about the data.

    Raises:
        TutelageError: see the parts; everything answered and trained before is on disk.
    """
    from pytorch_lightning.callbacks import LambdaCallback

    from tutelage.callbacks.contrastive_start import ContrastiveStart
    from tutelage.callbacks.devices import LeadDevices
    from tutelage.callbacks.head_fitting import HeadFitting
    from tutelage.callbacks.housekeeping import Reseed, StopWhenAsked
    from tutelage.callbacks.selection_logger import SelectionLogger
    from tutelage.student.checkpoint import save_student
    from tutelage.student.head_fitting import last_layers
    from tutelage.student.held_out import HeldOut

    be_quiet()
    set_threads(config)
    ranks = Ranks(0, device_count(config.trainer))
    check_started_alone(ranks.size)
    # The pool and the logs go back to the checkpoint, or to nothing.
    checkpoint = newest_checkpoint(folder.path / "checkpoints") if resume else None
    pool = _open_pool(folder, checkpoint)
    round_logger = RoundLogger(folder, status, task, pool, reporter)

    # The student, and the data that it trains on.
    shots = gold_for(config, dataset)
    module, tokenizer = build_student(config, task, ranks)
    check_gold(config, module, shots, has_others=stack is not None or method.rounds > 0)
    if config.student.head == "fitted":
        last_layers(module.network)  # Refuses before the teacher is paid.
    names = class_names_of(config, task)
    view = round_view(config, f"method={method.name}")
    texts = unlabelled_texts(config, method, dataset) if module.loss.needs_texts else ()
    guide = () if config.training.gold == "none" else dataset.shots(config.shots, config.seed)
    data = growing_data(
        config,
        task,
        pool,
        tokenizer,
        view,
        dev=dataset.dev,
        test=dataset.test,
        guide=guide,
        texts=texts,
        ranks=ranks,
    )
    if not is_reference:
        if config.data.get("gold") and not config.method.get("train_on_shots", True):
            reporter.warn(
                f"method={config.method_name} shows the texts of data.gold to its teacher and "
                "trains on none of them; method.train_on_shots=true trains on them, too."
            )
        _tell_of_cuts(data, dataset, module, tokenizer, reporter)

    # The method, which sees texts through the student.
    def on_reply(reply: Any) -> None:
        reporter.reply(reply)
        interruption.check()

    predictions = PredictionCache()
    view_pool = pool_viewer(config, module, tokenizer, predictions, reporter, interruption)
    teacher = stack.teacher if stack else None
    method.setup(
        method_context(
            config,
            dataset,
            task,
            pool,
            shots,
            teacher,
            round_logger.phase,
            on_reply,
            view_pool,
            lambda rows: module.predict(data.asked_dataloader(rows), "asked"),
            names,
        )
    )
    for note in getattr(method, "notes", ()):
        reporter.notice(note)

    # One Trainer.fit is the whole run; the callbacks move it from stage to stage.
    ahead = stack.ahead if stack else None
    prefetch = None
    if config.training.prefetch and not is_reference:
        prefetch = prefetching(config, method, ahead, interruption)
    best = BestStudent(folder.path / "checkpoints") if keeps_best(config, method) else None
    feedback = FeedbackCollector(task, method, folder, config.training.predict_then_train)
    watch = RoundWatch(reporter, config.source)
    weights = partial(new_weights, config, task)
    growth = GrowthCallback(
        method,
        timeline(config),
        view,
        feedback,
        round_logger,
        stack.budget if stack else None,
        best,
        release_teacher=stack.release if stack else None,
        watch=watch,
        new_weights=weights if config.training.final_student == "new" else None,
        round_weights=weights if config.training.round_student == "new" else None,
        prefetch=prefetch,
    )
    selection = SelectionLogger(
        folder,
        drawn_from(method, dataset),
        dataset.pool_gold,
        HeldOut(partial(untrained_student, config, task)),
    )
    # What a stage begins with, for selectors that look at the student and for those that do not.
    pairs, stages = pair_training(config), new_students(config)
    begins: dict[bool, list[Any]] = {
        kept: [
            *([ContrastiveStart(pairs, config.seed, stages, kept=kept)] if pairs else []),
            *([HeadFitting(kept=kept)] if config.student.head == "fitted" else []),
        ]
        for kept in (False, True)
    }
    callbacks = [
        Reseed(config.seed),
        growth,
        *begins[False],
        selection,
        *begins[True],
        StopWhenAsked(interruption),
        # The user's own come before the checkpoint, which holds their state too.
        *build_callbacks(config),
        *([LeadDevices(ranks, growth, pool)] if ranks.several else []),
        StageCheckpoint(folder.path / "checkpoints", growth),
        LambdaCallback(on_train_epoch_start=lambda *_: predictions.forget()),
    ]
    port = free_port() if ranks.several else 0
    trainer = build_trainer(
        config, callbacks, build_loggers(config, folder.path), ranks=ranks, port=port
    )

    # The first rows come when everything else is known to work: a teacher may be paid for them.
    if checkpoint is None:
        first = method.first_rows()
        pool.append([*names, *first.rows])
        if first.asked:
            round_logger.write_growth(first)
            watch.grown(first)
    order = Order(config, task, f"method={method.name}", pool.rows, checkpoint, port)
    try:
        with Followers(order):
            fit_module(trainer, module, data, checkpoint)
    finally:
        ranks.close()
    if ahead and ahead.unused:
        reporter.notice(
            f"The teacher was asked ahead for {ahead.unused:,} tokens that no round needed, since "
            "growth ended before; they are in the cache, and not among the tokens spent."
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


def prefetching(
    config: RunConfig,
    method: Method,
    ahead: PrefetchingTeacher | None,
    interruption: Interruption,
) -> Callable[[int], None]:
    """Returns what asks the teacher for a part of a round before it begins.

    Raises:
        ConfigError: The method knows no part of a round before the student has learnt.
    """
    why = f"method={config.method_name} asks no teacher"
    if ahead is not None:
        why = f"method={config.method_name} knows no request of a round before it begins"
        if isinstance(method, Foreseeing):
            asks, send = method.upcoming, ahead.prefetch
            why = method.foresees
        if not why:
            return lambda round: send(asks(round), interruption.check)
    raise ConfigError(
        "training.prefetch=true asks the teacher for the next round's labels while the student "
        f"trains, and there is nothing to ask for: {why}. Give training.prefetch=false, or a "
        "method that labels random texts of a pool each round: method=llkd_on_demand "
        "acquire=random."
    )


def timeline(config: RunConfig) -> Timeline:
    """Returns the lengths of the stages."""
    training = config.training
    # Only a method that aims at mistakes runs out of them.
    aims = follows_mistakes(config.method.get("feedback")) and training.predict_then_train
    return Timeline(
        training.start_epochs,
        training.round_epochs,
        training.final_epochs,
        training.patience,
        config.evaluate.test_every_round,
        training.start_max_steps,
        training.round_max_steps,
        training.final_max_steps,
        training.stop_after_empty,
        training.stop_after_empty if aims else 0,
    )


def new_students(config: RunConfig) -> tuple[str, ...]:
    """Returns the stages that a new student starts in."""
    later = {"round": config.training.round_student, "final": config.training.final_student}
    return ("start", *(stage for stage, student in later.items() if student == "new"))


def keeps_best(config: RunConfig, method: Method) -> bool:
    """Returns whether the run ends with the student that scored best on dev.

    A method without rounds has one student only.
    """
    return config.training.keep == "best" and method.rounds > 0


def pool_viewer(
    config: RunConfig,
    module: StudentModule,
    tokenizer: Any,
    predictions: PredictionCache,
    reporter: ProgressReporter,
    interruption: Interruption,
) -> Callable[[Sequence[str], Sequence[str]], PoolView]:
    """Returns how a method's selectors see texts: through the student at that moment.

    It reports its progress and stops where the user stops the run.
    """

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
            seen=predictions,
        )

    return view_pool


def check_gold(
    config: RunConfig, module: StudentModule, shots: Sequence[Example], *, has_others: bool
) -> None:
    """Refuses a selector or a loss that compares with gold rows where there will be none.

    It does so before the teacher is paid for the others.

    Args:
        has_others: whether the method adds rows to the gold ones.

    Raises:
        ConfigError: there will be no gold rows.
    """
    by_shots = module.loss.needs_guide and module.loss.guide_from == "shots"
    without = not config.shots and not config.data.get("gold")
    if by_shots and (config.training.gold == "none" or without):
        raise ConfigError(NO_GUIDE)
    needs = module.selector.needs
    compares = "gradients" in needs or ("confirmed" in needs and not config.student.class_names)
    if not has_others or not compares:
        return
    select = config.hydra.choices.get("select") or config.select.kind
    trains_on_shots = config.method.get("train_on_shots", True)
    others = "choose another select="
    if "confirmed" in needs:
        others = f"student.class_names=true (for classes), or {others}"
    if not shots:
        why = "shots=0 gives none"
        if config.training.gold == "none":
            why = "training.gold=none keeps them from the run"
        needed = ["shots=1 or more", "training.gold=shots"]
        needed += [] if trains_on_shots else ["method.train_on_shots=true"]
        raise ConfigError(
            f"select={select} compares rows with gold ones, and {why}; give "
            f"{', '.join(needed[:-1])} and {needed[-1]}, or {others}."
        )
    if not trains_on_shots:
        raise ConfigError(
            f"select={select} compares rows with the gold ones that are trained on, and "
            f"method={config.method_name} trains on none; give method.train_on_shots=true, or "
            f"{others}."
        )


def class_names_of(config: RunConfig, task: Task) -> list[Row]:
    """Returns the rows of ``student.class_names``; none where it is off.

    Raises:
        ConfigError: The task has no classes of whole texts.
    """
    if not config.student.class_names:
        return []
    if task.head != "sequence":
        raise ConfigError(
            "student.class_names=true trains on the names of classes as texts of these classes, "
            "and the name of an entity type is no entity. Give student.class_names=false."
        )
    return class_name_rows(task.labels)


def gold_for(config: RunConfig, dataset: Dataset) -> tuple[Example, ...]:
    """Returns the gold labels that a run's method may use: shots, the whole pool, or none."""
    if config.training.gold == "none":
        return ()
    if config.training.gold == "pool":
        return dataset.supervised()
    return dataset.shots(config.shots, config.seed)


def method_context(
    config: RunConfig,
    dataset: Dataset,
    task: Task,
    pool: Pool,
    shots: tuple[Example, ...],
    teacher: Teacher | None,
    on_phase: OnPhase,
    on_reply: Callable[[Any], None],
    view_pool: Callable[[Sequence[str], Sequence[str]], PoolView],
    predict: Callable[[Sequence[Row]], Sequence[Outcome]],
    class_names: Sequence[Row] = (),
) -> MethodContext:
    """Returns what a method is given; the unlabelled pool's gold labels are left behind here."""
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
        predict,
        tuple(class_names),
    )


def drawn_from(method: Method, dataset: Dataset) -> int:
    """Returns how many unlabelled texts the method may draw from; 0 where it draws from none."""
    settings = getattr(method, "settings", None)
    if settings is None or not hasattr(settings, "pool_size"):
        return 0
    return min(len(dataset.pool), settings.pool_size or len(dataset.pool))


def unlabelled_texts(config: RunConfig, method: Method, dataset: Dataset) -> list[str]:
    """Returns the unlabelled texts that a run may use: those that the method draws from, or all."""
    size = getattr(getattr(method, "settings", None), "pool_size", None)
    return [example.text for example in drawn_pool(dataset.pool, size, config.seed)]


def _open_pool(folder: RunFolder, checkpoint: Path | None) -> Pool:
    pool = Pool.open(folder.path / "pool" / "rows.jsonl")
    if checkpoint is None:
        pool.truncate(0, pool.digest(0))
        folder.keep_lines("metrics.jsonl", 0)
        folder.keep_lines("selection.jsonl", 0)
    else:
        pool.truncate(*pool_at(checkpoint))
    return pool


def round_view(config: RunConfig, source: str) -> RoundView:
    """Returns the view that chooses the rows of each epoch.

    Args:
        source: What gives a run its first rows where it is neither shots nor the pool.

    Raises:
        ConfigError: A new student per round would learn from the rows of its round alone.
    """
    training = config.training
    if training.round_student == "new" and training.train_on != "all":
        raise ConfigError(
            f"training.round_student=new forgets the rows before, and training.train_on="
            f"{training.train_on} shows each round its own alone. Give training.train_on=all, or "
            "training.round_student=trained."
        )
    sources = {"shots": f"shots={config.shots}", "pool": "the pool's gold labels"}
    return RoundView(
        training.train_on,
        training.gold_repeats,
        training.review_every,
        training.review_size,
        config.seed,
        sources.get(training.gold, source),
    )


def growing_data(
    config: RunConfig,
    task: Task,
    pool: Pool,
    tokenizer: Any,
    view: RoundView,
    *,
    dev: Sequence[Example] = (),
    test: Sequence[Example] = (),
    guide: Sequence[Example] = (),
    texts: Sequence[str] = (),
    ranks: Ranks,
) -> GrowingDataModule:
    """Returns the loaders over a growing pool; followers of rank 0 have the training rows alone."""
    return GrowingDataModule(
        pool,
        task,
        tokenizer,
        dev,
        test,
        guide,
        texts,
        batch_size=config.student.batch_size,
        eval_batch_size=config.student.eval_batch_size,
        max_length=config.student.max_length,
        seed=derive_seed("order", config.seed, bits=31),
        view=view,
        ranks=ranks,
    )


def _tell_of_cuts(
    data: GrowingDataModule,
    dataset: Dataset,
    module: StudentModule,
    tokenizer: Any,
    reporter: ProgressReporter,
) -> None:
    # Some tokenizers have no limit of their own, which transformers writes as a huge number.
    own = getattr(module.network.config, "max_position_embeddings", 0) or 0
    limit = min(own or tokenizer.model_max_length, tokenizer.model_max_length)
    said, many = cut_texts(data.encoder, dataset, limit)
    if said:
        (reporter.warn if many else reporter.notice)(said)


def build_trainer(
    config: RunConfig,
    callbacks: list[Any],
    loggers: Sequence[Any] = (),
    *,
    ranks: Ranks,
    port: int = 0,
) -> Any:
    """Lightning's Trainer with the settings of conf/trainer, and what the loop needs itself.

    Args:
        ranks: The processes that train together.
        port: Port at which rank 0 waits for the others.

    Raises:
        ConfigError: Lightning refuses a setting.
    """
    from lightning_fabric.utilities.exceptions import MisconfigurationException
    from pytorch_lightning import Trainer

    settings = dict(config.trainer)
    if settings.get("precision") == "auto":
        settings["precision"] = _precision(str(settings.get("accelerator", "auto")))
    if ranks.several:
        from tutelage.callbacks.strategy import SharedBatches

        # The data module divides each batch itself, and rank 0 alone validates.
        settings |= {
            "strategy": SharedBatches(ranks, port),
            "use_distributed_sampler": False,
            "limit_val_batches": 0,
        }
    try:
        return Trainer(
            **settings,
            max_epochs=-1,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            logger=list(loggers) or False,
            callbacks=callbacks,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(
            f"Lightning's Trainer refuses a setting of trainer or callbacks: "
            f"{' '.join(str(error).split())}"
        ) from error


def fit_module(
    trainer: Any, module: StudentModule, data: GrowingDataModule, checkpoint: Path | None
) -> None:
    """Trains from the first epoch, or from a checkpoint, to the end of the run."""
    with _known_warnings():
        trainer.fit(
            module,
            datamodule=data,
            ckpt_path=str(checkpoint) if checkpoint else None,
            weights_only=True,
        )


@contextmanager
def _known_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # Loaders of tokenised rows need no workers.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # A batch of which nothing is kept.
        warnings.filterwarnings("ignore", message=".*`training_step` returned `None`.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        # A first stage on a few shots has fewer batches than a logger's interval, and a resumed
        # run's logger gets its lines again (see StageMetrics).
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        # What is logged on several devices is their sum already, and some encoders use all their
        # parameters.
        warnings.filterwarnings("ignore", message=".*recommended to use `.*sync_dist=True.*")
        warnings.filterwarnings("ignore", message=".*find_unused_parameters=True was specified.*")
        warnings.filterwarnings("ignore", message=".*Previous log files in this directory.*")
        yield


def be_quiet() -> None:
    """Keeps banners and progress bars off the terminal; warnings and errors still come through."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    for name in (
        "pytorch_lightning",
        "pytorch_lightning.utilities.rank_zero",
        "lightning.pytorch",
        "lightning_fabric.utilities.distributed",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)


def _precision(accelerator: str) -> Any:
    import torch

    gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if gpu else "32-true"
