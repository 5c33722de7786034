"""Ctrl-C and SIGTERM: the row in flight is finished, then the run stops where it can be resumed."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from tutelage.errors import TutelageError

FOLLOWED = "TUTELAGE_FOLLOWS"
"""Environment variable: the process that this one must not outlive, a sweep's."""

_FOLLOW_SECONDS = 1.0


class Interrupted(TutelageError):
    """The user (or the scheduler) asked the run to stop."""

    exit_code = 130


class Interruption:
    """A context in which the first signal is noted and acted on at the next safe place; the second one ends at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        """Take over SIGINT and SIGTERM."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def check(self, *_: object) -> None:
        """Stop here if asked to; call it where nothing would be lost.

        Raises:
            Interrupted: a signal came.
        """
        if self.asked:
            raise Interrupted("Stopped as asked. Everything that was answered is kept.")


def follow(parent: int) -> None:
    """Stop this process, as Ctrl-C would, when its parent is gone: nobody would wait for it any more, and a rerun would work beside it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_FOLLOW_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()
