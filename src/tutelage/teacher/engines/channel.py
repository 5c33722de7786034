"""JSON messages over a socket between a run and its teacher process.

Messages are JSON rather than pickle, because replies are untrusted text.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
from typing import Any

_BUFFER = 1 << 20
_LONGEST = 1 << 30
"""Longest message in bytes; a side that sends more without a line end is not one of ours."""


class ChannelClosed(Exception):
    """The other side has closed its end, or sent something that is no message."""


class Channel:
    """One end of a stream socket with one JSON object per line.

    Several threads may call ``send``, but only one may call ``receive``.

    Args:
        end: A connected stream socket, owned by the channel from here on.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setblocking(True)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._rest = bytearray()
        self._searched = 0
        self._sending = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Writes one message.

        Raises:
            ChannelClosed: The other side has closed its end.
        """
        data = json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        try:
            with self._sending:
                self._socket.sendall(data)
        except OSError as error:
            raise ChannelClosed(str(error)) from error

    def receive(self, timeout: float | None = None) -> dict[str, Any] | None:
        """Reads one message.

        Args:
            timeout: Longest wait for each part of the message, in seconds; None waits forever.

        Returns:
            The message, or None if nothing arrived in time.

        Raises:
            ChannelClosed: The other side has closed its end, and all its messages have been read;
                or it sent something that is no message.
        """
        while True:
            end = self._rest.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._rest[:end])
                del self._rest[: end + 1]
                self._searched = 0
                return _message(line)
            if len(self._rest) > _LONGEST:
                raise ChannelClosed(f"a message of more than {_LONGEST:,} bytes")
            # The next search starts at the new bytes, so a long message is scanned only once.
            self._searched = len(self._rest)
            try:
                ready, _, _ = select.select([self._socket], [], [], timeout)
                if not ready:
                    return None
                data = self._socket.recv(_BUFFER)
            except (OSError, ValueError) as error:
                raise ChannelClosed(str(error)) from error
            if not data:
                raise ChannelClosed("end of stream")
            self._rest += data

    def close(self) -> None:
        """Closes this end, even while a thread reads from it. Closing twice is allowed."""
        # Unlike close, shutdown wakes up a thread blocked in receive.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _message(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ChannelClosed(f"{line[:40]!r} is no message: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("op"), str):
        raise ChannelClosed(f"{line[:40]!r} is no message")
    return message
