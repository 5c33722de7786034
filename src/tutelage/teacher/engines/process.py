"""The engine's process, as seen from the run.

It is started by exec, answers over a socket pair, and never outlives the run.
"""

from __future__ import annotations

import atexit
import contextlib
import getpass
import os
import re
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
from tutelage.teacher.engines.link import KEPT, MEMORY_ADVICE, EngineLink
from tutelage.teacher.engines.scratch import ScratchFolder

_CLOSE_SECONDS = 5.0
_TAIL_LINES = 12


class EngineProcess(EngineLink):
    """One running child process.

    Every failure of the child becomes one :class:`TeacherError`, and ends the child.

    Args:
        start: The first message, with the engine's arguments.
        environment: The complete environment of the child, except for its temporary folder.
        name: Name of the model, for messages.
        start_timeout: Longest wait until the child is ready, in seconds.
        log_path: File to append the child's output to. None uses a temporary file, which is removed
            when the process ends.
        module: Python module to run in the child.

    Raises:
        TeacherError: The engine did not start.
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
        # The child's output goes to a file, so that a full pipe can never block it.
        self._scratch = ScratchFolder("teacher")
        self._temporary = log_path is None
        log_path = log_path or self._scratch.path / "output.log"
        log_path.parent.mkdir(parents=True, exist_ok=True)
        self._log_path = log_path
        # The child inherits one end of the socket pair, and learns its number from the command
        # line.
        ours, theirs = socket.socketpair()
        # -P keeps files of the current folder from shadowing installed packages.
        command = [sys.executable, "-P", "-m", module, str(theirs.fileno())]
        with theirs, log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                command,
                env=_inside(self._scratch.path, environment),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        # From here on the child ends with this process, even if the handshake fails.
        super().__init__(Channel(ours), name)
        atexit.register(self.end)
        self._handshake(start, start_timeout)

    @property
    def pid(self) -> int | None:
        """Process id of the child; None once it has ended."""
        return self._process.pid if self._process.poll() is None else None

    def resident_bytes(self) -> int:
        """Returns the resident memory of the child in bytes; 0 once it has ended."""
        try:
            return (
                int(psutil.Process(self._process.pid).memory_info().rss)
                if self.pid is not None
                else 0
            )
        except psutil.NoSuchProcess:
            return 0

    def end(self, *, kill: bool = False) -> None:
        """Ends the process: by closing its stream, then by SIGTERM, then by SIGKILL.

        Args:
            kill: Whether to send SIGKILL at once.
        """
        atexit.unregister(self.end)
        self._tail_kept = self._tail()
        self._channel.close()
        # Closing the channel asks the child to leave; each further step waits for the one before.
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
        self._scratch.remove()

    def _raise_dead(self, progress: str) -> NoReturn:
        # The stream may close shortly before the process is gone, so wait for its exit code.
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
            " Unless somebody killed it, the system did for lack of memory. " + MEMORY_ADVICE
            if code == -signal.SIGKILL
            else ""
        )
        raise TeacherError(
            f"the teacher's process {how} ({progress}). {KEPT}; run again to continue."
            f"{memory}{self._tail()}"
        )

    def _tail(self) -> str:
        """Returns the last lines of the child's output, as the end of a message."""
        if not self._log_path.is_file():
            return getattr(self, "_tail_kept", "")
        # The file may hold the output of earlier processes, and megabytes of this one.
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


def _inside(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment with ``folder`` for temporary files; vLLM leaves some at each start.

    Code that torch has compiled stays where it always is, because it serves the next engine.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = f"uid_{os.getuid()}"
    name = "torchinductor_" + re.sub(r'[\\/:*?"<>|]', "_", user)
    compiled = Path(tempfile.gettempdir()) / name
    # Without it torch compiles again, which only takes longer.
    with contextlib.suppress(OSError):
        compiled.mkdir(mode=0o700, exist_ok=True)
        (folder / name).symlink_to(compiled.absolute())
    return {**environment, "TMPDIR": str(folder)}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
