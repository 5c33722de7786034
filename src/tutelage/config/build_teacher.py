"""From the configuration to the teacher: its engine, the layers around it, and its prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tutelage.assets import cache_directory
from tutelage.config.build import build
from tutelage.config.check import locate
from tutelage.config.schema import Component, RunConfig
from tutelage.errors import ConfigError
from tutelage.methods.base import Method, TeacherMethod
from tutelage.teacher.base import Teacher
from tutelage.teacher.prompts import PromptSet
from tutelage.teacher.stack import Stack, build_teacher


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
    """Returns whether a teacher has its own engine process, which several runs can share."""
    return _runs_engine_process(config.teacher, "teacher") or any(
        _runs_engine_process(one, f"labelling.teachers.{name}")
        for name, one in config.other_teachers.items()
    )


def _runs_engine_process(teacher: Component, setting: str) -> bool:
    return bool(getattr(locate(teacher.target, setting), "runs_engine_process", False))


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
    """Starts the teacher, and fits the prompts of the method to it.

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
