"""One engine for many runs on one machine: a host keeps it loaded, and each run is a client over a Unix socket.

    tutelage serve                 keeps engines loaded until Ctrl-C, and prints what the runs need in their environment

A run whose environment names a host (``TUTELAGE_ENGINE``) asks there instead of starting an engine of its own. Nothing else changes: the
same settings make the same fingerprint, so both share one cache. Runs take turns; each waits while another's requests are answered.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import psutil

from tutelage.errors import ConfigError, TeacherError
from tutelage.teacher.engines.channel import Channel, ChannelClosed
from tutelage.teacher.engines.hardware import child_environment, vllm_hardware
from tutelage.teacher.engines.link import EngineLink
from tutelage.teacher.engines.model_files import is_local
from tutelage.teacher.engines.process import EngineProcess

ADDRESS = "TUTELAGE_ENGINE"
"""The environment variable that holds the path of a host's socket."""
_RELAY_SECONDS = 0.05
_WAIT_SECONDS = 5.0
_START_SECONDS = 600.0


class SharedEngine(EngineLink):
    """A run's connection to an :class:`EngineHost`.

    Args:
        address: path of the host's socket.
        start: the first message, with the engine's arguments; the host starts the engine unless one of just these arguments is running.
        name: the model, for messages.
        start_timeout: seconds until the engine must be ready.

    Raises:
        ConfigError: nobody listens at ``address``.
        TeacherError: the engine did not start.
    """

    def __init__(
        self, address: str, start: Mapping[str, Any], *, name: str, start_timeout: float
    ) -> None:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            end.connect(address)
        except OSError as error:
            end.close()
            raise ConfigError(
                f"{ADDRESS}={address}, and no host listens there ({error.strerror or error}). Start `tutelage serve`, or unset {ADDRESS}."
            ) from error
        super().__init__(Channel(end), name)
        self._pid: int | None = 0
        self._pid = int(self._handshake(start, start_timeout)["pid"])

    @property
    def pid(self) -> int | None:
        """Process id of the host's engine; None once this connection has ended."""
        return self._pid

    def resident_bytes(self) -> int:
        """Resident memory of the host's engine."""
        try:
            return int(psutil.Process(self._pid).memory_info().rss) if self._pid else 0
        except psutil.NoSuchProcess:
            return 0

    def end(self, *, kill: bool = False) -> None:
        """Close the connection; the engine stays for others."""
        self._pid = None
        self._channel.close()

    def _raise_dead(self, progress: str) -> NoReturn:
        self.end()
        raise TeacherError(
            f"the host of the shared engine has gone ({progress}). What was answered is kept; start `tutelage serve` and run again to go on."
        )

    def _tail(self) -> str:
        return ""


class _Engine:
    """An engine with the lock that lets one run at a time ask it."""

    def __init__(self, process: EngineProcess) -> None:
        self.process = process
        self.turn = threading.Lock()
        self.batch = 0


class EngineHost:
    """Listens on a Unix socket in a folder that only this user can enter, and keeps one engine for each set of arguments.

    Args:
        log_path: where the engines' own output goes; a temporary file when None.
        child_module: what an engine's process runs.
        environment: of the engines' processes; found from the hardware when None.
    """

    def __init__(
        self,
        log_path: Path | None = None,
        child_module: str = "tutelage.teacher.engines.vllm_child",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log_path = log_path
        self._module = child_module
        self._environment = environment
        self._engines: dict[str, _Engine] = {}
        self._starting = threading.Lock()
        self._channels: set[Channel] = set()
        self._closed = False
        self._folder = Path(tempfile.mkdtemp(prefix="tutelage-engine-"))
        self.address = str(self._folder / "socket")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.address)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> EngineHost:
        """Itself, listening."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """Stop listening and end every engine; twice is not an error."""
        self._closed = True
        # accept() does not wake up when the listener is closed under it; a last visitor wakes it.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor,
        ):
            visitor.connect(self.address)
        self._listener.close()
        for channel in list(self._channels):
            channel.close()
        for engine in self._engines.values():
            engine.process.end()
        self._engines.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the engines that run."""
        return tuple(
            pid for engine in self._engines.values() if (pid := engine.process.pid) is not None
        )

    def _accept(self) -> None:
        while True:
            try:
                end, _ = self._listener.accept()
            except OSError:
                return
            if self._closed:
                end.close()
                return
            channel = Channel(end)
            self._channels.add(channel)
            threading.Thread(target=self._serve, args=(channel,), daemon=True).start()

    def _serve(self, channel: Channel) -> None:
        """One run, until it closes its end."""
        try:
            start = channel.receive()
            assert start is not None
            engine = self._engine(start)
            channel.send({"op": "ready", "pid": engine.process.pid or 0})
            while message := channel.receive():
                if message["op"] == "ask":
                    self._relay(engine, channel, message)
                elif message["op"] in ("sleep", "wake"):
                    # Another run may need the engine at this moment, so it stays awake.
                    channel.send({"op": {"sleep": "slept", "wake": "woke"}[message["op"]]})
        except ChannelClosed:
            pass
        except TeacherError as error:
            with contextlib.suppress(ChannelClosed):  # the client adds what to do
                channel.send({"op": "broken", "message": str(error).split(" What was answered")[0]})
        finally:
            self._channels.discard(channel)
            channel.close()

    def _engine(self, start: dict[str, Any]) -> _Engine:
        key = json.dumps(start, sort_keys=True)
        with self._starting:
            engine = self._engines.get(key)
            if engine is None or engine.process.pid is None:
                model = str(start["engine"]["model"])
                environment = self._environment or child_environment(
                    vllm_hardware()[0], offline=is_local(model)
                )
                engine = self._engines[key] = _Engine(
                    EngineProcess(
                        start,
                        environment=environment,
                        name=model,
                        start_timeout=_START_SECONDS,
                        log_path=self._log_path,
                        module=self._module,
                    )
                )
            return engine

    def _relay(self, engine: _Engine, channel: Channel, ask: dict[str, Any]) -> None:
        """Pass a batch on and its replies back, under a number that is the host's own; until the run aborts it or goes."""
        while not engine.turn.acquire(timeout=_WAIT_SECONDS):
            channel.send({"op": "waiting"})  # so that the run does not take the engine for dead
        left = len(ask["requests"])
        try:
            engine.batch += 1
            engine.process.send({**ask, "batch": engine.batch})
            while left:
                message = engine.process.poll(_RELAY_SECONDS, "for another run")
                if (
                    message is not None
                    and message["op"] == "reply"
                    and message["batch"] == engine.batch
                ):
                    left -= 1
                    channel.send({**message, "batch": ask["batch"]})
                elif (
                    message is None
                    and (word := channel.receive(0)) is not None
                    and word["op"] == "abort"
                ):
                    return
        finally:
            # Whatever becomes of the engine here, the next run must get its turn.
            try:
                if left and engine.process.pid is not None:
                    engine.process.send({"op": "abort"})
            finally:
                engine.turn.release()


def shared_address() -> str:
    """The host that this process's environment names; "" for none."""
    return os.environ.get(ADDRESS, "")
