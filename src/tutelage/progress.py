"""Who is told how a run goes."""

from __future__ import annotations

from typing import Any, Protocol

from tutelage.teacher.base import Reply
from tutelage.timeline import Position


class ProgressReporter(Protocol):
    """Who is told how the run goes; the terminal's display is one."""

    def phase(self, name: str, round: int, total: int) -> None:
        """A phase begins; ``total`` teacher requests are known of it, 0 for none."""
        ...

    def reply(self, reply: Reply) -> None:
        """A teacher's reply arrived."""
        ...

    def progress(self, done: int, total: int) -> None:
        """So many of the phase's texts were looked at by the student."""
        ...

    def stage_closed(self, position: Position, dev: dict[str, Any], rows: tuple[int, int]) -> None:
        """A stage ended with these dev metrics and so many (accepted, rejected) rows."""
        ...


class NoProgress:
    """Shows nothing."""

    def phase(self, name: str, round: int, total: int) -> None:
        """Shows nothing."""

    def reply(self, reply: Reply) -> None:
        """Shows nothing."""

    def progress(self, done: int, total: int) -> None:
        """Shows nothing."""

    def stage_closed(self, position: Position, dev: dict[str, Any], rows: tuple[int, int]) -> None:
        """Shows nothing."""
