"""Put the wrappers around an engine, in the one order that is right."""

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
        teacher: the outermost; the one to ask.
        budget: the same, as what counts the tokens.
        inner: the same without budget and transcript, for measurements that the run is not billed for.
        engine: the innermost.
    """

    teacher: Teacher
    budget: BudgetedTeacher
    inner: Teacher
    engine: Teacher

    def close(self) -> None:
        """Close every layer."""
        self.teacher.close()


def build_teacher(
    engine: Teacher,
    *,
    cache: Path | None = None,
    record: Path | None = None,
    transcript: Path | None = None,
    limit_tokens: int | None = None,
) -> Stack:
    """Return budget(transcript(record(cache(engine)))), each but the budget only where a path is given.

    The budget sees everything, so that billed tokens do not depend on the cache; record and transcript see what the cache answered.

    Raises:
        TeacherError: the cache's file cannot be used; the engine is closed then.
    """
    teacher: Teacher = engine
    try:
        if cache is not None:
            teacher = CachedTeacher(teacher, cache)
    except BaseException:
        engine.close()
        raise
    if record is not None:
        teacher = RecordingTeacher(teacher, record)
    inner = teacher
    if transcript is not None:
        teacher = TranscriptTeacher(teacher, transcript)
    budget = BudgetedTeacher(teacher, limit_tokens)
    return Stack(budget, budget, inner, engine)
