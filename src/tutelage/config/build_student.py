"""From the configuration to the student: its network, its loss and its fresh weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from tutelage.config.build import build
from tutelage.config.schema import RunConfig
from tutelage.errors import ConfigError
from tutelage.labelling.showing import Embed
from tutelage.records import derive_seed
from tutelage.tasks.protocol import Task

if TYPE_CHECKING:
    # A sweep's own process imports this file, and does without torch.
    from tutelage.ranks import Ranks
    from tutelage.student.contrastive_start import PairTraining
    from tutelage.student.module import StudentModule


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
