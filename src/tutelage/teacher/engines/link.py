"""The run's end of the channel to an engine: messages out, messages in, and every failure one :class:`TeacherError`."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NoReturn

from tutelage.errors import TeacherError
from tutelage.teacher.engines.channel import Channel, ChannelClosed

_POLL_SECONDS = 0.5
_SLOW_ADVICE = "For long texts on a slow machine raise teacher.reply_timeout."
MEMORY_ADVICE = (
    "It is short of memory: lower teacher.kv_cache_gb (GPU: teacher.gpu_memory_utilization) or teacher.max_model_len, "
    "or take a smaller model."
)


class EngineLink(ABC):
    """Speaks with one engine; how the engine is reached, ended and described is the subclass's.

    Args:
        channel: connected to what speaks as ``vllm_child`` does.
        name: the model, for messages.
    """

    def __init__(self, channel: Channel, name: str) -> None:
        self._channel = channel
        self._name = name

    def _handshake(self, start: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Send the first message and wait for "ready", which is returned.

        Raises:
            TeacherError: the engine did not start; the link is ended.
        """
        try:
            self.send(dict(start), "at its start")
            message = self.receive(
                timeout,
                "at its start",
                slow="Raise teacher.start_timeout, or take a smaller model.",
            )
            if message["op"] != "ready":
                reason = str(message.get("message"))
                raise TeacherError(
                    f"the teacher's engine did not start for {self._name}: {reason}. {_advice(reason)}{self._tail()}"
                )
        except BaseException:
            self.end(kill=True)
            raise
        return message

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """The engine's process id; None once it cannot be asked any more."""

    @abstractmethod
    def resident_bytes(self) -> int:
        """Resident memory of the engine's process; 0 once it has ended."""

    @abstractmethod
    def end(self, *, kill: bool = False) -> None:
        """Let go of the engine for certain; twice is not an error."""

    def send(self, message: dict[str, Any], progress: str = "") -> None:
        """Send one message.

        Raises:
            TeacherError: the engine has gone.
        """
        try:
            self._channel.send(message)
        except ChannelClosed:
            self._raise_dead(progress)

    def poll(self, seconds: float, progress: str) -> dict[str, Any] | None:
        """The next message, or None when none came within ``seconds``.

        Raises:
            TeacherError: the engine is dead or broke; the link is ended then.
        """
        try:
            message = self._channel.receive(seconds)
        except ChannelClosed:
            self._raise_dead(progress)
        if message is not None and message["op"] == "broken":
            self.end(kill=True)
            reason = str(message["message"])
            raise TeacherError(
                f"the teacher's engine broke ({progress}): {reason}. What was answered is kept; run again to go on. "
                f"{_advice(reason)}{self._tail()}"
            )
        return message

    def receive(self, timeout: float, progress: str, slow: str = _SLOW_ADVICE) -> dict[str, Any]:
        """The next message.

        Raises:
            TeacherError: the engine is dead, broke, or was silent for ``timeout`` seconds; the link is ended then.
        """
        deadline = time.monotonic() + timeout
        while True:
            message = self.poll(
                min(_POLL_SECONDS, max(deadline - time.monotonic(), 0.01)), progress
            )
            if message is not None:
                return message
            if time.monotonic() >= deadline:
                self.end(kill=True)
                raise TeacherError(
                    f"the teacher's process sent nothing for {timeout:g} seconds ({progress}) and was ended. What was answered is kept; "
                    f"run again to go on. {slow}{self._tail()}"
                )

    @abstractmethod
    def _raise_dead(self, progress: str) -> NoReturn:
        """Say how the engine went."""

    @abstractmethod
    def _tail(self) -> str:
        """What the engine printed last, as the end of a message."""


def _advice(reason: str) -> str:
    """What to do about an engine's own words."""
    low = reason.lower()
    if "no module named" in low or "importerror" in low:
        from tutelage.teacher.engines.hardware import INSTALL_ADVICE

        return INSTALL_ADVICE
    if "architecture" in low or "model type" in low:
        return (
            "This vLLM cannot run the model's architecture: take another model, or teacher=local."
        )
    if "trust_remote_code" in low:
        return "The model brings its own code: set teacher.trust_remote_code=true if you trust it, or take another model."
    if "max_model_len" in low or "max seq len" in low:
        return "Lower teacher.max_model_len or raise teacher.kv_cache_gb."
    if any(word in low for word in ("memory", "alloc", "kv cache")):
        return MEMORY_ADVICE
    if any(
        word in low
        for word in (
            "repository",
            "couldn't connect",
            "huggingface.co",
            "is not a local folder",
            "repo id",
        )
    ):
        return "Is teacher.model spelt as on the hub, and can this machine reach it? A local folder works without a network."
    return "See its output below; `tutelage doctor` checks the engine with one request."
