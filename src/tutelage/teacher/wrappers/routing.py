"""Several teachers behind one budget and one transcript (``labelling.teachers``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tutelage.teacher.base import OnReply, Prompt, Reply, Request, Teacher
from tutelage.teacher.replies import ReplyCollector, ask_noting
from tutelage.teacher.wrappers.cache import CachedTeacher
from tutelage.teacher.wrappers.cleaning import CleanedTeacher


@dataclass(frozen=True, slots=True)
class Layers:
    """An engine with the wrappers that are its own.

    Attributes:
        teacher: The outermost of these layers.
        cleaning: The layer that counts replies with unusable characters.
        engine: The innermost layer.
        cache: The layer around it; None without one.
    """

    teacher: Teacher
    cleaning: CleanedTeacher
    engine: Teacher
    cache: CachedTeacher | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Limitations of the engine and of its replies, for readers of the results."""
        return (*getattr(self.engine, "notes", ()), *self.cleaning.notes)

    def release(self) -> None:
        """Lets the engine free its memory; see ``teacher.lifecycle``."""
        hand_over = getattr(self.engine, "hand_over", None)
        if hand_over is not None:
            hand_over()


class RoutedTeacher:
    """Passes each request to the teacher that it names.

    Before it asks another teacher than the last time, the last one may free its memory: with
    ``teacher.lifecycle=restart`` (or "sleep") one engine at a time is in memory.

    Args:
        first: The run's own teacher, for requests that name none.
        others: Further teachers by name.
    """

    def __init__(self, first: Layers, others: Mapping[str, Layers]) -> None:
        self._first = first
        self._others = dict(others)
        self._last = ""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the run's own teacher."""
        return self._first.teacher.fingerprint

    @property
    def others(self) -> Mapping[str, Layers]:
        """The further teachers by name."""
        return self._others

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order, one teacher after another.

        Raises:
            TeacherError: A teacher failed. Earlier replies have been passed to ``on_reply``.
            ValueError: An id occurs twice.
        """
        collector = ReplyCollector(requests, on_reply)
        by_teacher: dict[str, list[Request]] = {}
        for request in requests:
            by_teacher.setdefault(request.teacher, []).append(replace(request, teacher=""))
        # The one that was asked last may still be in memory.
        for name in sorted(by_teacher, key=lambda name: name != self._last):
            if name != self._last:
                self._layers(self._last).release()
            self._last = name
            ask_noting(
                self._layers(name).teacher,
                by_teacher[name],
                lambda _, reply: collector.keep(reply),
                None,
            )
        return collector.in_order()

    def _layers(self, name: str) -> Layers:
        return self._others[name] if name else self._first

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the token ids of each text by the run's own teacher."""
        return self._first.teacher.tokenize(texts)

    def close(self) -> None:
        """Closes every teacher."""
        for layers in (self._first, *self._others.values()):
            layers.teacher.close()


class NamedTeacher:
    """One of the further teachers, asked through the layers that count and write for all.

    Args:
        name: Its name.
        outer: The outermost layer, whose requests are routed.
        own: The teacher itself.
    """

    def __init__(self, name: str, outer: Teacher, own: Teacher) -> None:
        self._name, self._outer, self._own = name, outer, own

    @property
    def fingerprint(self) -> str:
        """The teacher's own fingerprint."""
        return self._own.fingerprint

    def ask(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Answers every request, in order."""
        return self._outer.ask(
            [replace(request, teacher=self._name) for request in requests], on_reply
        )

    def tokenize(self, texts: Sequence[Prompt]) -> list[list[int]]:
        """Returns the teacher's own token ids of each text."""
        return self._own.tokenize(texts)

    def close(self) -> None:
        """Does nothing: the run closes all its teachers together."""


def others_of(teacher: Teacher) -> Mapping[str, Layers]:
    """Returns the further teachers behind a layer, by name; empty without any."""
    found: Mapping[str, Layers] = getattr(teacher, "others", {})
    return found
