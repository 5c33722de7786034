"""An OpenAI-compatible server on the loopback interface."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


class FakeServer:
    """Answers by a function of path and body; records every request.

    A body is JSON, bytes, or an iterator of chunks, which are sent as they come. Status 0 closes
    the connection.

    Attributes:
        answer: Answers POST.
        chats: Whether it takes messages; without, their address is unknown and not recorded.
        models: Entries of the list of models; None for a server without a list.
        paths: The paths of POST requests, one per body.
    """

    def __init__(self) -> None:
        self.answer: Callable[[str, dict[str, Any]], Answer] = lambda path, body: (
            200,
            completion(body["prompt"] + "!"),
        )
        self.chats = False
        self.models: list[dict[str, Any]] | None = None
        self.paths: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                outer._serve(self)

            def do_GET(self) -> None:
                listed = outer.models is not None and self.path == "/v1/models"
                answer = (200, {"data": outer.models}) if listed else (404, {"detail": "Not Found"})
                outer._send(self, *answer)

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        if handler.path.startswith("/v1/chat/") and not self.chats:
            self._send(handler, 404, {"detail": "Not Found"})
            return
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            self.paths.append(handler.path)
            self.bodies.append(body)
            self.headers.append(dict(handler.headers))
        try:
            code, content, *more = self.answer(handler.path, body)
        finally:
            with self._lock:
                self._now -= 1
        self._send(handler, code, content, *more)

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        code: int,
        content: Any,
        headers: dict[str, str] | None = None,
    ) -> None:
        if code == 0:
            handler.close_connection = True
            return
        chunks = content if isinstance(content, Iterator) else None
        data = content if isinstance(content, bytes) else b""
        if not chunks and not data and content != b"":
            data = json.dumps(content).encode()
        handler.send_response(code)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        if chunks is None:
            handler.send_header("Content-Length", str(len(data)))
        else:
            handler.send_header("Connection", "close")
        handler.end_headers()
        # A client may have seen enough.
        with contextlib.suppress(OSError):
            for chunk in chunks or [data]:
                handler.wfile.write(chunk)
                handler.wfile.flush()

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def chat_reply(
    text: str | None, top: dict[str, float] | None = None, thoughts: str = "", **more: Any
) -> dict[str, Any]:
    """The JSON body of a chat's answer, with ``top`` as the log-probabilities."""
    listed = [{"token": token, "logprob": value} for token, value in (top or {}).items()]
    choice = {
        "message": {"role": "assistant", "content": text}
        | ({"reasoning_content": thoughts} if thoughts else {}),
        "finish_reason": "stop",
        "logprobs": {"content": [{**listed[0], "top_logprobs": listed}]} if listed else None,
    }
    return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}, **more}


def completion(text: str, top: dict[str, float] | None = None, **more: Any) -> dict[str, Any]:
    """The JSON body of a completion, with ``top`` as the log-probabilities."""
    choice = {
        "text": text,
        "finish_reason": "stop",
        "logprobs": {"top_logprobs": [top]} if top else None,
    }
    return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}, **more}
