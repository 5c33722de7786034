"""Wraps an engine into cache, cleaning, recording, transcript and budget, in this order only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tutelage.teacher.base import Teacher
from tutelage.teacher.engines.replay import RecordingTeacher
from tutelage.teacher.wrappers.budget import BudgetedTeacher
from tutelage.teacher.wrappers.cache import CachedTeacher
from tutelage.teacher.wrappers.cleaning import CleanedTeacher
from tutelage.teacher.wrappers.prefetch import PrefetchingTeacher
from tutelage.teacher.wrappers.routing import Layers, RoutedTeacher
from tutelage.teacher.wrappers.transcript import TranscriptTeacher


@dataclass(frozen=True, slots=True)
class Stack:
    """One or several engines with their wrappers.

    Attributes:
        teacher: The outermost layer, which a run asks.
        budget: The same layer, typed as the one that counts tokens.
        inner: The layers below budget and transcript, for measurements the run does not pay for.
        first: The run's own teacher, with the layers that are its own.
        others: Further teachers by name (``labelling.teachers``).
        ahead: The layer that asks while the student trains; None without ``training.prefetch``.
    """

    teacher: Teacher
    budget: BudgetedTeacher
    inner: Teacher
    first: Layers
    others: Mapping[str, Layers] = field(default_factory=dict)
    ahead: PrefetchingTeacher | None = None

    @property
    def engine(self) -> Teacher:
        """The innermost layer of the run's own teacher."""
        return self.first.engine

    @property
    def notes(self) -> tuple[str, ...]:
        """Limitations of the engines and of their replies, for readers of the results."""
        of_others = (
            f"{name}: {note}" for name, layers in self.others.items() for note in layers.notes
        )
        return (*self.first.notes, *of_others)

    def begin(self, tell: Callable[[str], None]) -> None:
        """Lets the engines find out their fingerprints, before anything is written under them.

        Args:
            tell: Called with each limitation of an engine as it is found, and with whatever is
                wrong with a cache or the replies.

        Raises:
            TeacherError: An engine cannot find out.
        """
        _begin(self.first, tell)
        for name, layers in self.others.items():
            _begin(layers, partial(_tell_of, name, tell))

    def release(self) -> None:
        """Lets the engines free their memory while the student trains; ``teacher.lifecycle``."""
        for layers in (self.first, *self.others.values()):
            layers.release()

    def close(self) -> None:
        """Closes every layer."""
        self.teacher.close()


def _begin(layers: Layers, tell: Callable[[str], None]) -> None:
    for layer in (layers.cache, layers.cleaning):
        if layer is not None:
            layer.tell = tell
    if hasattr(layers.engine, "on_note"):
        layers.engine.on_note = tell
    settle = getattr(layers.cache or layers.engine, "settle", None)
    if settle is not None:
        settle()


def _tell_of(name: str, tell: Callable[[str], None], message: str) -> None:
    tell(f"{name}: {message}")


def build_teacher(
    engine: Teacher,
    *,
    cache: Path | None = None,
    record: Path | None = None,
    transcript: Path | None = None,
    limit_tokens: int | None = None,
    others: Mapping[str, Teacher] | None = None,
    prefetch: bool = False,
) -> Stack:
    """Wraps an engine as ``budget(transcript(record(clean(cache(engine)))))``.

    The budget lies outside the cache, so billed tokens do not depend on it. Recording and
    transcript include replies from the cache, and no character that a file cannot carry. Several
    engines have one budget, one transcript and one cache file, and a recording each.

    Args:
        engine: The innermost layer.
        cache: SQLite file of the reply cache; None for no cache.
        record: File to record every reply in, for ``teacher=replay``; None for no recording. That
            of another engine has its name before the suffix.
        transcript: JSON Lines file of requests and replies; None for no transcript.
        limit_tokens: Limit of billed tokens; None for no limit.
        others: Further engines by name.
        prefetch: Adds the layer that asks ahead; it needs the cache.

    Returns:
        The stack of layers.

    Raises:
        TeacherError: The cache file cannot be used. The engines are closed first.
    """
    engines = {"": engine, **(others or {})}
    try:
        layers = {
            name: _layers(one, cache, record and _of(record, name)) for name, one in engines.items()
        }
    except BaseException:
        for one in engines.values():
            one.close()
        raise
    first = layers.pop("")
    inner: Teacher = RoutedTeacher(first, layers) if layers else first.teacher
    ahead = None
    if prefetch:
        caches = {"": first.cache, **{name: one.cache for name, one in layers.items()}}
        ahead = PrefetchingTeacher(inner, {name: one for name, one in caches.items() if one})
        inner = ahead
    # The layers above are the run's own.
    teacher = inner if transcript is None else TranscriptTeacher(inner, transcript)
    budget = BudgetedTeacher(teacher, limit_tokens)
    return Stack(budget, budget, inner, first, layers, ahead)


def _of(record: Path, name: str) -> Path:
    """Returns the path of a further teacher's recording, or of the run's own."""
    return record.with_name(f"{record.stem}-{name}{record.suffix}") if name else record


def _layers(engine: Teacher, cache: Path | None, record: Path | None) -> Layers:
    # The cache is innermost, so that all other layers see its replies too; cleaning comes next, so
    # that its count does not depend on what was cached.
    cached = None if cache is None else CachedTeacher(engine, cache)
    cleaning = CleanedTeacher(cached or engine)
    teacher: Teacher = cleaning
    if record is not None:
        teacher = RecordingTeacher(
            teacher,
            record,
            getattr(engine, "context_length", None),
            lambda: bool(getattr(engine, "speaks_chat", False)),
        )
    return Layers(teacher, cleaning, engine, cached)
