"""One fit: student, growing data and method under one Lightning Trainer.

A run's main student and its supervised reference both use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.callbacks.checkpoint import (
    BestStudent,
    StageCheckpoint,
    newest_checkpoint,
    pool_at,
)
from tutelage.callbacks.feedback import FeedbackCollector
from tutelage.callbacks.growth import GrowthCallback
from tutelage.callbacks.round_logger import RoundLogger
from tutelage.config.build import build_callbacks, build_loggers, set_threads
from tutelage.config.build_fit import (
    check_gold,
    class_names_of,
    drawn_from,
    gold_for,
    growing_data,
    guide_for,
    keeps_best,
    method_context,
    new_students,
    round_view,
    timeline,
    unlabelled_texts,
)
from tutelage.config.build_student import (
    build_student,
    new_weights,
    pair_training,
    untrained_student,
)
from tutelage.config.devices import device_count
from tutelage.config.schema import RunConfig
from tutelage.data.cut_texts import cut_texts
from tutelage.data.dataset import Dataset
from tutelage.data.growing import GrowingDataModule
from tutelage.data.pool import Pool
from tutelage.data.training_view import RoundView
from tutelage.errors import ConfigError
from tutelage.followers import Followers, Order, check_started_alone
from tutelage.interruption import Interruption
from tutelage.methods.base import (
    Foreseeing,
    Method,
)
from tutelage.progress import ProgressReporter
from tutelage.ranks import Ranks, free_port
from tutelage.records import Example, Row
from tutelage.run_warnings.rounds import RoundWatch
from tutelage.runs.folder import RunFolder, Status
from tutelage.selectors.protocol import PoolView
from tutelage.student.module import StudentModule
from tutelage.student.pool_view import PredictionCache, StudentPoolView
from tutelage.tasks.protocol import Task
from tutelage.teacher.stack import Stack
from tutelage.teacher.wrappers.prefetch import PrefetchingTeacher
from tutelage.trainer import be_quiet, build_trainer, fit_module

if TYPE_CHECKING:
    from tutelage.callbacks.selection_logger import SelectionLogger


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


@dataclass(frozen=True, slots=True)
class _Given:
    """The arguments of :func:`fit`."""

    config: RunConfig
    folder: RunFolder
    status: Status
    dataset: Dataset
    task: Task
    method: Method
    stack: Stack | None
    reporter: ProgressReporter
    interruption: Interruption
    is_reference: bool


@dataclass(frozen=True, slots=True)
class _Learner:
    """The student, and the data that it trains on.

    Attributes:
        module: The student.
        tokenizer: Its tokenizer.
        data: The loaders over the growing pool.
        view: Chooses the rows of each epoch.
        shots: The gold labels that the method may use.
        names: The rows of ``student.class_names``.
    """

    module: StudentModule
    tokenizer: Any
    data: GrowingDataModule
    view: RoundView
    shots: tuple[Example, ...]
    names: list[Row]


@dataclass(frozen=True, slots=True)
class _Loop:
    """The callbacks of a fit.

    Attributes:
        growth: Moves the run from stage to stage.
        selection: Logs what the train selector keeps.
        best: Keeps the best student; None if the last one counts.
        callbacks: All of them, in Lightning's order.
    """

    growth: GrowthCallback
    selection: SelectionLogger
    best: BestStudent | None
    callbacks: list[Any]


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
    from tutelage.student.checkpoint import save_student

    given = _Given(
        *(config, folder, status, dataset, task, method, stack, reporter, interruption),
        is_reference=is_reference,
    )
    be_quiet()
    set_threads(config)
    ranks = Ranks(0, device_count(config.trainer))
    check_started_alone(ranks.size)
    # The pool and the logs go back to the checkpoint, or to nothing.
    checkpoint = newest_checkpoint(folder.path / "checkpoints") if resume else None
    pool = _open_pool(folder, checkpoint)
    rounds = RoundLogger(folder, status, task, pool, reporter)
    learner = _learner(given, pool, ranks)
    predictions = PredictionCache()
    _set_up_method(given, learner, rounds, predictions)

    # One Trainer.fit is the whole run; the callbacks move it from stage to stage.
    watch = RoundWatch(reporter, config.source)
    loop = _loop(given, learner, rounds, watch, predictions, ranks)
    port = free_port() if ranks.several else 0
    loggers = build_loggers(config, folder.path)
    trainer = build_trainer(config, loop.callbacks, loggers, ranks=ranks, port=port)

    # The first rows come when everything else is known to work: a teacher may be paid for them.
    if checkpoint is None:
        first = method.first_rows()
        pool.append([*learner.names, *first.rows])
        if first.asked:
            rounds.write_growth(first)
            watch.grown(first)
    order = Order(config, task, f"method={method.name}", pool.rows, checkpoint, port)
    try:
        with Followers(order):
            fit_module(trainer, learner.module, learner.data, checkpoint)
    finally:
        ranks.close()
    if stack and stack.ahead and stack.ahead.unused:
        reporter.notice(
            f"The teacher was asked ahead for {stack.ahead.unused:,} tokens that no round needed, "
            "since growth ended before; they are in the cache, and not among the tokens spent."
        )
    network, longest = learner.module.network, config.student.max_length
    return Fitted(
        pool=pool,
        round_logger=rounds,
        stopped_by=loop.growth.stopped_by,
        kept=loop.best.stage if loop.best else None,
        rounds=max((row.round for row in pool.rows), default=0),
        truncated={"student": learner.data.truncated, "teacher": method.truncated},
        calibration_labels=method.calibration_labels,
        shares=loop.selection.shares,
        save=lambda path: save_student(path, network, learner.tokenizer, longest),
    )


def _learner(given: _Given, pool: Pool, ranks: Ranks) -> _Learner:
    """Builds the student and the loaders over its growing data."""
    from tutelage.student.head_fitting import last_layers

    config, dataset, method = given.config, given.dataset, given.method
    shots = gold_for(config, dataset)
    module, tokenizer = build_student(config, given.task, ranks)
    has_others = given.stack is not None or method.rounds > 0
    check_gold(config, module, shots, has_others=has_others)
    if config.student.head == "fitted":
        last_layers(module.network)  # Refuses before the teacher is paid.
    names = class_names_of(config, given.task)
    view = round_view(config, f"method={method.name}")
    data = growing_data(
        config,
        given.task,
        pool,
        tokenizer,
        view,
        dev=dataset.dev,
        test=dataset.test,
        guide=guide_for(config, dataset, names),
        texts=unlabelled_texts(config, method, dataset) if module.loss.needs_texts else (),
        ranks=ranks,
    )
    if not given.is_reference:
        if config.data.get("gold") and not config.method.get("train_on_shots", True):
            given.reporter.warn(
                f"method={config.method_name} shows the texts of data.gold to its teacher and "
                "trains on none of them; method.train_on_shots=true trains on them, too."
            )
        _tell_of_cuts(data, dataset, module, tokenizer, given.reporter)
    return _Learner(module, tokenizer, data, view, shots, names)


def _set_up_method(
    given: _Given, learner: _Learner, rounds: RoundLogger, predictions: PredictionCache
) -> None:
    """Gives the method its context; it sees texts through the student."""
    module, data, reporter = learner.module, learner.data, given.reporter

    def on_reply(reply: Any) -> None:
        reporter.reply(reply)
        given.interruption.check()

    view_pool = pool_viewer(
        given.config, module, learner.tokenizer, predictions, reporter, given.interruption
    )
    given.method.setup(
        method_context(
            given.config,
            given.dataset,
            given.task,
            data.pool,
            learner.shots,
            given.stack.teacher if given.stack else None,
            rounds.phase,
            on_reply,
            view_pool,
            lambda rows: module.predict(data.asked_dataloader(rows), "asked"),
            learner.names,
        )
    )
    for note in getattr(given.method, "notes", ()):
        reporter.notice(note)


def _loop(
    given: _Given,
    learner: _Learner,
    rounds: RoundLogger,
    watch: RoundWatch,
    predictions: PredictionCache,
    ranks: Ranks,
) -> _Loop:
    """Builds the callbacks."""
    from pytorch_lightning.callbacks import LambdaCallback

    from tutelage.callbacks.devices import LeadDevices
    from tutelage.callbacks.housekeeping import Reseed, StopWhenAsked
    from tutelage.callbacks.selection_logger import SelectionLogger
    from tutelage.student.held_out import HeldOut

    config, folder, task = given.config, given.folder, given.task
    method, stack, checkpoints = given.method, given.stack, folder.path / "checkpoints"
    prefetch = None
    if config.training.prefetch and not given.is_reference:
        ahead = stack.ahead if stack else None
        prefetch = prefetching(config, method, ahead, given.interruption)
    best = BestStudent(checkpoints) if keeps_best(config, method) else None
    weights = partial(new_weights, config, task)
    growth = GrowthCallback(
        method,
        timeline(config),
        learner.view,
        FeedbackCollector(task, method, folder, config.training.predict_then_train),
        rounds,
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
        drawn_from(method, given.dataset),
        given.dataset.pool_gold,
        HeldOut(partial(untrained_student, config, task)),
    )
    callbacks = [
        Reseed(config.seed),
        growth,
        *_stage_beginnings(config, kept=False),
        selection,
        *_stage_beginnings(config, kept=True),
        StopWhenAsked(given.interruption),
        # The user's own come before the checkpoint, which holds their state too.
        *build_callbacks(config),
        *([LeadDevices(ranks, growth, learner.data.pool)] if ranks.several else []),
        StageCheckpoint(checkpoints, growth),
        LambdaCallback(on_train_epoch_start=lambda *_: predictions.forget()),
    ]
    return _Loop(growth, selection, best, callbacks)


def _stage_beginnings(config: RunConfig, *, kept: bool) -> list[Any]:
    """Returns the callbacks that prepare the student for a stage.

    Args:
        kept: Those that come after the selector has chosen, for selectors that do not look at the
            student; False for those before, for selectors that do.
    """
    from tutelage.callbacks.contrastive_start import ContrastiveStart
    from tutelage.callbacks.head_fitting import HeadFitting

    pairs, stages = pair_training(config), new_students(config)
    return [
        *([ContrastiveStart(pairs, config.seed, stages, kept=kept)] if pairs else []),
        *([HeadFitting(kept=kept)] if config.student.head == "fitted" else []),
    ]


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


def _open_pool(folder: RunFolder, checkpoint: Path | None) -> Pool:
    pool = Pool.open(folder.path / "pool" / "rows.jsonl")
    if checkpoint is None:
        pool.truncate(0, pool.digest(0))
        folder.keep_lines("metrics.jsonl", 0)
        folder.keep_lines("selection.jsonl", 0)
    else:
        pool.truncate(*pool_at(checkpoint))
    return pool


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
