"""The run's end of the channel to an engine.

Every failure of the engine becomes one :class:`TeacherError` with advice.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NoReturn

from tutelage.errors import TeacherError
from tutelage.teacher.engines.channel import Channel, ChannelClosed

_POLL_SECONDS = 0.5
_SLOW_ADVICE = "For long texts on a slow machine raise teacher.reply_timeout."
KEPT = "The replies so far are kept"
"""Follows the failure in every message about a lost engine; advice comes after it."""
MEMORY_ADVICE = (
    "If memory is short, lower teacher.kv_cache_gb (on a GPU teacher.gpu_memory_utilization) or "
    "teacher.max_model_len, or use a smaller model."
)


class EngineLink(ABC):
    """Exchanges messages with one engine.

    Subclasses define how to reach, end and describe the engine.

    Args:
        channel: Connected to an engine with the message protocol of ``vllm_child``.
        name: Name of the model, for messages.
    """

    def __init__(self, channel: Channel, name: str) -> None:
        self._channel = channel
        self._name = name

    def _handshake(self, start: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Sends the first message and waits for the answer "ready".

        Args:
            start: The first message, with the engine's arguments.
            timeout: Longest wait, in seconds.

        Returns:
            The answer.

        Raises:
            TeacherError: The engine did not start. The link is ended first.
        """
        try:
            self.send(dict(start), "during startup")
            # A shared host sends signs of life while it starts another run's engine.
            message = {"op": "waiting"}
            while message["op"] == "waiting":
                message = self.receive(
                    timeout,
                    "during startup",
                    slow="Raise teacher.start_timeout, or use a smaller model.",
                )
            if message["op"] != "ready":
                reason = str(message.get("message"))
                raise TeacherError(
                    f"the teacher's engine did not start for {self._name}: {reason.rstrip('.')}. "
                    f"{_advice(reason)}{self._tail()}"
                )
        except BaseException:
            self.end(kill=True)
            raise
        return message

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """Process id of the engine; None once it can no longer be asked."""

    @abstractmethod
    def resident_bytes(self) -> int:
        """Returns the resident memory of the engine's process in bytes; 0 once it has ended."""

    @abstractmethod
    def end(self, *, kill: bool = False) -> None:
        """Releases the engine, by force with ``kill``. Calling it twice is allowed."""

    def send(self, message: dict[str, Any], progress: str = "") -> None:
        """Sends one message.

        Args:
            message: The message, JSON values only.
            progress: Progress of the batch, for the error message.

        Raises:
            TeacherError: The engine is gone.
        """
        try:
            self._channel.send(message)
        except ChannelClosed:
            self._raise_dead(progress)

    def poll(self, seconds: float, progress: str) -> dict[str, Any] | None:
        """Returns the next message, or None if none arrives in time.

        Args:
            seconds: Longest wait.
            progress: Progress of the batch, for the error message.

        Raises:
            TeacherError: The engine died or broke. The link is ended first.
        """
        try:
            message = self._channel.receive(seconds)
        except ChannelClosed:
            self._raise_dead(progress)
        if message is not None and message["op"] == "broken":
            self.end(kill=True)
            reason = str(message["message"])
            raise TeacherError(
                f"the teacher's engine broke ({progress}): {reason}. {KEPT}; run again to "
                f"continue. {_advice(reason)}{self._tail()}"
            )
        return message

    def receive(self, timeout: float, progress: str, slow: str = _SLOW_ADVICE) -> dict[str, Any]:
        """Returns the next message.

        Args:
            timeout: Longest wait, in seconds.
            progress: Progress of the batch, for the error message.
            slow: Advice for the error message after a timeout.

        Raises:
            TeacherError: The engine died, broke, or sent nothing in time. The link is ended first.
        """
        deadline = time.monotonic() + timeout
        while True:
            message = self.poll(
                min(_POLL_SECONDS, max(deadline - time.monotonic(), 0.01)), progress
            )
            if message is not None:
                return message
            # A silent engine may never recover, so it is ended rather than waited for again.
            if time.monotonic() >= deadline:
                self.end(kill=True)
                raise TeacherError(
                    f"the teacher's process sent nothing for {timeout:g} seconds ({progress}) and "
                    f"was ended. {KEPT}; run again to continue. {slow}{self._tail()}"
                )

    @abstractmethod
    def _raise_dead(self, progress: str) -> NoReturn:
        """Raises a :class:`TeacherError` that says how the engine ended."""

    @abstractmethod
    def _tail(self) -> str:
        """Returns the engine's last lines of output, as the end of a message."""


def _advice(reason: str) -> str:
    """Returns advice for an engine's error message."""
    # The order matters: special cases first, then general words such as "memory".
    # Behind "[type=" pydantic repeats every argument, whatever is wrong with one of them.
    low = reason.lower().partition("[type=")[0]
    if "no module named" in low or "importerror" in low:
        from tutelage.teacher.engines.hardware import INSTALL_ADVICE

        return INSTALL_ADVICE
    if "lora" in low:
        return (
            "Set teacher.lora to an adapter that was trained on teacher.model, or merge it into "
            "the weights and set teacher.model to the merged folder."
        )
    if "architecture" in low or "model type" in low:
        return (
            "This version of vLLM cannot run the model's architecture: use another model, or "
            "teacher=local."
        )
    if "trust_remote_code" in low:
        return (
            "The model comes with code of its own: set teacher.trust_remote_code=true if you "
            "trust it, or use another model."
        )
    if "max_model_len" in low or "max seq len" in low:
        return "Lower teacher.max_model_len or raise teacher.kv_cache_gb."
    if "validation error" in low:
        return "Give the arguments below teacher.engine values that vLLM takes, or leave them out."
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
        return (
            "Check that teacher.model is spelt as on the hub and that this machine can reach the "
            "hub. A local folder works without a network."
        )
    return "See its output below. `tutelage doctor` checks the engine with one request."
