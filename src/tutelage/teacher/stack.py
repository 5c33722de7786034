"""Wraps an engine into cache, recording, transcript and budget, in the only correct order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tutelage.teacher.base import Teacher
from tutelage.teacher.engines.replay import RecordingTeacher
from tutelage.teacher.wrappers.budget import BudgetedTeacher
from tutelage.teacher.wrappers.cache import CachedTeacher
from tutelage.teacher.wrappers.transcript import TranscriptTeacher


@dataclass(frozen=True, slots=True)
class Stack:
    """An engine with its wrappers.

    Attributes:
        teacher: The outermost layer, which a run asks.
        budget: The same layer, typed as the one that counts tokens.
        inner: The layers below budget and transcript, for measurements the run does not pay for.
        engine: The innermost layer.
    """

    teacher: Teacher
    budget: BudgetedTeacher
    inner: Teacher
    engine: Teacher

    @property
    def notes(self) -> tuple[str, ...]:
        """Limitations found by the engine, for readers of the results."""
        return tuple(getattr(self.engine, "notes", ()))

    def release(self) -> None:
        """Lets the engine free its memory while the student trains; see ``teacher.lifecycle``."""
        hand_over = getattr(self.engine, "hand_over", None)
        if hand_over is not None:
            hand_over()

    def close(self) -> None:
        """Closes every layer."""
        self.teacher.close()


def build_teacher(
    engine: Teacher,
    *,
    cache: Path | None = None,
    record: Path | None = None,
    transcript: Path | None = None,
    limit_tokens: int | None = None,
) -> Stack:
    """Wraps an engine as ``budget(transcript(record(cache(engine))))``.

    The budget lies outside the cache, so billed tokens do not depend on it. Recording and
    transcript include replies from the cache.

    Args:
        engine: The innermost layer.
        cache: SQLite file of the reply cache; None for no cache.
        record: File to record every reply in, for ``teacher=replay``; None for no recording.
        transcript: JSON Lines file of requests and replies; None for no transcript.
        limit_tokens: Limit of billed tokens; None for no limit.

    Returns:
        The stack of layers.

    Raises:
        TeacherError: The cache file cannot be used. The engine is closed first.
    """
    # The cache is innermost, so that all other layers see its replies too.
    teacher: Teacher = engine
    try:
        if cache is not None:
            teacher = CachedTeacher(teacher, cache)
    except BaseException:
        engine.close()
        raise
    if record is not None:
        teacher = RecordingTeacher(teacher, record)
    # The layers above are the run's own.
    inner = teacher
    if transcript is not None:
        teacher = TranscriptTeacher(teacher, transcript)
    budget = BudgetedTeacher(teacher, limit_tokens)
    return Stack(budget, budget, inner, engine)
