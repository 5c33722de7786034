"""The process that an engine lives in, seen from the run: started by exec, spoken to over a socket pair, ended for certain."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import psutil

from tutelage.errors import TeacherError
from tutelage.teacher.engines.channel import Channel
from tutelage.teacher.engines.link import MEMORY_ADVICE, EngineLink

_CLOSE_SECONDS = 5.0
_TAIL_LINES = 12


class EngineProcess(EngineLink):
    """One running child. Every way in which it can fail becomes one :class:`TeacherError`, and the child is ended then.

    Args:
        start: the first message, with the engine's arguments.
        environment: the child's whole environment.
        name: the model, for messages.
        start_timeout: seconds until the child must say that it is ready.
        log_path: its own output is appended here; a temporary file when None, removed when the process was ended.

    Raises:
        TeacherError: the engine did not start.
    """

    def __init__(
        self,
        start: Mapping[str, Any],
        *,
        environment: Mapping[str, str],
        name: str,
        start_timeout: float,
        log_path: Path | None = None,
        module: str = "tutelage.teacher.engines.vllm_child",
    ) -> None:
        self._temporary = log_path is None
        if log_path is None:
            handle, made = tempfile.mkstemp(prefix="tutelage-teacher-", suffix=".log")
            os.close(handle)
            log_path = Path(made)
        log_path.parent.mkdir(parents=True, exist_ok=True)
        self._log_path = log_path
        ours, theirs = socket.socketpair()
        # -P: a file in the current folder that is named like a package must not be imported in its place.
        command = [sys.executable, "-P", "-m", module, str(theirs.fileno())]
        with theirs, log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        super().__init__(Channel(ours), name)
        atexit.register(self.end)
        self._handshake(start, start_timeout)

    @property
    def pid(self) -> int | None:
        """Its process id; None once it has ended."""
        return self._process.pid if self._process.poll() is None else None

    def resident_bytes(self) -> int:
        """Resident memory of the process; 0 once it has ended."""
        try:
            return (
                int(psutil.Process(self._process.pid).memory_info().rss)
                if self.pid is not None
                else 0
            )
        except psutil.NoSuchProcess:
            return 0

    def end(self, *, kill: bool = False) -> None:
        """End the process for certain: by the end of its stream, then by SIGTERM, then by SIGKILL. Twice is not an error."""
        atexit.unregister(self.end)
        self._tail_kept = self._tail()
        self._channel.close()
        steps = (
            [self._process.kill]
            if kill
            else [lambda: None, self._process.terminate, self._process.kill]
        )
        for step in steps:
            step()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_CLOSE_SECONDS)
                break
        if self._temporary:
            self._log_path.unlink(missing_ok=True)

    def _raise_dead(self, progress: str) -> NoReturn:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSE_SECONDS)
        code = self._process.poll()
        self.end(kill=True)
        if code is None:
            how = "closed its channel"
        else:
            how = (
                f"ended with exit code {code}"
                if code >= 0
                else f"was ended by {_signal_name(-code)}"
            )
        memory = (
            " If nobody ended it, the system did, for want of memory. " + MEMORY_ADVICE
            if code == -signal.SIGKILL
            else ""
        )
        raise TeacherError(
            f"the teacher's process {how} ({progress}). What was answered is kept; run again to go on.{memory}{self._tail()}"
        )

    def _tail(self) -> str:
        """The last lines of the process's own output, as the end of a message."""
        if not self._log_path.is_file():
            return getattr(self, "_tail_kept", "")
        with self._log_path.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 20_000))
            lines = [
                line for line in log.read().decode(errors="replace").splitlines() if line.strip()
            ]
        where = "" if self._temporary else f" ({self._log_path})"
        return (
            f"\nIts last output{where}:\n  "
            + "\n  ".join(line[:300] for line in lines[-_TAIL_LINES:])
            if lines
            else ""
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
