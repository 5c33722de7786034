"""Where a run reports its progress."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from tutelage.teacher.base import Reply
from tutelage.timeline import Position


class ProgressReporter(Protocol):
    """Follows a run; the terminal's display is one."""

    def notice(self, message: str) -> None:
        """A fact that a user should see, for instance how many rows were read."""
        ...

    def warn(self, message: str) -> None:
        """A sign that something is wrong, with what to try."""
        ...

    def phase(self, name: str, round: int, total: int) -> None:
        """A phase begins with ``total`` teacher requests; 0 where it makes none."""
        ...

    def reply(self, reply: Reply) -> None:
        """A teacher's reply arrived."""
        ...

    def progress(self, done: int, total: int) -> None:
        """The student has predicted ``done`` of the phase's ``total`` texts."""
        ...

    def stage_closed(self, position: Position, dev: dict[str, Any], rows: tuple[int, int]) -> None:
        """A stage ended with these dev metrics and (accepted, rejected) rows."""
        ...


class NoProgress:
    """Shows nothing but warnings, which go to the logger "tutelage"."""

    def notice(self, message: str) -> None:
        """Shows nothing."""

    def warn(self, message: str) -> None:
        """Logs the message."""
        logging.getLogger("tutelage").warning(message)

    def phase(self, name: str, round: int, total: int) -> None:
        """Shows nothing."""

    def reply(self, reply: Reply) -> None:
        """Shows nothing."""

    def progress(self, done: int, total: int) -> None:
        """Shows nothing."""

    def stage_closed(self, position: Position, dev: dict[str, Any], rows: tuple[int, int]) -> None:
        """Shows nothing."""
