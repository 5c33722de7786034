"""From configuration nodes to objects, in one place, with errors that name the setting."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tutelage.assets import cache_directory
from tutelage.data.dataset import Dataset
from tutelage.errors import ConfigError, TutelageError, did_you_mean
from tutelage.labelling.base import Labeller, Nearest
from tutelage.methods.base import Method
from tutelage.records import Example
from tutelage.student.module import StudentModule
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Teacher
from tutelage.teacher.prompts import PromptSet
from tutelage.teacher.stack import Stack, build_teacher

_SPANS = (
    "ner",
    "candidates",
    "candidate_width",
    "candidate_parts",
    "shown_words",
    "shown_per_type",
    "shown_sentences",
    "reply_tokens",
)
_LAYERS = ("cache", "record", *_SPANS)
"""Keys of conf/teacher that configure the wrappers around the engine, or how it is asked, not the engine."""


_STAGES = {
    "acquire": "chooses texts of the pool",
    "accept": "judges generated texts",
    "train": "chooses rows to learn from",
}
"""Places that a method may have for a selector, and what one does there."""


def build(node: Any, group: str, without: tuple[str, ...] = (), **given: Any) -> Any:
    """Build what a node's ``_target_`` names.

    Args:
        group: the node's path, for messages.
        without: keys that are not the target's.
        given: arguments that are no configuration.

    Raises:
        ConfigError: the target cannot be imported or does not take these settings.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    values = {
        key: value
        for key, value in OmegaConf.to_container(node, resolve=True).items()
        if key not in without
    }  # type: ignore[union-attr]
    try:
        # Partial, then called here: Hydra would turn given dataclasses into plain dictionaries.
        return instantiate({**values, "_partial_": True}, _convert_="all")(**given)
    except (InstantiationException, TypeError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
            if isinstance(cause, TutelageError):
                raise cause from None
        hint = ""
        if "unexpected keyword argument" in str(cause):
            # An experiment's or ablation's values stay when its group is exchanged on the command line.
            hint = f" An experiment or ablation sets it for another {group}; give values with that {group}'s own keys, or leave it out."
        raise ConfigError(
            f"{group}={values.get('_target_')} could not be built: {cause}.{hint}"
        ) from error


def build_dataset(config: DictConfig) -> Dataset:
    """The data set of conf/data, read for the task of conf/task."""
    from hydra.utils import get_class

    dataset: Dataset = build(
        config.data, "data", ("cue",), kind=get_class(config.task._target_).name
    )
    return dataset


def build_stack(config: DictConfig, folder: Path) -> Stack:
    """The teacher of conf/teacher with its cache, transcript and budget; the engine starts at its first uncached request."""
    given: dict[str, Any] = {}
    if str(config.teacher._target_).endswith("VllmTeacher"):
        given["log_path"] = folder / "teacher" / "engine.log"
        given["log_path"].parent.mkdir(parents=True, exist_ok=True)
    engine: Teacher = build(config.teacher, "teacher", _LAYERS, **given)
    cache = config.teacher.get("cache")
    if cache == "auto":
        cache = cache_directory() / "replies.sqlite"
    record = config.teacher.get("record")
    return build_teacher(
        engine,
        cache=Path(cache).expanduser() if cache else None,
        record=Path(record).expanduser() if record else None,
        transcript=folder / "teacher" / "transcript.jsonl",
        limit_tokens=config.budget.tokens,
    )


def build_mirror(
    config: DictConfig, folder: Path, *, resume: bool
) -> AbstractContextManager[object]:
    """What mirrors the run elsewhere while it is open (conf/logger); nothing for logger=none."""
    if not config.logger.get("_target_"):
        return nullcontext()
    mirror: AbstractContextManager[object] = build(
        config.logger, "logger", folder=folder, resume=resume
    )
    return mirror


def build_method(config: DictConfig) -> Method:
    """The method of conf/method, with prompts, acceptance and calibrator where it takes them."""
    parts: dict[str, Any] = {}
    for stage, argument in (("accept", "acceptance"), ("acquire", "acquirer")):
        if stage in config.method:
            parts[argument] = build_selector(config, stage)
    if parts:
        prompts = build(config.prompt, "prompt")
        parts |= {"prompts": prompts, "new_labeller": partial(build_labeller, config, prompts)}
    method: Method = build(config.method, "method", ("training", "allow_codes", *_STAGES), **parts)
    return method


def build_selector(config: DictConfig, stage: str) -> Any:
    """The selector of a stage: that of conf/selector where it is of the stage, else the method's own.

    Raises:
        ConfigError: the selector of conf/selector is of a stage that the method does not have.
    """
    from hydra.utils import get_class

    if config.selector.get("_target_"):
        own = str(get_class(config.selector._target_).stage)
        if own not in config.method:
            has = ", ".join(name for name in _STAGES if name in config.method)
            raise ConfigError(
                f"The selector {str(config.selector._target_).rsplit('.', 1)[-1]} {_STAGES[own]} (stage {own}), and method={config.method.name} "
                f"has no such stage. Give a selector of one of its stages ({has}), or selector=own."
            )
        if own == "acquire" and not config.method.rounds:
            raise ConfigError(
                f"method={config.method.name} has 0 rounds, so it labels its texts before there is a student, and the selector would never be "
                "asked. Give method.rounds=4 method.n_texts=50 (and method.first=50), or method=llkd_on_demand."
            )
        if own == stage:
            return build(config.selector, "selector")
    return build(config.method[stage], f"method.{stage}")


def build_labeller(
    config: DictConfig,
    prompts: PromptSet,
    task: Task,
    teacher: Teacher,
    demonstrations: Sequence[Example],
    nearest: Nearest | None = None,
) -> Labeller:
    """What labels texts for the run's task, with a calibrator of its own; see :class:`tutelage.labelling.base.NewLabeller`.

    Raises:
        ConfigError: for NER, ``teacher.ner`` is neither extract nor verify.
    """
    from tutelage.labelling.ner_candidates import SpanCandidates
    from tutelage.labelling.ner_extract import SpanExtractor
    from tutelage.labelling.ner_verify import SpanVerifier
    from tutelage.labelling.scoring import TextLabeller

    calibrator = build(config.calibration, "calibration")
    # Methods that never ask the teacher have no such setting, and the teacher may still be measured beside them.
    allow_codes = bool(config.method.get("allow_codes", True))
    if not task.is_token_level:
        return TextLabeller(
            teacher, task.labels, prompts, demonstrations, calibrator, allow_codes, nearest
        )
    if config.teacher.ner not in (ways := ("extract", "verify")):
        raise ConfigError(did_you_mean("teacher.ner", str(config.teacher.ner), ways))
    candidates = SpanCandidates(
        config.teacher.candidate_parts, config.teacher.candidates, config.teacher.candidate_width
    )
    verifier = SpanVerifier(
        teacher,
        task.labels,
        prompts,
        demonstrations,
        calibrator,
        candidates,
        allow_codes,
        config.teacher.shown_per_type,
        nearest,
        config.teacher.shown_words,
    )
    if config.teacher.ner == "extract":
        settings = config.teacher.reply_tokens, config.teacher.shown_sentences
        return SpanExtractor(
            teacher, task.labels, prompts, demonstrations, verifier, *settings, nearest
        )
    return verifier


def build_student(config: DictConfig, task: Task) -> tuple[StudentModule, Any]:
    """The student module with fresh weights from the run's seed, and its tokenizer."""
    import torch

    from tutelage.records import record_id
    from tutelage.student.checkpoint import load_tokenizer, new_classifier, new_tagger

    student = config.student
    torch.manual_seed(int(record_id("init", config.seed), 16) % 2**63)
    if task.is_token_level:
        constrained = bool(getattr(task, "constrained", True))
        network = new_tagger(
            student.model, task.outputs, student.trust_remote_code, constrained=constrained
        )
    else:
        network = new_classifier(
            student.model,
            task.outputs,
            student.pooling,
            student.head_dropout,
            student.trust_remote_code,
        )
    module = StudentModule(
        network.train(),  # from_pretrained gives evaluation mode, and dropout would stay off
        task,
        build(config.loss, "loss"),
        build(student.schedule, "student.schedule"),
        build_selector(config, "train"),
        batch_size=student.batch_size,
        learning_rate=student.learning_rate,
        head_learning_rate=student.head_learning_rate,
        weight_decay=student.weight_decay,
    )
    return module, load_tokenizer(
        student.model, student.trust_remote_code, by_word=task.is_token_level
    )


def set_threads(config: DictConfig) -> None:
    """Torch's CPU threads as configured, or as many as cores that this process may use."""
    import torch

    torch.set_num_threads(config.trainer.threads or len(os.sched_getaffinity(0)))
