"""Ctrl-C, SIGTERM, a closed terminal: finish the row in flight, stop at a point to resume from."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from tutelage.errors import TutelageError

FOLLOWED = "TUTELAGE_FOLLOWS"
"""Environment variable: id of the sweep process this one must not outlive."""

_FOLLOW_SECONDS = 1.0


def stop_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask a run to stop.

    SIGHUP, which a closed terminal sends, is one of them unless ``nohup`` had it ignored.
    """
    stays = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *(() if stays else (signal.SIGHUP,)))


@contextmanager
def stoppable() -> Iterator[None]:
    """Lets :func:`stop_signals` end what is done here like Ctrl-C.

    A shell starts background processes with SIGINT ignored; it is heard there, too.
    """
    before = {
        number: signal.signal(number, signal.default_int_handler) for number in stop_signals()
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


class Interrupted(TutelageError):
    """The user or the scheduler stopped the run."""

    exit_code = 130


class Interruption:
    """Context turning the first signal into a flag for safe points; the second one exits at once.

    Attributes:
        asked: True after the first signal.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        """Installs handlers for SIGINT, SIGTERM and SIGHUP."""
        for number in stop_signals():
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restores the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            # A second signal means now.
            raise KeyboardInterrupt
        self.asked = True

    def check(self, *_: object) -> None:
        """Stops here if a signal arrived; call it at points where nothing would be lost.

        Raises:
            Interrupted: A signal arrived.
        """
        if self.asked:
            raise Interrupted("Stopped on request. All replies so far are kept.")


def follow(parent: int) -> None:
    """Stops this process like Ctrl-C once its parent is gone.

    Nobody would wait for an orphan any more, and a rerun would work alongside it.

    Args:
        parent: Process id of the parent.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_FOLLOW_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()
