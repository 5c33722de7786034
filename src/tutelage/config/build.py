"""From the typed configuration to objects, in one place, with errors that name the setting."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.assets import cache_directory
from tutelage.config.check import declared, locate
from tutelage.config.devices import device_count
from tutelage.config.schema import Component, RunConfig
from tutelage.data.dataset import Dataset
from tutelage.errors import ConfigError, TutelageError
from tutelage.labelling.base import Labeller, Nearest
from tutelage.labelling.calibration import Calibrator
from tutelage.labelling.calibration_prior import shares_by_name
from tutelage.labelling.ensemble import MemberTeacher
from tutelage.labelling.showing import Embed
from tutelage.methods.base import Method, TeacherMethod
from tutelage.records import Example, derive_seed
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Teacher
from tutelage.teacher.prompts import PromptSet
from tutelage.teacher.stack import Stack, build_teacher
from tutelage.teacher.wrappers.routing import NamedTeacher, others_of

if TYPE_CHECKING:
    from pytorch_lightning import Callback
    from pytorch_lightning.loggers import Logger

    # A sweep's own process imports this file, and does without torch.
    from tutelage.ranks import Ranks
    from tutelage.student.contrastive_start import PairTraining
    from tutelage.student.module import StudentModule

_STAGES = {
    "acquire": ("acquirer", "chooses texts of the unlabelled pool"),
    "accept": ("accept_selector", "decides about generated texts"),
}
"""Selectors that a method may take: the name of its argument, and what the selector does."""


def build(component: Component, setting: str, **given: Any) -> Any:
    """Creates what a component's target names.

    Args:
        setting: the component's path in the configuration, for messages.
        given: arguments that the run adds.

    Raises:
        ConfigError: the target cannot be imported or refuses these settings.
    """
    target = locate(component.target, setting)
    settings: dict[str, Any] = dict(component.settings)
    try:
        settings_type = getattr(target, "settings_type", None)
        if settings_type is not None:
            return target(settings_type(**settings), **given)
        return target(**settings, **given)
    except TutelageError:
        raise
    except TypeError as error:
        raise ConfigError(f"{setting}={component.target} could not be built: {error}.") from error


def build_task(config: RunConfig, dataset: Dataset) -> Task:
    """Builds the task of conf/task over the labels of the data set."""
    task: Task = build(config.task, "task", labels=dataset.labels)
    return task


def task_class(config: RunConfig) -> Any:
    """Returns the class of conf/task, for what a task knows without labels."""
    return locate(config.task.target, "task")


def build_dataset(config: RunConfig) -> Dataset:
    """Reads the data set of conf/data for the task of conf/task."""
    dataset: Dataset = build(config.data, "data", kind=task_class(config).name)
    return dataset


def build_stack(config: RunConfig, folder: Path, engine: Teacher | None = None) -> Stack:
    """Builds the teacher with its cache, transcript and budget.

    The engine starts at its first request that is not in the cache.

    Args:
        config: the configuration.
        folder: the folder of the transcript and of the engine's log.
        engine: an engine in place of that of the configuration; None builds it.

    Raises:
        ConfigError: ``training.prefetch`` has no cache for the replies, or no engine of its own.
    """
    if config.training.prefetch:
        _check_prefetch(config)
    if engine is None:
        engine = _build_engine(config.teacher, "teacher", folder / "teacher" / "engine.log")
    others = {
        name: _build_engine(
            one, f"labelling.teachers.{name}", folder / "teacher" / f"engine-{name}.log"
        )
        for name, one in config.other_teachers.items()
    }
    return build_teacher(
        engine,
        cache=cache_file(config),
        record=Path(config.record).expanduser() if config.record else None,
        transcript=folder / "teacher" / "transcript.jsonl",
        limit_tokens=config.budget.tokens,
        others=others,
        prefetch=config.training.prefetch,
    )


def cache_file(config: RunConfig) -> Path | None:
    """Returns the file of ``teacher.cache``; None for no cache."""
    if config.cache == "auto":
        return cache_directory() / "replies.sqlite"
    return Path(config.cache).expanduser() if config.cache else None


def _check_prefetch(config: RunConfig) -> None:
    if not config.cache:
        raise ConfigError(
            "training.prefetch=true keeps replies in the cache until a round wants them, and "
            "teacher.cache=null has none. Give teacher.cache=auto, or training.prefetch=false."
        )
    for one in (config.teacher, *config.other_teachers.values()):
        if one.get("lifecycle", "resident") != "resident":
            raise ConfigError(
                "training.prefetch=true asks the teacher while the student trains, and "
                f"teacher.lifecycle={one.get('lifecycle')} takes it out of memory then. Give "
                "teacher.lifecycle=resident, or training.prefetch=false."
            )
        if one.kind == "LocalTeacher":
            raise ConfigError(
                "training.prefetch=true needs a teacher in a process of its own, and teacher=local "
                "computes in the run's. Give teacher=vllm or teacher=server, or "
                "training.prefetch=false."
            )


def _build_engine(teacher: Component, setting: str, log_path: Path) -> Teacher:
    given: dict[str, Any] = {}
    if _runs_engine_process(teacher, setting):
        given["log_path"] = log_path
        log_path.parent.mkdir(parents=True, exist_ok=True)
    engine: Teacher = build(teacher, setting, **given)
    return engine


def shares_engine(config: RunConfig) -> bool:
    """Returns whether a teacher runs an engine process of its own, which many runs can share."""
    return _runs_engine_process(config.teacher, "teacher") or any(
        _runs_engine_process(one, f"labelling.teachers.{name}")
        for name, one in config.other_teachers.items()
    )


def _runs_engine_process(teacher: Component, setting: str) -> bool:
    return bool(getattr(locate(teacher.target, setting), "runs_engine_process", False))


def build_loggers(config: RunConfig, folder: Path) -> list[Logger]:
    """Builds Lightning's loggers of conf/logger; each writes below the run's folder by default."""
    import inspect

    loggers: list[Logger] = []
    for name, component in config.logger.items():
        if not _is_lightnings(component, name):
            continue
        target = locate(component.target, f"logger.{name}")
        takes = inspect.signature(target).parameters
        given = {"save_dir": str(folder)} if "save_dir" in takes else {}
        given = {key: value for key, value in given.items() if key not in component.settings}
        if target.__name__ == "MLFlowLogger" and "tracking_uri" not in component.settings:
            given["save_dir"] = str(folder / "mlflow")
        try:
            loggers.append(build(component, f"logger.{name}", **given))
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"logger={name} needs a package that is not installed: {error}. Install it, or "
                "leave the logger out."
            ) from error
    return loggers


def _is_lightnings(logger: Component, name: str) -> bool:
    import inspect

    from pytorch_lightning.loggers import Logger

    target = locate(logger.target, f"logger.{name}")
    return inspect.isclass(target) and issubclass(target, Logger)


def build_callbacks(config: RunConfig) -> list[Callback]:
    """Builds the Lightning callbacks of conf/callbacks.

    Raises:
        ConfigError: one of them is no Lightning callback, or needs a logger where there is none.
    """
    from pytorch_lightning import Callback
    from pytorch_lightning.callbacks import DeviceStatsMonitor, LearningRateMonitor

    logs = any(_is_lightnings(one, name) for name, one in config.logger.items())
    built = {name: build(one, f"callbacks.{name}") for name, one in config.callbacks.items()}
    for name, callback in built.items():
        if not isinstance(callback, Callback):
            raise ConfigError(
                f"callbacks.{name}: {config.callbacks[name].target} builds a "
                f"{type(callback).__name__}, which is no pytorch_lightning.Callback."
            )
        if isinstance(callback, DeviceStatsMonitor | LearningRateMonitor) and not logs:
            raise ConfigError(
                f"callbacks={name} writes to a logger, and there is none: give logger=csv, "
                "tensorboard or mlflow."
            )
    return list(built.values())


def build_mirrors(config: RunConfig, folder: Path, *, resume: bool) -> ExitStack:
    """Opens what mirrors the run's folder elsewhere (logger=wandb), until the stack is closed."""
    stack = ExitStack()
    for name, component in config.logger.items():
        if _is_lightnings(component, name):
            continue
        mirror = build(component, f"logger.{name}", folder=folder, resume=resume)
        if not hasattr(mirror, "__enter__"):
            raise ConfigError(
                f"logger.{name}: {component.target} is neither a Lightning logger nor a mirror of "
                "the run's folder (a context manager that takes folder and resume)."
            )
        stack.enter_context(mirror)
    return stack


def build_method(config: RunConfig) -> Method:
    """Builds the method of conf/method, with prompts, selectors and labeller where it takes them.

    Raises:
        ConfigError: a selector is set for a stage that the method does not have, or one is missing.
    """
    import inspect

    takes = inspect.signature(locate(config.method.target, "method")).parameters
    given: dict[str, Any] = {}
    for stage, (argument, does) in _STAGES.items():
        component: Component | None = getattr(config, stage)
        if argument not in takes:
            if component is not None:
                raise ConfigError(
                    f"{stage}={config.hydra.choices.get(stage) or component.kind} {does}, and "
                    f"method={config.method_name} has no such stage. Leave it out, or give "
                    f"{stage}=none."
                )
            continue
        if component is None and takes[argument].default is not inspect.Parameter.empty:
            continue  # the method itself knows whether it needs one
        if component is None:
            raise ConfigError(
                f"method={config.method_name} needs a selector that {does}: give {stage}=…, one of "
                f"the options in conf/{stage}."
            )
        given[argument] = build(component, stage)
    _check_acquire(config)
    if "prompts" in takes:
        given["prompts"] = build_prompts(config)
        # One encoder for all labellers of the run.
        given["new_labeller"] = partial(
            build_labeller, config, given["prompts"], embed=build_encoder(config)
        )
    method: Method = build(config.method, "method", **given)
    return method


def build_prompts(
    config: RunConfig, engine: Teacher | None = None, teacher: Teacher | None = None
) -> PromptSet:
    """Builds the prompts; with an engine, fitted to it (see :func:`settle_prompts`)."""
    prompts: PromptSet = build(config.prompt, "prompt")
    if engine is not None:
        settle_prompts(prompts, engine, teacher or engine)
    return prompts


def settle_prompts(prompts: PromptSet, engine: Teacher, teacher: Teacher) -> None:
    """Fits prompts to an engine: chats or texts to continue, and the lengths of texts.

    Args:
        prompts: The prompts.
        engine: The innermost teacher, which may say that chats suit it (``speaks_chat``), whether
            it scores what follows a text (``scores_texts``), and how much it reads
            (``context_length``).
        teacher: The layer around it whose tokenizer counts; a recording notes what it counted.

    Raises:
        TeacherError: The model's tokenizer cannot be loaded.
    """
    prompts.settle(
        bool(getattr(engine, "speaks_chat", False)),
        teacher.tokenize,
        getattr(engine, "context_length", None),
        scores_texts=bool(getattr(engine, "scores_texts", True)),
    )


def begin_teacher(method: Method, stack: Stack, tell: Callable[[str], None]) -> None:
    """Lets a teacher find out what it is, and the method choose its prompts for it.

    Args:
        method: The method.
        stack: The teacher.
        tell: Called with each limitation of the engine, and with whatever is wrong with its cache.

    Raises:
        ConfigError: Two teachers are the same.
        TeacherError: The engine cannot find out.
    """
    stack.begin(tell)
    known = {stack.first.teacher.fingerprint: "teacher"}
    for name, layers in stack.others.items():
        same = known.setdefault(layers.teacher.fingerprint, f"labelling.teachers.{name}")
        if same != f"labelling.teachers.{name}":
            raise ConfigError(
                f"labelling.teachers.{name} is the same teacher as {same} "
                f"({layers.teacher.fingerprint}), so its opinion would count twice. Give it "
                "another model, or leave it out."
            )
    if isinstance(method, TeacherMethod):
        settle_prompts(method.prompts, stack.engine, stack.inner)


def _check_acquire(config: RunConfig) -> None:
    """Refuses an acquire selector that would never be asked."""
    chosen = config.hydra.choices.get("acquire", "")
    idle = config.acquire is not None and not config.method.get("rounds")
    if idle and "acquire" in config.hydra.named and chosen not in ("random", "none", ""):
        raise ConfigError(
            f"method={config.method_name} has 0 rounds, so it labels its texts before there is a "
            f"student, and acquire={chosen} would never be asked. Give method.rounds=4 "
            "method.n_texts=50 (and method.first=50), or method=llkd_on_demand."
        )


def build_labeller(
    config: RunConfig,
    prompts: PromptSet,
    task: Task,
    teacher: Teacher,
    demonstrations: Sequence[Example],
    nearest: Nearest | None = None,
    embed: Embed | None = None,
) -> Labeller:
    """Builds what labels texts, with a calibrator of its own.

    See :class:`tutelage.labelling.base.NewLabeller`.

    Args:
        embed: embeds texts; None loads the student's encoder where it is needed.

    Raises:
        ConfigError: the labelling is for another task.
    """
    # Before it reads the shots, whose labels have the form of the task's own.
    made = locate(config.labelling.target, "labelling")
    _check_labelling(config, task, getattr(_made_by(made), "is_token_level", None))
    names = [label.name for label in task.labels]
    more = {
        "embed": embed or build_encoder(config),
        "seed": config.seed,
        "open_teacher": partial(_member_teacher, config, prompts, teacher, names),
    }
    takes = declared(made)
    labeller: Labeller = build(
        config.labelling,
        "labelling",
        teacher=teacher,
        labels=task.labels,
        prompts=prompts,
        shots=demonstrations,
        calibrator=build_calibrator(config, prompts, names),
        nearest=nearest,
        **{name: value for name, value in more.items() if takes.open or name in takes.types},
    )
    _check_labelling(config, task, labeller.is_token_level)
    return labeller


def _member_teacher(
    config: RunConfig, prompts: PromptSet, teacher: Teacher, names: Sequence[str], name: str
) -> MemberTeacher:
    """Returns a teacher of ``labelling.teachers``, with prompts and a calibrator that suit it."""
    own = others_of(teacher)[name]
    fitted = build_prompts(config, own.engine, own.teacher)
    # Texts that any of the teachers sees cut are counted together.
    fitted.cut = prompts.cut
    return MemberTeacher(
        name,
        NamedTeacher(name, teacher, own.teacher),
        fitted,
        build_calibrator(config, fitted, names),
    )


def build_calibrator(config: RunConfig, prompts: PromptSet, names: Sequence[str]) -> Calibrator:
    """Builds a calibrator of conf/calibration for the teacher that the prompts are fitted to.

    Args:
        names: names of the labels, in order, for a prior by name.
    """
    takes = declared(locate(config.calibration.target, "calibration"))
    given: dict[str, Any] = {}
    if "suits_chat" in takes.types:
        given["suits_chat"] = prompts.suits_chat
    if "labels" in takes.types:
        given["labels"] = len(names)
    component = config.calibration
    if isinstance(prior := component.get("prior"), Mapping):
        shares = shares_by_name(prior, names)
        component = replace(component, settings={**component.settings, "prior": shares})
    calibrator: Calibrator = build(component, "calibration", **given)
    return calibrator


def _made_by(target: Any) -> Any:
    """The class that a class or a function builds; None where a function does not say it."""
    import inspect
    import typing

    if inspect.isclass(target):
        return target
    try:
        return typing.get_type_hints(target).get("return")
    except (NameError, TypeError):  # names that only a type checker imports
        return None


def _check_labelling(config: RunConfig, task: Task, marks: Any) -> None:
    """Refuses a labelling that marks entities where the task has classes, or the reverse.

    Args:
        marks: whether it marks entities; anything but true and false is not known yet.
    """
    if isinstance(marks, bool) and marks != task.is_token_level:
        raise ConfigError(
            f"labelling={config.hydra.choices.get('labelling')} labels "
            f"{'entities' if marks else 'whole texts'}, and task={task.name} "
            "does not. Leave labelling out, or choose one for the task."
        )


def build_encoder(config: RunConfig) -> Embed:
    """Builds the student's encoder as it is before any training; it is loaded at its first text."""

    @cache
    def encoder() -> Embed:
        from tutelage.student.encoder import PretrainedEncoder

        student = config.student
        return PretrainedEncoder(
            student.model,
            student.max_length,
            student.eval_batch_size,
            student.trust_remote_code,
        )

    return lambda texts: encoder()(texts)


def build_student(
    config: RunConfig, task: Task, ranks: Ranks | None = None
) -> tuple[StudentModule, Any]:
    """Builds the student with fresh weights from the run's seed, and its tokenizer.

    Args:
        ranks: The processes that train it; None for this one alone.

    Raises:
        ConfigError: Settings of the student contradict each other, or the task.
    """
    from tutelage.student.checkpoint import load_tokenizer
    from tutelage.student.freezing import freeze_encoder
    from tutelage.student.module import StudentModule
    from tutelage.student.peers import networks_of

    student = config.student
    _check_student(config, task)
    # from_pretrained gives evaluation mode, and dropout would stay off.
    network = _new_network(config, task).train()
    if student.freeze_encoder:
        freeze_encoder(network)
    tokenizer = load_tokenizer(student.model, student.trust_remote_code, head=task.head)
    loss = build(config.loss, "loss")
    loss.prepare(networks_of(network)[0], tokenizer)
    if ranks is not None and ranks.several and not loss.divisible:
        raise ConfigError(
            f"loss={config.hydra.choices.get('loss') or config.loss.kind} compares or remembers "
            "rows of a whole batch, and several devices see a share of it each "
            f"(trainer.devices={config.trainer['devices']}). Give trainer.devices=1, or a loss of "
            "each row alone: loss=cross_entropy, soft_targets, soft_mix, candidate_sets, "
            "generalised or symmetric."
        )
    module = StudentModule(
        network,
        task,
        loss,
        build(student.schedule, "student.schedule"),
        build(config.select, "select"),
        batch_size=student.batch_size,
        learning_rate=student.learning_rate,
        head_learning_rate=student.head_learning_rate,
        weight_decay=student.weight_decay,
        ranks=ranks,
    )
    return module, tokenizer


def _check_student(config: RunConfig, task: Task) -> None:
    """Refuses a start that the student or the task cannot have."""
    if config.student.encoder == "static" and task.head != "sequence":
        raise ConfigError(
            f"student.encoder=static gives each word a vector without its context, and "
            f"task={task.name} needs the context. Give student.encoder=transformer."
        )
    steps = config.student.contrastive_start
    if steps < 0:
        raise ConfigError(
            f"student.contrastive_start={steps} must be a number of optimizer steps; 0 leaves the "
            "start out."
        )
    if steps and task.head != "sequence":
        raise ConfigError(
            f"student.contrastive_start={steps} compares the embeddings of whole texts of a class, "
            f"and task={task.name} has classes of words. Give student.contrastive_start=0."
        )
    if steps and config.student.freeze_encoder:
        raise ConfigError(
            f"student.contrastive_start={steps} tunes the encoder, and student.freeze_encoder=true "
            "forbids it. Give student.contrastive_start=0, or student.freeze_encoder=false."
        )


def pair_training(config: RunConfig) -> PairTraining | None:
    """Builds the settings of ``student.contrastive_start``; None where it is off."""
    from tutelage.student.contrastive_start import PairTraining

    student = config.student
    if not student.contrastive_start:
        return None
    return PairTraining(
        student.contrastive_start,
        student.batch_size,
        student.learning_rate,
        student.weight_decay,
        build(student.schedule, "student.schedule"),
        first_token=student.pooling == "first",
    )


def new_weights(config: RunConfig, task: Task) -> Mapping[str, Any]:
    """Returns the weights that :func:`build_student` starts from.

    The run's own random numbers go on as if nothing had been drawn.
    """
    import torch

    with torch.random.fork_rng():
        weights: Mapping[str, Any] = _new_network(config, task).state_dict()
        return weights


def untrained_student(config: RunConfig, task: Task) -> StudentModule:
    """Returns another student with the weights that :func:`build_student` starts from.

    The run's own random numbers go on as if nothing had been drawn.
    """
    import torch

    with torch.random.fork_rng():
        return build_student(config, task)[0]


def _new_network(config: RunConfig, task: Task) -> Any:
    from tutelage.student.peers import PeerNetworks

    # The first network is the one that a student without peers has.
    if config.student.peers == 1:
        return _new_peer(config, task)
    return PeerNetworks([_new_peer(config, task, *more) for more in ((), ("peer",))])


def _new_peer(config: RunConfig, task: Task, *more: str) -> Any:
    import torch

    from tutelage.student.checkpoint import new_network

    student = config.student
    torch.manual_seed(derive_seed("init", config.seed, *more, bits=63))
    return new_network(
        task.head,
        student.model,
        task.outputs,
        pooling=student.pooling,
        head_dropout=student.head_dropout,
        trust_remote_code=student.trust_remote_code,
        saved=task.student_settings,
        encoder=student.encoder,
    )


def set_threads(config: RunConfig) -> None:
    """Sets torch's CPU threads: as configured, or one per core that this process may use.

    With several devices for the student, their processes divide the threads evenly.
    """
    import torch

    threads = config.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(max(1, threads // device_count(config.trainer)))
