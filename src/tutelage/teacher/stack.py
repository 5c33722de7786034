"""Wraps an engine into cache, cleaning, recording, transcript and budget, in this order only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tutelage.teacher.base import Teacher
from tutelage.teacher.engines.replay import RecordingTeacher
from tutelage.teacher.wrappers.budget import BudgetedTeacher
from tutelage.teacher.wrappers.cache import CachedTeacher
from tutelage.teacher.wrappers.cleaning import CleanedTeacher
from tutelage.teacher.wrappers.transcript import TranscriptTeacher


@dataclass(frozen=True, slots=True)
class Stack:
    """An engine with its wrappers.

    Attributes:
        teacher: The outermost layer, which a run asks.
        budget: The same layer, typed as the one that counts tokens.
        inner: The layers below budget and transcript, for measurements the run does not pay for.
        cleaning: The layer that counts replies with unusable characters.
        engine: The innermost layer.
        cache: The layer around it; None without one.
    """

    teacher: Teacher
    budget: BudgetedTeacher
    inner: Teacher
    cleaning: CleanedTeacher
    engine: Teacher
    cache: CachedTeacher | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Limitations of the engine and of its replies, for readers of the results."""
        return (*getattr(self.engine, "notes", ()), *self.cleaning.notes)

    def begin(self, tell: Callable[[str], None]) -> None:
        """Lets the engine find out its fingerprint, before anything is written down under it.

        Args:
            tell: Called with each limitation of the engine as it is found, and with whatever is
                wrong with the cache or the replies.

        Raises:
            TeacherError: The engine cannot find out.
        """
        for layer in (self.cache, self.cleaning):
            if layer is not None:
                layer.tell = tell
        if hasattr(self.engine, "on_note"):
            self.engine.on_note = tell
        settle = getattr(self.cache or self.engine, "settle", None)
        if settle is not None:
            settle()

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
    """Wraps an engine as ``budget(transcript(record(clean(cache(engine)))))``.

    The budget lies outside the cache, so billed tokens do not depend on it. Recording and
    transcript include replies from the cache, and no character that a file cannot carry.

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
    # The cache is innermost, so that all other layers see its replies too; cleaning comes next, so
    # that its count does not depend on what was cached.
    teacher: Teacher = engine
    cached: CachedTeacher | None = None
    try:
        if cache is not None:
            teacher = cached = CachedTeacher(teacher, cache)
    except BaseException:
        engine.close()
        raise
    teacher = cleaning = CleanedTeacher(teacher)
    if record is not None:
        teacher = RecordingTeacher(
            teacher,
            record,
            getattr(engine, "context_length", None),
            lambda: bool(getattr(engine, "speaks_chat", False)),
        )
    # The layers above are the run's own.
    inner = teacher
    if transcript is not None:
        teacher = TranscriptTeacher(teacher, transcript)
    budget = BudgetedTeacher(teacher, limit_tokens)
    return Stack(budget, budget, inner, cleaning, engine, cached)
