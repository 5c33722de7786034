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
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import psutil

from tutelage.errors import TeacherError
from tutelage.teacher.channel import Channel, ChannelClosed

_POLL_SECONDS = 0.5
_CLOSE_SECONDS = 5.0
_TAIL_LINES = 12
_MEMORY_ADVICE = (
    "It is short of memory: lower teacher.kv_cache_gb (GPU: teacher.gpu_memory_utilization) or teacher.max_model_len, "
    "or take a smaller model."
)
_SLOW_ADVICE = "For long texts on a slow machine raise teacher.reply_timeout."


class EngineProcess:
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
        module: str = "tutelage.teacher.vllm_child",
    ) -> None:
        self._name = name
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
                command, env=dict(environment), pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._channel = Channel(ours)
        atexit.register(self.end)
        try:
            self.send(dict(start), "at its start")
            message = self.receive(start_timeout, "at its start", slow="Raise teacher.start_timeout, or take a smaller model.")
            if message["op"] != "ready":
                reason = str(message.get("message"))
                raise TeacherError(f"the teacher's engine did not start for {name}: {reason}. {_advice(reason)}{self._tail()}")
        except BaseException:
            self.end(kill=True)
            raise

    @property
    def pid(self) -> int | None:
        """Its process id; None once it has ended."""
        return self._process.pid if self._process.poll() is None else None

    def resident_bytes(self) -> int:
        """Resident memory of the process; 0 once it has ended."""
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss) if self.pid is not None else 0
        except psutil.NoSuchProcess:
            return 0

    def send(self, message: dict[str, Any], progress: str = "") -> None:
        """Send one message.

        Raises:
            TeacherError: the process has gone.
        """
        try:
            self._channel.send(message)
        except ChannelClosed:
            self._raise_dead(progress)

    def receive(self, timeout: float, progress: str, slow: str = _SLOW_ADVICE) -> dict[str, Any]:
        """The next message.

        Raises:
            TeacherError: the process is dead, its engine broke, or it was silent for ``timeout`` seconds; it is ended then.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                message = self._channel.receive(min(_POLL_SECONDS, max(deadline - time.monotonic(), 0.01)))
            except ChannelClosed:
                self._raise_dead(progress)
            if message is not None and message["op"] == "broken":
                self.end(kill=True)
                reason = str(message["message"])
                raise TeacherError(
                    f"the teacher's engine broke ({progress}): {reason}. What was answered is kept; run again to go on. "
                    f"{_advice(reason)}{self._tail()}"
                )
            if message is not None:
                return message
            if time.monotonic() >= deadline:
                self.end(kill=True)
                raise TeacherError(
                    f"the teacher's process sent nothing for {timeout:g} seconds ({progress}) and was ended. What was answered is kept; "
                    f"run again to go on. {slow}{self._tail()}"
                )

    def end(self, *, kill: bool = False) -> None:
        """End the process for certain: by the end of its stream, then by SIGTERM, then by SIGKILL. Twice is not an error."""
        atexit.unregister(self.end)
        self._tail_kept = self._tail()
        self._channel.close()
        steps = [self._process.kill] if kill else [lambda: None, self._process.terminate, self._process.kill]
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
            how = f"ended with exit code {code}" if code >= 0 else f"was ended by {_signal_name(-code)}"
        memory = " If nobody ended it, the system did, for want of memory. " + _MEMORY_ADVICE if code == -signal.SIGKILL else ""
        raise TeacherError(
            f"the teacher's process {how} ({progress}). What was answered is kept; run again to go on.{memory}{self._tail()}"
        )

    def _tail(self) -> str:
        """The last lines of the process's own output, as the end of a message."""
        if not self._log_path.is_file():
            return getattr(self, "_tail_kept", "")
        with self._log_path.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 20_000))
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        where = "" if self._temporary else f" ({self._log_path})"
        return f"\nIts last output{where}:\n  " + "\n  ".join(line[:300] for line in lines[-_TAIL_LINES:]) if lines else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _advice(reason: str) -> str:
    """What to do about an engine's own words."""
    low = reason.lower()
    if "no module named" in low or "importerror" in low:
        from tutelage.teacher.hardware import INSTALL_ADVICE

        return INSTALL_ADVICE
    if "architecture" in low or "model type" in low:
        return "This vLLM cannot run the model's architecture: take another model, or teacher=local."
    if "trust_remote_code" in low:
        return "The model brings its own code: set teacher.trust_remote_code=true if you trust it, or take another model."
    if "max_model_len" in low or "max seq len" in low:
        return "Lower teacher.max_model_len or raise teacher.kv_cache_gb."
    if any(word in low for word in ("memory", "alloc", "kv cache")):
        return _MEMORY_ADVICE
    if any(word in low for word in ("repository", "couldn't connect", "huggingface.co", "is not a local folder", "repo id")):
        return "Is teacher.model spelt as on the hub, and can this machine reach it? A local folder works without a network."
    return "See its output below; `tutelage doctor` checks the engine with one request."
