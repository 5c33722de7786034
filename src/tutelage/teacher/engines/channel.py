"""JSON messages over a socket pair, between the run and its teacher process. JSON and not pickle: a reply is untrusted text."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
from typing import Any

_BUFFER = 1 << 20


class ChannelClosed(Exception):
    """The other side has gone."""


class Channel:
    """One end of a stream socket that carries one JSON object a line.

    ``send`` may be called from several threads; ``receive`` from one.
    """

    def __init__(self, end: socket.socket) -> None:
        """Take over ``end``, a connected stream socket."""
        self._socket = end
        self._socket.setblocking(True)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._rest = bytearray()
        self._searched = 0
        self._sending = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Write one message.

        Raises:
            ChannelClosed: the other side has gone.
        """
        data = json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        try:
            with self._sending:
                self._socket.sendall(data)
        except OSError as error:
            raise ChannelClosed(str(error)) from error

    def receive(self, timeout: float | None = None) -> dict[str, Any] | None:
        """Read one message; None when none came within ``timeout`` seconds.

        Raises:
            ChannelClosed: the other side has gone and everything it sent was read.
        """
        while True:
            end = self._rest.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._rest[:end])
                del self._rest[: end + 1]
                self._searched = 0
                message: dict[str, Any] = json.loads(line)
                return message
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
        """Close this end, also under a thread that is reading from it; twice is not an error."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
