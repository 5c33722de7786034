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
import queue
import socket
import threading
import time
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
from tutelage.teacher.engines.scratch import ScratchFolder

ADDRESS = "TUTELAGE_ENGINE"
"""Environment variable with the path of a host's socket."""
_RELAY_SECONDS = 0.05
_WAIT_SECONDS = 5.0
_START_SECONDS = 600.0
_LAST_WORDS_SECONDS = 5.0
_ACCEPT_AGAIN_SECONDS = 0.5
_Fields = Mapping[str, tuple[type, ...]]
_SCORE: _Fields = {"index": (int,), "prompt": (str,), "choices": (list,)}
_GENERATE: _Fields = {
    "index": (int,),
    "prompt": (str,),
    "sampling": (dict,),
    "seed": (int,),
    "json_schema": (str,),
}
_SAMPLING: _Fields = {
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": (int,),
    "max_tokens": (int,),
    "stop": (list,),
}


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
        # A host that is stopped accepts nothing.
        end.settimeout(start_timeout)
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


class _Outbox:
    """Sends messages to one run from a thread of its own.

    So a run that stops reading, for instance after Ctrl-Z, holds up nobody else. It can hold no
    more than the replies of its one batch, because it cannot ask for another.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._gone = False
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def put(self, message: dict[str, Any]) -> None:
        """Sends a message soon.

        Raises:
            ChannelClosed: The run has closed its end.
        """
        if self._gone:
            raise ChannelClosed("the run is gone")
        self._messages.put(message)

    def sign_of_life(self) -> None:
        """Keeps the run from taking the engine for dead while others have their turn.

        Raises:
            ChannelClosed: The run has closed its end.
        """
        if self._messages.empty():
            self.put({"op": "waiting"})

    def close(self) -> None:
        """Sends the remaining messages to a run that reads them."""
        self._messages.put(None)
        self._thread.join(_LAST_WORDS_SECONDS)

    def _send(self) -> None:
        try:
            while (message := self._messages.get()) is not None:
                self._channel.send(message)
        except ChannelClosed:
            self._gone = True


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
        self._folder = ScratchFolder("engine")
        self.address = str(self._folder.path / "socket")
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
        self._folder.remove()

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
                if self._closed:
                    return
                # Too many open files, for instance; runs that end make room.
                time.sleep(_ACCEPT_AGAIN_SECONDS)
                continue
            if self._closed:
                end.close()
                return
            channel = Channel(end)
            self._channels.add(channel)
            threading.Thread(target=self._serve, args=(channel,), daemon=True).start()

    def _serve(self, channel: Channel) -> None:
        """Serves one run until it closes its end."""
        outbox = _Outbox(channel)
        try:
            start = channel.receive()
            assert start is not None
            engine = self._engine(_checked_start(start), outbox)
            outbox.put({"op": "ready", "pid": engine.process.pid or 0})
            while message := channel.receive():
                if message["op"] == "ask":
                    self._relay(engine, channel, outbox, message)
                elif message["op"] in ("sleep", "wake"):
                    # The engine stays awake, because another run may need it at any moment.
                    outbox.put({"op": {"sleep": "slept", "wake": "woke"}[message["op"]]})
        except ChannelClosed:
            pass
        except (TeacherError, ValueError) as error:
            # Only the failure itself is passed on; the client adds its own advice.
            with contextlib.suppress(ChannelClosed):
                outbox.put({"op": "broken", "message": str(error).split(f" {KEPT}")[0]})
        finally:
            outbox.close()
            self._channels.discard(channel)
            channel.close()

    def _engine(self, start: dict[str, Any], outbox: _Outbox) -> _Engine:
        # One lock around starting, so that two runs never load the same model, and no two models
        # are loaded at once. A run whose engine is there does not wait for it.
        key = json.dumps(start, sort_keys=True)
        while (engine := self._running(key)) is None:
            if not self._starting.acquire(timeout=_WAIT_SECONDS):
                outbox.sign_of_life()
                continue
            try:
                if self._running(key) is None:
                    self._engines[key] = self._started(start)
            finally:
                self._starting.release()
        return engine

    def _running(self, key: str) -> _Engine | None:
        engine = self._engines.get(key)
        return engine if engine is not None and engine.process.pid is not None else None

    def _started(self, start: dict[str, Any]) -> _Engine:
        model = start["engine"]["model"]
        environment = self._environment or child_environment(
            vllm_hardware(start.get("devices") or None)[0],
            offline=is_local(model),
            threads=start.get("threads", 0),
        )
        return _Engine(
            EngineProcess(
                start,
                environment=environment,
                name=model,
                start_timeout=_START_SECONDS,
                log_path=self._log_path,
                module=self._module,
            )
        )

    def _relay(
        self, engine: _Engine, channel: Channel, outbox: _Outbox, ask: dict[str, Any]
    ) -> None:
        """Passes a batch on and its replies back, until the run aborts it or disconnects.

        A run sends a large batch in pieces, and keeps its turn until the last one is answered.
        Towards the engine the batch has a number of the host's own, because runs number their
        batches independently.

        Raises:
            ValueError: It is no batch of requests. The engine never sees it.
        """
        left, more = len(_checked_requests(ask)), bool(ask.get("more"))
        while not engine.turn.acquire(timeout=_WAIT_SECONDS):
            outbox.sign_of_life()
        # Alternate between the engine's replies and the run's next piece or abort, until all
        # replies are back.
        try:
            engine.batch += 1
            engine.process.send({**ask, "batch": engine.batch})
            while left or more:
                message = engine.process.poll(_RELAY_SECONDS, "for another run")
                if (
                    message is not None
                    and message["op"] == "reply"
                    and message["batch"] == engine.batch
                ):
                    left -= 1
                    outbox.put({**message, "batch": ask["batch"]})
                # A busy engine leaves no time to look for the abort, but must not wait for a piece.
                if message is not None and not more:
                    continue
                request = channel.receive(0)
                if request is not None and request["op"] == "abort":
                    return
                if request is not None and request["op"] == "ask":
                    left += len(_checked_requests(request))
                    more = bool(request.get("more"))
                    engine.process.send({**request, "batch": engine.batch})
        finally:
            # The next run must get its turn, even if the engine just died.
            try:
                if (left or more) and engine.process.pid is not None:
                    engine.process.send({"op": "abort"})
            finally:
                engine.turn.release()


def _checked_start(message: dict[str, Any]) -> dict[str, Any]:
    """Returns a run's first message.

    Raises:
        ValueError: It does not start an engine.
    """
    engine = message.get("engine")
    if (
        message["op"] != "start"
        or not _has(engine, {"model": (str,)})
        or not _has(message, {"window": (int,)})
    ):
        raise ValueError("the first message does not start an engine. Use `tutelage train`")
    return message


def _checked_requests(ask: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the requests of a batch.

    A request that an engine cannot read would end it, for all runs.

    Raises:
        ValueError: It is no batch of requests.
    """
    requests = ask.get("requests")
    if not isinstance(requests, list) or not isinstance(ask.get("batch"), int):
        raise ValueError("the message asks no batch of requests")
    for request in requests:
        if not _is_request(request):
            raise ValueError(f"the batch has a malformed request: {request!s:.200}")
    return requests


def _is_request(request: object) -> bool:
    if not _has(request, {"kind": (str,)}):
        return False
    assert isinstance(request, dict)
    if request["kind"] == "score":
        return _has(request, _SCORE) and all(type(choice) is int for choice in request["choices"])
    return (
        request["kind"] == "generate"
        and _has(request, _GENERATE)
        and _has(request["sampling"], _SAMPLING)
        and all(isinstance(text, str) for text in request["sampling"]["stop"])
    )


def _has(record: object, fields: _Fields) -> bool:
    return isinstance(record, dict) and all(
        type(record.get(name)) in kinds for name, kinds in fields.items()
    )


def shared_address() -> str:
    """Returns the address of the host in this process's environment; "" without one."""
    return os.environ.get(ADDRESS, "")
