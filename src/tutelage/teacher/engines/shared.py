"""One engine for many runs on one machine.

A host keeps engines loaded, and each run is a client over a Unix socket. ``tutelage serve`` runs a
host until Ctrl-C, and prints the environment variable for the runs. With ``TUTELAGE_ENGINE`` in its
environment, a run asks that host instead of starting an engine of its own.

Nothing else changes: the same settings give the same fingerprint, so both share one cache. Runs
take turns, batch by batch.
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
from tutelage.teacher.engines.link import KEPT, EngineLink
from tutelage.teacher.engines.model_files import is_local
from tutelage.teacher.engines.process import EngineProcess

ADDRESS = "TUTELAGE_ENGINE"
"""Environment variable with the path of a host's socket."""
_RELAY_SECONDS = 0.05
_WAIT_SECONDS = 5.0
_START_SECONDS = 600.0


class SharedEngine(EngineLink):
    """A run's connection to an :class:`EngineHost`.

    Args:
        address: Path of the host's socket.
        start: The first message, with the engine's arguments. The host starts an engine unless one
            with the same arguments is running.
        name: Name of the model, for messages.
        start_timeout: Longest wait until the engine is ready, in seconds.

    Raises:
        ConfigError: No host listens at ``address``.
        TeacherError: The engine did not start.
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
                f"{ADDRESS}={address}, but no host listens there ({error.strerror or error}). "
                f"Start `tutelage serve`, or unset {ADDRESS}."
            ) from error
        super().__init__(Channel(end), name)
        self._pid: int | None = 0
        self._pid = int(self._handshake(start, start_timeout)["pid"])

    @property
    def pid(self) -> int | None:
        """Process id of the host's engine; None once the connection is closed."""
        return self._pid

    def resident_bytes(self) -> int:
        """Returns the resident memory of the host's engine in bytes; 0 once it has ended."""
        try:
            return int(psutil.Process(self._pid).memory_info().rss) if self._pid else 0
        except psutil.NoSuchProcess:
            return 0

    def end(self, *, kill: bool = False) -> None:
        """Closes the connection. The engine keeps running for other runs."""
        self._pid = None
        self._channel.close()

    def _raise_dead(self, progress: str) -> NoReturn:
        self.end()
        raise TeacherError(
            f"the host of the shared engine is gone ({progress}). {KEPT}; start `tutelage serve` "
            "and run again to continue."
        )

    def _tail(self) -> str:
        return ""


class _Engine:
    """An engine with a lock, so that one run at a time asks it."""

    def __init__(self, process: EngineProcess) -> None:
        self.process = process
        self.turn = threading.Lock()
        self.batch = 0


class EngineHost:
    """Keeps one engine per set of arguments, and serves them over a Unix socket.

    Only the current user can enter the socket's folder.

    Args:
        log_path: File to append the engines' output to; None uses temporary files.
        child_module: Python module to run in an engine's process.
        environment: Environment of the engines' processes; None derives it from the hardware.

    Attributes:
        address: Path of the socket.
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
        # mkdtemp gives the folder permissions for the current user alone.
        self._folder = Path(tempfile.mkdtemp(prefix="tutelage-engine-"))
        self.address = str(self._folder / "socket")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.address)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> EngineHost:
        """Returns the host, which already listens."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the host."""
        self.close()

    def close(self) -> None:
        """Stops listening and ends every engine. Closing twice is allowed."""
        self._closed = True
        # Closing the listener does not wake up accept(), so one last connection does.
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
        """Process ids of the running engines."""
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
        """Serves one run until it closes its end."""
        try:
            start = channel.receive()
            assert start is not None
            engine = self._engine(start)
            channel.send({"op": "ready", "pid": engine.process.pid or 0})
            while message := channel.receive():
                if message["op"] == "ask":
                    self._relay(engine, channel, message)
                elif message["op"] in ("sleep", "wake"):
                    # The engine stays awake, because another run may need it at any moment.
                    channel.send({"op": {"sleep": "slept", "wake": "woke"}[message["op"]]})
        except ChannelClosed:
            pass
        except TeacherError as error:
            # Only the failure itself is passed on; the client adds its own advice.
            with contextlib.suppress(ChannelClosed):
                channel.send({"op": "broken", "message": str(error).split(f" {KEPT}")[0]})
        finally:
            self._channels.discard(channel)
            channel.close()

    def _engine(self, start: dict[str, Any]) -> _Engine:
        # One lock around looking up and starting, so that two runs never load the same model.
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
        """Passes a batch on and its replies back, until the run aborts it or disconnects.

        Towards the engine the batch has a number of the host's own, because runs number their
        batches independently.
        """
        # A sign of life keeps the run from taking the engine for dead while another has its turn.
        while not engine.turn.acquire(timeout=_WAIT_SECONDS):
            channel.send({"op": "waiting"})
        # Alternate between the engine's replies and the run's abort, until all replies are back.
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
                    and (request := channel.receive(0)) is not None
                    and request["op"] == "abort"
                ):
                    return
        finally:
            # The next run must get its turn, even if the engine just died.
            try:
                if left and engine.process.pid is not None:
                    engine.process.send({"op": "abort"})
            finally:
                engine.turn.release()


def shared_address() -> str:
    """Returns the address of the host in this process's environment; "" without one."""
    return os.environ.get(ADDRESS, "")
